"""The tables of the paper, and own runs beside them."""
