"""Train, retrain, compute targets, unlearn, evaluate: `python run.py --help` shows the settings."""

from softtargets.system.signals import heed
from softtargets.system.terminal import steady

if __name__ == "__main__":
    steady()
    heed()  # before imports that take a while

from softtargets.cli.main import command, main

if __name__ == "__main__":
    command(main)
