"""What is used of torch that other versions may lack, and what stands in for it.

No compiler until something compiles: in processes of their own, since an import cannot be undone.
"""

import re
import subprocess
import sys
import types

import pytest
import torch
from conftest import HANGS, ROOT, SMALL

from softtargets import linear
from softtargets.compat import torch_names
from softtargets.config import machine

HEAD = """
import sys
import torch
from softtargets.compat import torch_names
torch_names.delay_compiler()
network = torch.nn.Linear(3, 2)
loaded = lambda: sum(name.startswith("torch._dynamo.") for name in sys.modules)
def step(optimizer):
    network(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    return optimizer.state_dict()
"""
LARGE = {
    "clearml",
    "sklearn",
    "plotly",
    "pandas",
    "scipy",
    "torchvision",
    "matplotlib",
    "mlxtend",
    "submitit",
    "joblib",
}
OPTIMIZERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad")


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", HEAD + code], cwd=ROOT, capture_output=True, text=True, timeout=HANGS
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_optimisers_work_without_it():
    steps = "".join(f"step(torch.optim.{name}(network.parameters(), 0.1))\n" for name in OPTIMIZERS)
    assert python(f"{steps}print(loaded())") == "0"


@pytest.mark.long
def test_whoever_looks_through_all_modules_leaves_it_alone():
    look = "[hasattr(module, '__file__') for module in list(sys.modules.values())]"
    assert python(f"{look}\nprint(loaded())") == "0"


@pytest.mark.long
@pytest.mark.parametrize(
    "first",
    [
        "torch.compile(network, backend='eager')(torch.ones(2, 3))",
        "import torch._dynamo.config",
        "torch._dynamo.disable(recursive=False)(lambda x: x)",
    ],
)
def test_who_compiles_gets_the_real_one(first):
    code = f"""
optimizer = torch.optim.SGD(network.parameters(), 0.1)
step(optimizer)
{first}
compiled = torch.compile(lambda x: 2 * x + 1, backend="eager")
step(optimizer)
print(loaded() > 50, compiled(torch.ones(2)).tolist(), torch._dynamo.__file__.endswith("__init__.py"))
"""
    assert python(code) == "True [3.0, 3.0] True"


@pytest.mark.long
def test_a_run_imports_nothing_large_that_it_does_not_need(tmp_path):
    words = [*SMALL, f"runs_dir={tmp_path}"]
    code = f"""
import runpy
sys.argv = ["run.py", *{words!r}]
runpy.run_path("run.py", run_name="__main__")
print(loaded(), *sorted({{name.partition(".")[0] for name in sys.modules}} & {LARGE}))
"""
    assert python(code).splitlines()[-1] == "0"


# what stands in where a torch lacks a name, or is told to be left alone

XEON = "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nflags\t\t: fpu avx512f avx512_bf16 amx_bf16\n"
EPYC = "vendor_id\t: AuthenticAMD\nmodel name\t: EPYC-Genoa\nflags\t\t: fpu avx512f avx512_bf16\n"
OLD = "vendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM)\nflags\t\t: fpu avx2 avx512f_of_no_account\n"
ARM = "BogoMIPS\t: 50.00\nFeatures\t: fp asimd bf16\n"


@pytest.fixture
def linux(monkeypatch, tmp_path):
    """`linux(text)`: torch cannot say what the processor can, Linux says `text`; None stands for no Linux."""
    if hasattr(torch.cpu, "get_capabilities"):
        monkeypatch.delattr(torch.cpu, "get_capabilities")

    def says(text: str | None) -> None:
        if text is not None:
            (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{text}\nprocessor\t: 1\nflags\t: none\n")
        monkeypatch.setattr(torch_names, "CPUINFO", tmp_path / "cpuinfo")
        torch_names.cpuinfo.cache_clear()

    yield says
    torch_names.cpuinfo.cache_clear()


@pytest.mark.parametrize(
    ("text", "able"), [(XEON, (1, 1, 1)), (EPYC, (1, 1, 0)), (OLD, (0, 0, 0)), (ARM, (0, 0, 0)), (None, (0, 0, 0))]
)
def test_linux_says_what_an_older_torch_cannot(linux, text, able):
    linux(text)
    assert tuple(torch_names.cpu()[name] for name in ("avx512_f", "avx512_bf16", "amx_bf16")) == able


def test_linux_says_what_torch_says(monkeypatch):
    """Where both can be asked, on this very machine."""
    if not (hasattr(torch.cpu, "get_capabilities") and torch_names.CPUINFO.exists()):
        pytest.skip("needs Linux and a torch that says what the processor can")
    said = torch_names.cpu()
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    found = torch_names.cpu()
    names = ("avx512_f", "avx512_bf16", "amx_bf16")
    assert [found[name] for name in names] == [said.get(name, False) for name in names]
    assert ("AMD" in found["cpu_name"]) == ("AMD" in said.get("cpu_name", ""))


@pytest.mark.parametrize(
    ("text", "trial", "bf16"),
    [
        (XEON, None, True),
        (EPYC, (1.0, 4.0), True),
        (EPYC, (2.0, 1.0), False),
        (OLD, None, False),
        (None, None, False),
    ],
)
def test_precision_is_settled_without_torchs_word(linux, monkeypatch, text, trial, bf16):
    """By a trial of products, in bf16 and float32, only where instructions alone do not tell."""
    linux(text)
    seconds = iter(trial or ())
    monkeypatch.setattr(machine, "_product", lambda torch, dtype: next(seconds))
    machine._multiplies_bf16.cache_clear()
    assert machine._multiplies_bf16(torch, "cpu") is bf16
    machine._multiplies_bf16.cache_clear()


@pytest.mark.parametrize(("text", "faster"), [(EPYC, True), (XEON, False), (OLD, False), (None, False)])
def test_onednn_multiplies_on_amds_avx512_alone(linux, text, faster):
    linux(text)
    assert linear._faster() is (faster and torch.backends.mkldnn.is_available())


LACKING = {
    "the product": lambda patch: patch.setattr(torch.ops, "mkldnn", types.SimpleNamespace()),
    "word of transforms": lambda patch: patch.delattr(torch._C, "_are_functorch_transforms_active"),
    "leave": lambda patch: patch.setattr(torch_names, "PLAIN", True),
}


@pytest.mark.parametrize("lacking", LACKING)
def test_torch_multiplies_itself_where_it_lacks(linux, monkeypatch, lacking):
    linux(EPYC)
    LACKING[lacking](monkeypatch)
    assert not torch_names.has_product()
    monkeypatch.setattr(linear, "FASTER", linear._faster())
    ours, torchs = linear.Linear(7, 5), torch.nn.Linear(7, 5)
    torchs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(torch.ones(2, 7)), torchs(torch.ones(2, 7)))


@pytest.mark.long
@pytest.mark.parametrize("switch", ["0", "1"])
def test_the_switch_leaves_torch_alone(monkeypatch, switch):
    monkeypatch.setenv(torch_names.SWITCH, switch)
    code = "print(torch_names.PLAIN, isinstance(sys.modules.get('torch._dynamo'), torch_names.Compiler))"
    assert python(code) == ("True False" if switch == "1" else "False True")


def test_no_other_module_uses_private_names_of_torch():
    private = re.compile(r"\btorch(\.\w+)*\._(?!_)\w+|torch\.ops\b|from torch(\.\w+)* import _|getattr\(torch\b")
    here = ROOT / "softtargets" / "compat" / "torch_names.py"
    sources = [
        file for folder in ("softtargets", "hydra_plugins", "benchmarks") for file in (ROOT / folder).rglob("*.py")
    ]
    assert [file.name for file in sources if private.search(file.read_text()) and file != here] == []
    assert private.search(here.read_text())
