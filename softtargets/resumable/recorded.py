"""What a run of a sweep leaves in its folder: that it began, and its result or its error."""

import datetime
import functools
import hashlib
import os
import socket
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from softtargets.errors import Failed
from softtargets.resumable.progress_marks import mark
from softtargets.system.files import clear, read_json_or_none, write_json
from softtargets.system.locks import locked
from softtargets.system.memory import peak_bytes
from softtargets.system.signals import is_end

BEGUN, FINISHED, ERROR = "begun.json", "finished.json", "error.json"
PLAIN = (str, int, float, bool)


def config_hash(config: DictConfig, ignored: Sequence[str] = ()) -> str:
    """Return the SHA-256 of a config as it is written, before interpolations are resolved, without its `hydra`.

    `ignored` names settings that cannot change a result, by dots.
    """
    kept = OmegaConf.masked_copy(config, [key for key in config if key != "hydra"])
    with open_dict(kept):
        for name in filter(functools.partial(has_setting, kept), ignored):
            parent, last = _parent(kept, name)
            del parent[last]
    return hashlib.sha256(OmegaConf.to_yaml(kept, sort_keys=True).encode()).hexdigest()


def has_setting(config: DictConfig, name: str) -> bool:
    """Return whether a config has a setting of this dotted name."""
    parent, last = _parent(config, name)
    return OmegaConf.is_dict(parent) and last in list(parent)  # `in parent` is false of a value ???


def _parent(config: DictConfig, name: str) -> tuple[object, str]:
    """Return the node that may hold a setting, and the setting's own name."""
    parent, _, last = name.rpartition(".")
    return (OmegaConf.select(config, parent) if parent else config), last


class Recorded:
    """An app's task function; how each of its runs in a sweep ends is written into the run's folder.

    A run that is finished already is not repeated. Two calls of one sweep may start a run at once: the second
    waits and takes the first one's value.
    """

    def __init__(self, task: TaskFunction, ignored: Sequence[str]):
        self.task, self.ignored = task, tuple(ignored)

    def __call__(self, config: DictConfig) -> object:
        """Run the task; raise Failed, which every launcher can pass on, with the error in one sentence."""
        folder = Path(HydraConfig.get().runtime.output_dir)
        digest = config_hash(config, self.ignored)
        with locked(folder / ".lock", busy=lambda: None):
            clear(folder)
            earlier = read_json_or_none(folder / FINISHED)
            if earlier and earlier["config_hash"] == digest:
                return earlier["value"]
            write_json(folder / BEGUN, {"host": socket.gethostname(), "pid": os.getpid(), "at": _now()})
            mark(folder, "began")
            try:
                value = self._run(config, folder)
                kept = value if isinstance(value, PLAIN) else None
                (folder / ERROR).unlink(missing_ok=True)
                result = {"config_hash": digest, "value": kept, "peak_bytes": peak_bytes(), "at": _now()}
                write_json(folder / FINISHED, result)
            finally:
                mark(folder, "ended")
            return value

    def _run(self, config: DictConfig, folder: Path) -> object:
        try:
            return self.task(config)
        except (Exception, SystemExit) as error:
            if is_end(error):
                raise
            first = str(error).partition("\n")[0]
            details = {"error": type(error).__name__, "message": first, "traceback": traceback.format_exc()}
            write_json(folder / ERROR, details)
        raise Failed(f"{details['error']}: {first}")


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
