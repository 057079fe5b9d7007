"""Options: what there are, rows and `key=value`, what fits together, and the words that give a config again."""
