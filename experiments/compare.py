"""Is `mlsgm compare` now."""

from experiments.moved import tell

tell('compare')
