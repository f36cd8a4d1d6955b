"""`python run.py --help`: every group with its options, each in the words of its own file's first line."""

import sys
from pathlib import Path

from omegaconf import OmegaConf

from softtargets.compat.hydra_names import list_no_groups
from softtargets.layout import CONF

HIDDEN = ("hydra/**/*", "tuned/*/**/*")
"""Files that are no options of ours, or that are taken up by themselves."""


def register() -> None:
    """Make `${softtargets.options:}` and `${softtargets.settings:}` known to the help template."""
    OmegaConf.register_new_resolver("softtargets.options", options, replace=True)
    OmegaConf.register_new_resolver("softtargets.settings", settings, replace=True)
    if {"--help", "-h"} & set(sys.argv):
        list_no_groups()


def options() -> str:
    """List all groups and their options."""
    hidden = {file for pattern in HIDDEN for file in CONF.glob(f"{pattern}.yaml")}
    folders = sorted({file.parent for file in CONF.glob("*/**/*.yaml") if file not in hidden})
    return "\n".join(_group(folder) for folder in folders)


def _group(folder: Path) -> str:
    lines = [f"  {file.stem:<24} {first_comment(file)}" for file in sorted(folder.glob("*.yaml"))]
    return "\n".join([f"{folder.relative_to(CONF).as_posix()}=…", *lines]).replace("$", "$$")


def first_comment(file: Path) -> str:
    """Return the words after the # in a file's first line (after Hydra's own), or nothing."""
    with file.open(encoding="utf-8") as lines:
        first = next((line for line in lines if not line.startswith("# @package")), "")
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def settings() -> str:
    """List the settings outside the groups, as config.yaml explains them."""
    lines = (CONF / "config.yaml").read_text(encoding="utf-8").splitlines()
    own = lines[next(i for i, line in enumerate(lines) if line.startswith("seed:")) : lines.index("hydra:")]
    return "\n".join("  " + line for line in own).rstrip().replace("$", "$$")
