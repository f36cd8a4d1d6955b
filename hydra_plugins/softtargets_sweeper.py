"""Hydra's basic sweeper, made resumable and safe: see `CheckedSweeper.sweep`."""

import re
import shlex
import sys
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from softtargets.errors import BadInput, visible


class CheckedSweeper(BasicSweeper):
    """A sweep that checks every cell first, drops what is finished, and tells from disk how each run ended."""

    def __init__(self, params: DictConfig | None, cells: list[str] | None):
        """`cells`: lines of overrides, each a sweep with those of `params`; without any, `params` is the sweep."""
        super().__init__(None, params)
        self.cells = cells or [""]

    def sweep(self, arguments: list[str]) -> None:
        """Run what is missing or failed; exit with 1 if a cell has no result then.

        A launcher's own account is not asked: under SLURM a run that raised counts as completed, and one that
        was killed may be waited for in vain. What a run left in its folder is the truth.
        """
        from softtargets import sweep
        from softtargets.command import refusing

        with refusing():
            sweep.check_settings(self.config)
            folder = Path(self.config.hydra.sweep.dir).absolute()
            combinations, swept = self.combinations(arguments)
            cells = sweep.cells(combinations, swept, folder, self.composed)
            unfinished = sweep.left(cells)
            sweep.check(unfinished, self.composed, elsewhere=self.on_slurm())
        with sweep.one_warming(folder, cells):
            missing = sweep.Missing({}, frozenset())
            if unfinished:
                missing = self.launch(sweep.Display(cells, unfinished), folder)
            finished = sweep.summary(cells, missing)
        self.track(folder)
        if not finished:
            sys.exit(1)

    def track(self, folder: Path) -> None:
        """Tell the tracker of the whole sweep, where its runs are told to a server."""
        asked = self.config.tracker
        if asked.kind == "clearml" and not asked.offline:
            from softtargets.settings import TrackerSettings
            from softtargets.tracker.tracked import track_sweep

            track_sweep(folder, TrackerSettings(**asked))

    def combinations(self, arguments: list[str]) -> tuple[list[list[str]], list[str]]:
        """Return the overrides of every cell, and the names of what is swept over."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        combinations, swept = [], {}
        for line in self.cells:
            words = self.words(parser, line)
            overrides = parser.parse_overrides(self._parse_config() + words + list(arguments))
            combinations += self.split_arguments(overrides, None)[0]
            named = [one.get_key_element() for one in overrides if one.is_sweep_override()]
            swept |= dict.fromkeys([*(word.partition("=")[0] for word in words), *named])
        return combinations, list(swept)

    def words(self, parser: OverridesParser, line: str) -> list[str]:
        """Split a line of `cells` as a shell splits what is typed; raises BadInput where it holds no overrides."""
        try:
            words = shlex.split(line)
            parser.parse_overrides(words)
        except (ValueError, HydraException) as error:
            reason = str(error).partition("\nSee ")[0]
            raise BadInput(
                f"hydra.sweeper.cells: line {self.cells.index(line) + 1}, {line!r}, cannot be read "
                f"({' '.join(reason.split())}); it must hold overrides as on the command line, quoted as there"
            ) from error
        return words

    def composed(self, overrides: list[str]) -> DictConfig:
        """Compose one cell."""
        return self.hydra_context.config_loader.load_sweep_config(self.config, list(overrides))

    def on_slurm(self) -> bool:
        """Tell whether the runs go to other machines."""
        return self.config.hydra.launcher._target_.endswith(".SlurmLauncher")

    def launch(self, display, folder: Path):
        """Hand the unfinished cells to the launcher, and watch until all have ended; returns what is missing."""
        from softtargets import sweep
        from softtargets.command import refuse
        from softtargets.disk import make_folder, share
        from softtargets.launch import Account, bind_workers, launch, sentence

        if (
            self.on_slurm()
            and self.config.hydra.launcher.gpus_per_node
            and "device=cpu" in display.unfinished[0].overrides
        ):
            refuse("device=cpu, while SLURM would give every run a GPU: say device=cuda, or hydra/launcher=slurm")
        if self.config.hydra.launcher._target_.endswith(".JoblibLauncher"):
            bind_workers()
        with open_dict(self.config):
            self.config.hydra.sweep.dir = str(folder)
        make_folder(folder / ".submitit" if self.on_slurm() else folder)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        share(folder / "multirun.yaml")
        queue = self.queue(display, folder) if self.on_slurm() else None
        # what an earlier call submitted may have finished cells meanwhile
        unfinished = sweep.spread(sweep.left(display.unfinished))
        hopeless = sweep.prepare(folder, unfinished) if unfinished else {}
        began = {cell: cell.said() for cell in unfinished if cell not in hopeless}
        account = Account()
        if began:
            jobs = [self.job(cell, folder) for cell in began]
            with display:
                account = launch(lambda: self.launcher.launch(jobs, initial_job_idx=0), display.update, queue)
        if account.raised:
            print(f"run.py: {visible(sentence(account.raised, queue))}", file=sys.stderr)
        # a job that SLURM took and that never began was cancelled: it is named as the others that were ended
        gave_up = account.raised is not None and not (queue and queue.jobs())
        return sweep.missing(began, hopeless, account.failures(), gave_up)

    def job(self, cell, folder: Path) -> list[str]:
        """Return the overrides of a run; the launcher was set up with the sweep's folder still open."""
        place = f"hydra.sweep.dir={_quoted(str(folder))}", f"hydra.sweep.subdir={_quoted(cell.folder.name)}"
        planned = [f"+contents={_quoted(cell.planned)}"] if cell.contents else []
        return [*cell.overrides, *planned, *place]

    def queue(self, display, folder: Path):
        """Wait for jobs that an earlier call of this sweep left in the queue; return the queue of this one's."""
        from softtargets.launch import Queue, leave_job, watch

        leave_job()
        earlier = Queue(folder / ".submitit")
        if earlier.busy():
            print(
                f"waiting for an earlier call's jobs; to give them up: scancel {' '.join(sorted(earlier.jobs()))}"
            )
            with display:
                watch(earlier, display.update)
        return Queue(earlier.folder, but=earlier.jobs())


def _quoted(text: str) -> str:
    """Quote a value for Hydra's grammar of overrides, where a backslash is plain unless a quote comes after it."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text) + "'"
