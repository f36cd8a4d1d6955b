"""Tracking of a run, which never waits for a server and cannot be harmed by one.

A run writes what is to be tracked to a file of its own; a process of its own plays that file to ClearML as it
grows (`softtargets.tracker.player`). What a server that is slow, wrong or away does to that process does not
reach the run, and the file can be played again.
"""

EVENTS = "tracking.jsonl"
"""What a run has to tell, as long as it has not been told."""
SESSION, TASK = "clearml.zip", "clearml.json"
"""What tracking leaves in a run's folder: an offline session, or the task that a server has."""
