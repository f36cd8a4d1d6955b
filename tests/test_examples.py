"""Every public function of the flat modules shows how it is called; each example runs, and says what comes out."""

import doctest
import importlib
import inspect

import pytest
import torch
from PIL import Image

import softtargets
from softtargets.compat import torch_names
from softtargets.readers import idx_files

MODULES = ("architectures", "datasets", "fit", "forget_sets", "heads", "linear", "losses", "schedules", "split")
MODULES += ("targets", "temperature", "types")
FINDER = doctest.DocTestFinder(recurse=False)


def public(module) -> list[str]:
    """Names of functions and classes that a module defines for others."""
    own = [name for name, part in vars(module).items() if getattr(part, "__module__", "") == module.__name__]
    return [name for name in own if not name.startswith("_") and callable(getattr(module, name))]


def examples(part, globs: dict, name: str) -> list[doctest.DocTest]:
    return [found for found in FINDER.find(part, name, globs=dict(globs)) if found.examples]


class LastLines(doctest.OutputChecker):
    """What a run shows on screen comes before the value of an example."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        return got.endswith(want)


def check(test: doctest.DocTest, checker: doctest.OutputChecker | None = None) -> None:
    said: list[str] = []
    failed, _ = doctest.DocTestRunner(checker).run(test, out=said.append, clear_globs=False)
    assert not failed, "".join(said)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """What examples read: a folder of pictures, and MNIST's files without their content."""
    monkeypatch.chdir(tmp_path)
    for place in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (tmp_path / "pets" / place).mkdir(parents=True)
        Image.new("L", (28, 28), len(place)).save(tmp_path / "pets" / place / "0.png")
    images, labels = torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.uint8)
    content = [part.expand(n, *part.shape[1:]) for n in (60_000, 10_000) for part in (images, labels)]
    monkeypatch.setattr(idx_files, "read_images", lambda name, root: content)
    torch_names.delay_compiler()  # as a run does: an optimiser would take seconds to import it


@pytest.mark.parametrize("name", MODULES)
def test_every_public_function_has_an_example_that_runs(name, files):
    module = importlib.import_module(f"softtargets.{name}")
    names = dict(vars(module))
    for shared in examples(module, names, name):
        check(shared)
        names |= shared.globs
    for part in public(module):
        tests = examples(getattr(module, part), names, part)
        assert tests or inspect.isclass(getattr(module, part)), f"{name}.{part} has no example"
        for test in tests:
            check(test)


def test_the_example_of_an_audit_runs(files):
    check(*examples(softtargets.audit, {}, "audit"))


@pytest.mark.long
def test_the_examples_from_python_run_one_after_the_other(files):
    names = [name for name in softtargets.__all__ if name not in ("RESULT_SCHEMA", "audit")]
    assert set(names) == {"run", "search", "sweep", "results", "trajectories", "load"}
    for name in sorted(names, key=("run", "sweep").__contains__, reverse=True):  # these two leave what others read
        check(*examples(getattr(softtargets, name), {}, name), checker=LastLines())
