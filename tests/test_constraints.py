"""The exact versions in constraints.txt against what pyproject.toml asks for."""

import re
import tomllib
from importlib import metadata

import pytest
from conftest import ROOT
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASKED = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
DOCS = PROJECT["optional-dependencies"]["docs"]


@pytest.fixture(scope="module")
def pinned() -> dict[str, str]:
    """The one version of every package that constraints.txt names; nothing else may stand there."""
    found = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        if not line.startswith("#"):
            name, version = line.split("==")
            assert found.setdefault(name, version) == version
    return found


@pytest.mark.parametrize("requirement", [*map(Requirement, ASKED + DOCS)], ids=str)
def test_a_version_is_within_its_range(pinned, requirement):
    assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("given", ["torch 2.6.0", "torch 2.8.0+cu128", "torch 3.0.0", "torchvision 0.21.0"])
def test_a_clusters_torch_is_kept(given):
    name, version = given.split()
    (asked,) = (one for one in map(Requirement, PROJECT["dependencies"]) if one.name == name)
    assert asked.specifier.contains(version)


def test_what_dependencies_depend_on_is_named_too(pinned):
    """As far as this environment tells, which may have other versions."""
    named, waiting = set(), [canonicalize_name(Requirement(line).name) for line in ASKED]
    while waiting:
        name = waiting.pop()
        if name not in named and metadata.version(name) == pinned[name]:
            waiting += [canonicalize_name(needed.name) for needed in needs(name)]
        named.add(name)
    assert len(named) > len(ASKED)
    assert named <= pinned.keys() | {"setuptools"}  # which tools that build bring


def needs(name: str) -> list[Requirement]:
    found = map(Requirement, metadata.requires(name) or [])
    return [
        one for one in found if one.marker is None or one.marker.evaluate(default_environment() | {"extra": ""})
    ]


def test_the_image_is_made_with_these_versions():
    text = (ROOT / "Dockerfile").read_text()
    installs = [line for line in text.splitlines() if "pip install" in line and " -r " in line]
    assert len(installs) == 2
    assert all(" -c constraints.txt " in line for line in installs)
    copied = re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE)
    let_in = set(re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    assert {word for line in copied for word in line.split()} == let_in >= {"constraints.txt"}
