"""Safe use of the operating system: files, locks, signals and the screen."""
