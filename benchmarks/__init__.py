"""One question a script, `python -m benchmarks.NAME`; what was measured is in `README.md` here."""
