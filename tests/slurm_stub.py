"""A stub of the work of a cell on SLURM, light to import in every job."""

from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra_plugins.hydra_submitit_launcher.config import SlurmQueueConf
from omegaconf import OmegaConf


class StubLauncher(Launcher):
    """Stands in for Hydra's launcher, in the job of a cell: it notes that the cell ran."""

    setup = launch = None

    def __init__(self, folder: Path):
        unset = OmegaConf.to_container(OmegaConf.structured(SlurmQueueConf))
        own = {"submitit_folder": f"{folder}/.submitit/%j", "name": "stub", "timeout_min": 5, "mem_gb": 1}
        self.folder, self.params = folder, {key: unset[key] for key in unset if key != "_target_"} | own

    def __call__(self, overrides, *_) -> JobReturn:
        (seed,) = overrides
        with (self.folder / seed).open("a") as file:
            file.write("ran\n")
        return JobReturn(status=JobStatus.FAILED if seed == "7" else JobStatus.COMPLETED, _return_value="no luck")
