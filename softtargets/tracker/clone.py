"""Tasks that users clone and edit in ClearML and that an agent runs, with the edited config."""

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf

from softtargets.config.resolve import flat

CONFIG, CHOICES = "Config", "Choices"
"""Sections of a task: the values of its resolved config, which users may edit, and the chosen options."""


def sections(config: dict) -> dict[str, dict[str, str]]:
    """Return a resolved config as the sections that ClearML shows: each value by its dotted name."""
    # without the hashes of files, since an agent's machine has other files
    values = {name: _text(value) for name, value in flat(config) if not name.startswith("contents.")}
    choices = {name: text for name, text in values.items() if name.startswith("choices.")}
    return {CONFIG: {name: text for name, text in values.items() if name not in choices}, CHOICES: choices}


def config_of(parameters: dict[str, str]) -> dict | None:
    """Return the config in a task's parameters (SECTION/NAME → text); None if another program made the task."""
    named = {name.partition("/")[::2]: text for name, text in parameters.items()}
    if not {CONFIG, CHOICES} <= {section for section, _ in named}:
        return None
    whole = OmegaConf.create()
    for (section, name), text in named.items():
        if section in (CONFIG, CHOICES):
            OmegaConf.update(whole, name, _value(text), force_add=True)
    return OmegaConf.to_container(whole)


def _text(value: object) -> str:
    return value if isinstance(value, str) and _value(value) == value else json.dumps(value)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:  # words stand without quotation marks, as people type them
        return text


def fetch(task: str, folder: Path) -> None:
    """Write the config of a task into `folder`, unless another program made the task."""
    from clearml import Task

    if config := config_of(Task.get_task(task).get_parameters()):
        OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")


@contextlib.contextmanager
def overrides(task: str) -> Iterator[list[str]]:
    """Yield the overrides that run an agent's task; none if another program made the task.

    Raises CalledProcessError, with the reason on stderr, if the server does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="softtargets-clone-") as folder:
        # in a separate process, like all use of the SDK; the agent has set the server in the environment
        subprocess.run([sys.executable, "-m", "softtargets.tracker", "fetch", task, folder], check=True)
        is_ours = Path(folder, "config.yaml").exists()
        yield [f"rerun={folder}", "tracker=clearml"] if is_ours else []
