"""The .kmodel file format: v3, v4 and v5 read and written, and carried over from one to another."""
