"""Files, locks, signals and the screen: what the operating system gives, made safe."""
