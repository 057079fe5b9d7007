"""Experiments on top of the library: one config is one row of a table; run from a clone with `python -m`."""
