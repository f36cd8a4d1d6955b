"""Tuned values as options of group `tuned`: Hydra reads an arm's entry of a table like a separate file.

Hydra knows the choice of every group only while it composes a config. So node `tuned` of the config has the arm's
values everywhere: in a run, a sweep's cell, a worker, and under `--cfg job`.
"""

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from softtargets.config import tuned
from softtargets.layout import CONF


class TunedSearchPath(SearchPathPlugin):
    """The search path of our configs, with our tables added."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Put the tables first: Hydra would read a table in conf/ as one arm's values."""
        folders = [Path(one.path.removeprefix("file://")).resolve() for one in search_path.get_path()]
        if CONF.resolve() in folders:
            search_path.prepend("softtargets", f"tuned://{CONF / 'tuned'}")


class TunedSource(ConfigSource):
    """The tables in a folder; a user adds one with `hydra.searchpath=[tuned://FOLDER]`.

    `tuned=DATASET/ARCHITECTURE/FORGET_SET/ALGORITHM/TARGETS` is an arm; `tuned=DATASET/ARCHITECTURE/FORGET_SET` is
    a table: Hydra takes its arm of the chosen algorithm and targets.
    """

    @staticmethod
    def scheme() -> str:
        """Return the name before `://`."""
        return "tuned"

    def available(self) -> bool:
        """Return whether the folder exists."""
        return Path(self.path).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Return whether this is a table, or an arm in one."""
        return self._config(config_path) is not None

    def load_config(self, config_path: str) -> ConfigResult:
        """Return an arm's values; for a table, a defaults list by which Hydra looks up the arm."""
        config = OmegaConf.create(self._config(config_path))
        return ConfigResult(self.provider, self.full_path(), config, header={"package": None})

    def is_group(self, config_path: str) -> bool:
        """Return False: conf/ has the groups."""
        return False

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return an empty list: no path is a group here."""
        return []

    def _config(self, config_path: str) -> dict | None:
        group, _, option = config_path.partition("/")
        file = tuned.table_file(Path(self.path), option) if group == "tuned" else None
        table = file and tuned.read_table(file)
        if not table:
            return None
        arm = option.split("/")[3:]
        if not arm:
            return {"defaults": [{f"optional /{config_path}@_here_": "${mu_algo}/${targets}"}]}
        entry = tuned.entry(table, *arm)
        return entry and entry["values"] | {name: entry[name] for name in ("tuned_on",) if name in entry}
