"""The attack campaign: hostile files, words, checkpoints, servers and clients, each with what is wanted of it.

`python -m tests.hostile --all` runs all of it (resumable), `--kill N` kills commands at random moments; in the test
suite a seeded sample of the same generators runs. A file of `tests/hostile/parts` is a part: a generator of cases.
"""
