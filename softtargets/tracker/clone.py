"""A task that was cloned and edited in ClearML, and that an agent runs: its Config becomes the run's."""

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
"""Sections of a task: every value of its resolved config, to be edited; and the options that it came from."""


def sections(config: dict) -> dict[str, dict[str, str]]:
    """Return what ClearML shows of a resolved config, every value by its dotted name."""
    # an agent's machine has files of its own, which are read as they are there
    values = {name: _text(value) for name, value in flat(config) if not name.startswith("contents.")}
    choices = {name: text for name, text in values.items() if name.startswith("choices.")}
    return {CONFIG: {name: text for name, text in values.items() if name not in choices}, CHOICES: choices}


def config_of(parameters: dict[str, str]) -> dict | None:
    """Return the config in a task's parameters, SECTION/NAME → text; None for a task of something else."""
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
    """Write the config of a task, if it is one of ours, into `folder`."""
    from clearml import Task

    if config := config_of(Task.get_task(task).get_parameters()):
        OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")


@contextlib.contextmanager
def overrides(task: str) -> Iterator[list[str]]:
    """Yield the overrides that run an agent's task; none for a task of something else.

    Raises CalledProcessError where the server cannot be asked, which says why on stderr.
    """
    with tempfile.TemporaryDirectory(prefix="softtargets-clone-") as folder:
        # in a process of its own, as all of the SDK; it finds the server as the agent has set it up
        subprocess.run([sys.executable, "-m", "softtargets.tracker", "fetch", task, folder], check=True)
        found = Path(folder, "config.yaml").exists()
        yield [f"rerun={folder}", "tracker=clearml"] if found else []
