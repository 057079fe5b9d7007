"""Sweeps: many runs that differ in some options, their numbers, table and curve."""
