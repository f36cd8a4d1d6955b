"""Where the parts of this project lie, and how the files of a run are called."""

from pathlib import Path

CONF = Path(__file__).parent.parent / "conf"
