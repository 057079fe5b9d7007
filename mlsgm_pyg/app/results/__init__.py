"""What came out: finished runs, alone and in groups."""
