"""SoftTargets: hard labels against soft targets in machine unlearning."""


def load(run_dir, plugins=()):
    """Return the original, retrained and unlearned model of a run that had `save_models=true`.

    `plugins`: modules of yours that its architecture may come from.
    """
    from softtargets.saved import load  # torch is imported when it is needed, not by `run.py --help`

    return load(run_dir, plugins)


RESULT_SCHEMA = 1
"""Of result.json; raised when a change of it would mislead who reads it."""
