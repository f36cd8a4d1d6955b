"""The search for the settings of one arm: its space, its score on tuning pairs, and the choice of a winner."""
