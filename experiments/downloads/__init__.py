"""Downloads of the data sets of the paper: where they are, fetched, unpacked and verified."""
