"""What is used of ClearML's SDK beside `Task`, its public interface, each with what goes wrong without it.

The SDK is imported where it is needed: that takes most of a second, and reads the user's configuration.
"""


def server() -> str:
    """Return the address of the server that the user's configuration names."""
    from clearml.backend_api import Session

    return Session.get_api_server_host()


def sign_in() -> None:
    """Raise nearly anything unless the server takes the user's credentials.

    `Task.init` would try again for minutes, while the run waits for its tracker.
    """
    from clearml.backend_api import Session

    Session(initialize_logging=False)


def set_parent(task: object, run: str, parent: str) -> None:
    """Make task `parent` the parent of a finished task, the id `run`, by a request that `task` sends.

    The public `Task.set_parent` edits no finished task: the runs would not stand below their sweep.
    """
    from clearml.backend_api.services import tasks

    task.send(tasks.EditRequest(task=run, parent=parent, force=True))
