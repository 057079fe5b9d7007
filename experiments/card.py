"""Is `mlsgm card` now."""

from experiments.moved import tell

tell('card')
