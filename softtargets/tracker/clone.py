"""Tasks that users clone and edit in ClearML and that an agent runs, with the edited config."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from omegaconf import OmegaConf

from softtargets.config.allowed_targets import ENVIRONMENT, SETUP
from softtargets.config.resolve import flat
from softtargets.errors import BadInput, Failed

CONFIG, CHOICES = "Config", "Choices"
"""Sections of a run's task: the values of its resolved config, which users may edit, and the chosen options."""
CONFIG_FILE, WORDS_FILE = "config.yaml", "words.json"
SWEEP_TASK = "SOFTTARGETS_SWEEP_TASK"
"""The variable with the id of an agent's task that is a sweep."""
SWEEP = "Sweep"
"""Section of a sweep's task: the words of its command line, by name, which users may edit."""


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


def leave_task_to_sweep() -> None:
    """Leave an agent's task to the sweep as a whole, in this process: each run gets a task of its own."""
    os.environ[SWEEP_TASK] = os.environ.pop("CLEARML_TASK_ID")
    os.environ.pop("TRAINS_TASK_ID", None)  # the same, as older agents call it


def sweep_section(folder: Path) -> dict[str, str]:
    """Return the overrides of a sweep, which lie in its folder, by name: `seed` is `0,1`, and `~tuned` is ''."""
    given = OmegaConf.to_container(OmegaConf.load(folder / "multirun.yaml"))["hydra"]["overrides"]
    words = [word for word in (*given["hydra"], *given["task"]) if not word.startswith("hydra.mode=")]
    parts = [word.partition("=") for word in words]
    return {name: value or ("''" if equals else "") for name, equals, value in parts}


def sweep_of(parameters: dict[str, str]) -> list[str] | None:
    """Return the words of a sweep in a task's parameters; None if the task is no sweep."""
    named = [(name.partition("/")[::2], value) for name, value in parameters.items()]
    words = [f"{name}={value}" if value else name for (section, name), value in named if section == SWEEP]
    return words or None


def _text(value: object) -> str:
    return value if isinstance(value, str) and _value(value) == value else json.dumps(value)


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:  # words stand without quotation marks, as people type them
        return text


def fetch(task: str, folder: Path) -> None:
    """Write into `folder` the config of a run's task, or the words of a sweep's; nothing for any other task."""
    from clearml import Task

    parameters = Task.get_task(task).get_parameters()
    if config := config_of(parameters):
        OmegaConf.save(OmegaConf.create(config), folder / CONFIG_FILE)
    elif words := sweep_of(parameters):
        (folder / WORDS_FILE).write_text(json.dumps(words), encoding="utf-8")


@contextlib.contextmanager
def overrides(task: str) -> Iterator[list[str]]:
    """Yield the words that run an agent's task, a run or a sweep; none if another program made the task.

    Raises Failed if the server does not answer, or has no such task.
    """
    with tempfile.TemporaryDirectory(prefix="softtargets-clone-") as folder:
        # in a separate process, like all use of the SDK; the agent has set the server in the environment
        command = [sys.executable, "-m", "softtargets.tracker", "fetch", task, folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stdout + done.stderr).strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise Failed(f"CLEARML_TASK_ID={task}: this task cannot be read: {reason[0]}")
        words = Path(folder, WORDS_FILE)
        if words.exists():
            harmless = _harmless(task, json.loads(words.read_text(encoding="utf-8")))
            leave_task_to_sweep()
            yield ["-m", *harmless, "tracker=clearml"]
        else:
            is_run = Path(folder, CONFIG_FILE).exists()
            yield [f"rerun={folder}", "tracker=clearml"] if is_run else []


def _harmless(task: str, words: list[str]) -> list[str]:
    """Return a task's words; raise BadInput for one that only the agent's owner may type, since it runs code."""
    for word in words:
        if word.lstrip("+").startswith(("plugins=", ENVIRONMENT, f"{SETUP}=")):
            advice = "Remove it from the task; for plugins set SOFTTARGETS_PLUGINS where the agent runs"
            raise BadInput(f"CLEARML_TASK_ID={task}: {word} runs code that a task may not choose. {advice}")
    return words
