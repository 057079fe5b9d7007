"""Labels with few examples, or none."""
