"""Plants known errors in copies of the tree: each must be seen by a test."""

import ast
import functools

import pytest
from conftest import CONF, ROOT, options
from mutant import tried
from mutations import MUTATIONS, Mutation
from omegaconf import OmegaConf

TYPICAL = ("gradasc-descends", "js-default-reduction", "attack-unbalanced", "retrained-from-original")
"""What CI plants; all others are planted by hand, with `-m slow`."""
TARGETS = "softtargets/targets.py"


@functools.cache
def defined(file: str) -> list[ast.AST]:
    """Functions and classes of a file of ours."""
    tree = ast.parse((ROOT / file).read_text())
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_error_can_be_planted(mutation):
    source = (ROOT / mutation.file).read_text()
    assert source.count(mutation.old) == 1
    assert mutation.new != mutation.old
    compile(mutation.planted(source), mutation.file, "exec")
    file, *names = mutation.test.partition("[")[0].split("::")
    assert set(names) <= {node.name for node in defined(file)}


def test_names_are_their_own():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    assert {mutation.name for mutation in MUTATIONS} > set(TYPICAL)


def test_errors_are_planted_in_every_algorithm():
    planted = {mutation.file for mutation in MUTATIONS}
    assert {f"softtargets/mu_algo/{name}.py" for name in options("mu_algo")} <= planted


def test_errors_are_planted_in_every_kind_of_target_and_every_modifier():
    kinds = set()
    for file in (CONF / "targets/forget").glob("*.yaml"):
        node = OmegaConf.load(file)
        kinds |= {node.get("_target_", "").rpartition(".")[2], *node.get("modifiers", [])}
    source = (ROOT / TARGETS).read_text()
    lines = [source[: source.index(m.old)].count("\n") + 1 for m in MUTATIONS if m.file == TARGETS]
    planted = {f.name for f in defined(TARGETS) if any(f.lineno <= line <= f.end_lineno for line in lines)}
    assert kinds - {""} <= planted


def parameter(mutation: Mutation):
    mark = pytest.mark.long if mutation.name in TYPICAL else pytest.mark.slow
    return pytest.param(mutation, id=mutation.name, marks=mark)


@pytest.mark.parametrize("mutation", [parameter(mutation) for mutation in MUTATIONS])
def test_every_error_is_seen(mutation):
    outcome = tried(mutation)
    assert outcome.caught, f"{mutation.why}: not seen by {mutation.test}\n{outcome.said}"


@pytest.mark.long
@pytest.mark.parametrize(
    ("planted", "said"),
    [
        ("the average over the batch of -sum_k", "passed"),
        ('"""\n    import nothing_of_that_name\n    """', "ModuleNotFoundError"),
    ],
    ids=["harmless", "broken"],
)
def test_what_does_no_harm_or_breaks_down_is_not_called_seen(planted, said):
    old = "the mean over the batch of -sum_k"
    outcome = tried(Mutation("", "softtargets/losses.py", old, planted, "", MUTATIONS[0].test))
    assert not outcome.caught
    assert said in outcome.said
