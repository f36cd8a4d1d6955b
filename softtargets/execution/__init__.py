"""One run, from a composed config to its result."""
