"""No compiler until something compiles; in processes of their own, since an import cannot be undone."""

import subprocess
import sys

import pytest
from conftest import ROOT, SMALL

HEAD = """
import sys
import torch
from softtargets import eager
eager.install()
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
        [sys.executable, "-c", HEAD + code], cwd=ROOT, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_optimisers_work_without_it():
    steps = "".join(f"step(torch.optim.{name}(network.parameters(), 0.1))\n" for name in OPTIMIZERS)
    assert python(f"{steps}print(loaded())") == "0"


def test_whoever_looks_through_all_modules_leaves_it_alone():
    look = "[hasattr(module, '__file__') for module in list(sys.modules.values())]"
    assert python(f"{look}\nprint(loaded())") == "0"


@pytest.mark.parametrize(
    "first",
    [
        "torch.compile(network, backend='eager')(torch.ones(2, 3))",
        "import torch._dynamo.config",
        "torch._dynamo.disable(recursive=False)(network.forward)",
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


def test_a_run_imports_nothing_large_that_it_does_not_need(tmp_path):
    words = [*SMALL, f"runs_dir={tmp_path}"]
    code = f"""
import runpy
sys.argv = ["run.py", *{words!r}]
runpy.run_path("run.py", run_name="__main__")
print(loaded(), *sorted({{name.partition(".")[0] for name in sys.modules}} & {LARGE}))
"""
    assert python(code).splitlines()[-1] == "0"
