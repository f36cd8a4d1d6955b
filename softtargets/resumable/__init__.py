"""Sweeps of any Hydra app that resume: finished runs are not repeated. It imports no other part of this package.

Below it are only `system`, `compat` and `errors`, which know nothing of machine learning either.
"""
