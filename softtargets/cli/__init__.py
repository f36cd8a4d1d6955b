"""The command line: starting runs, refusing bad input, printing help."""
