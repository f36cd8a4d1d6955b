"""Tracking of a run by ClearML, which cannot make the run fail, and delays it at most at its end.

A run writes events to a file. A separate process, the player (`softtargets.tracker.player`), sends them to ClearML
while the file grows. A slow, broken or missing server affects that process alone, and the file can be sent again.
When the run ends, it waits for the player, as long as that shows signs of life.
"""

EVENTS = "tracking.jsonl"
"""File of the events that are not sent yet."""
SESSION, TASK = "clearml.zip", "clearml.json"
"""Files that tracking leaves in a run's folder: an offline session, or the id and address of the task."""
PLAY = "import sys; from softtargets.tracker.__main__ import main; sys.exit(main(sys.argv[1:]))"
"""Code of the player. With `python -m`, ClearML would save that module as the script that an agent runs."""
