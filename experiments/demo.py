"""Is `mlsgm demo` now."""

from experiments.moved import tell

tell('demo')
