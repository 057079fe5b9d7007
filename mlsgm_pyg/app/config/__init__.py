"""Options: what there are, rows and `key=value`, what fits together, and the words that give a config again."""

from pathlib import Path

FOLDERS = [Path(__file__).parent / 'rows']  #: Where rows are looked for; a row's base may lie in another one.
