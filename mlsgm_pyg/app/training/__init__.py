"""One run, from its config to result.json."""
