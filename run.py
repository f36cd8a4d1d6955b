"""Train, retrain, make targets, unlearn, evaluate: `python run.py --help` explains what can be set."""

from softtargets.system.signals import heed
from softtargets.system.terminal import steady

if __name__ == "__main__":
    steady()
    heed()  # before imports that take a while

import hydra
from omegaconf import DictConfig

from softtargets.cli.main import command, run_one
from softtargets.layout import CONF


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Run one composed config; returns the primary metric, the JS distance to the retrained model."""
    return run_one(cfg)


if __name__ == "__main__":
    command(main)
