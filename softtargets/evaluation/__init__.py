"""Measures of models: accuracies, distances, attacks, trajectories, and what targets do at the original."""
