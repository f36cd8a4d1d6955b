"""The price of ssd's importances on torchvision's resnet18, and whether they are those of samples one by one.

`python benchmarks/importances.py [images=64]` draws random images of 3 x 32 x 32 and compares, in CPU seconds of
one core, the importances of all images with a step of training on them. It prints how many passes of training the
importances cost, what share of retraining that is by the least number of passes of torchvision's recipe, and how
far they are from the squares of single samples' gradients, in parts of the largest of each parameter: in float64
(the loss stays in float32), in float32, and in float32 without the images that rounding decides. There a ReLU
passes in a batch what it stops alone, or the reverse, and its slope is 1 or 0. Their number follows.
"""

import copy
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torchvision.models import resnet18
from usage import call

from softtargets.importance import CHUNK, Importance, importance
from softtargets.layout import CONF
from softtargets.types import Samples


def main(images: str = "64") -> None:
    """Print the table."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.randint(0, 10, (int(images),))
    samples = Samples(torch.randn(len(labels), 3, 32, 32), labels, F.one_hot(labels, 10).float())
    model = resnet18(num_classes=10).eval()
    ours, training = seconds(lambda: importance(model, samples)), seconds(stepping(model, samples))
    passes = OmegaConf.load(CONF / "training/adamw.yaml").min_epochs
    milliseconds = " | ".join(f"{1000 * one / len(labels):.2f}" for one in (ours, training))
    loose = decided_by_rounding(model, samples)
    firm = samples.take((~loose).nonzero()[:, 0])
    deviations = [deviation(*one) for one in (in_float64(model, samples), (model, samples), (model, firm))]
    print("| importances, ms a sample | training, ms a sample | passes | share of retraining ", end="")
    print(
        "| largest deviation in float64 | in float32 | in float32 without images that rounding decides | these |"
    )
    print(8 * "|---" + "|")
    print(f"| {milliseconds} | {ours / training:.2f} | {ours / training / passes:.2f} ", end="")
    print("".join(f"| {one:.0e} " for one in deviations) + f"| {int(loose.sum())} |")


def seconds(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of two calls, after one that is not counted."""
    spent = []
    for _ in range(3):
        started = time.process_time()
        work()
        spent.append(time.process_time() - started)
    return min(spent[1:])


def stepping(original: torch.nn.Module, samples: Samples) -> Callable[[], None]:
    """Return a step of training on all samples at once."""
    model = copy.deepcopy(original).train()
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(samples.inputs), samples.labels).backward()
        optimizer.step()

    return step


def one_by_one(model: torch.nn.Module, samples: Samples) -> Importance:
    """Return the mean of squared gradients of single samples."""
    total = {name: torch.zeros_like(parameter) for name, parameter in model.named_parameters()}
    for image, label in zip(samples.inputs.split(1), samples.labels.split(1), strict=True):
        loss = F.cross_entropy(model(image), label)
        for squares, slope in zip(
            total.values(), torch.autograd.grad(loss, list(model.parameters())), strict=True
        ):
            squares += slope.square() / len(samples)
    return total


def deviation(model: torch.nn.Module, samples: Samples) -> float:
    """Return the largest difference to single samples' squares, in parts of the largest of its parameter."""
    found, expected = importance(model, samples), one_by_one(model, samples)
    return max(float((found[name] - right).abs().max() / right.abs().max()) for name, right in expected.items())


def in_float64(model: torch.nn.Module, samples: Samples) -> tuple[torch.nn.Module, Samples]:
    """Return copies of network and samples with numbers of twice the length."""
    doubled = Samples(samples.inputs.double(), samples.labels, samples.targets.double())
    return copy.deepcopy(model).double(), doubled


def decided_by_rounding(model: torch.nn.Module, samples: Samples) -> torch.Tensor:
    """Return for each image whether a ReLU passes in a batch what it stops alone, or the reverse."""
    batches, alone = (
        torch.cat([passed(model, part) for part in samples.inputs.split(size)]) for size in (CHUNK, 1)
    )
    return (batches != alone).any(1)


def passed(model: torch.nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return for each image what all ReLUs pass: (n, numbers that they read)."""
    found = []
    hooks = [
        layer.register_forward_hook(lambda layer, _, output: found.append((output > 0).flatten(1)))
        for layer in model.modules()
        if isinstance(layer, torch.nn.ReLU)
    ]
    with torch.no_grad():
        model(inputs)
    for hook in hooks:
        hook.remove()
    return torch.cat(found, 1)


if __name__ == "__main__":
    call(main, __doc__)
