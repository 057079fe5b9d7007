"""A checkpoint on files: pictures in; records, tables and drawings out; and what holds an export against its model."""
