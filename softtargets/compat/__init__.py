"""Private and young names of libraries, each with the failure that it prevents."""
