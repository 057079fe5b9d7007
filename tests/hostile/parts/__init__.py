"""The parts of the campaign: `cases()` of each file here generates its attacks, the same ones every time."""
