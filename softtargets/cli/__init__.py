"""The command line: what it starts, what it refuses, and what it explains."""
