"""Is `mlsgm predict` now."""

from experiments.moved import tell

tell('predict')
