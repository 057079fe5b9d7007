"""Is `mlsgm report` now."""

from experiments.moved import tell

tell('report')
