"""Paths of the project's folders, and names of files that several parts of it know."""

from pathlib import Path

_PACKAGE = Path(__file__).parent
CONF = next(folder for folder in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if folder.is_dir())
"""The folder of configs: beside the code in an installed copy, at the top of a checkout."""
PLANS = ".plans"
"""The folder in a sweep's folder with a file for each call, which says what it means to run."""
