"""Is `mlsgm export` now."""

from experiments.moved import tell

tell('export')
