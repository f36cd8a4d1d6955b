"""Many runs: the cells of a sweep, their progress, and the launchers that start them."""
