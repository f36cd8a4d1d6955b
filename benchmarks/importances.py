"""The price of ssd's importances on torchvision's resnet18, and whether they are those of samples one by one.

`python benchmarks/importances.py [images=64]` draws random images of 3 x 32 x 32 and compares, in CPU seconds of
one core, the importances of all images with a step of training on them. It prints how many passes of training the
importances cost, what share of retraining that is by the least number of passes of torchvision's recipe, and how
far they are from the squares of single samples' gradients, in parts of the largest of each parameter.
"""

import copy
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torchvision.models import resnet18
from usage import call

from softtargets.importance import Importance, importance
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
    print(
        "| importances, ms a sample | training, ms a sample | passes | share of retraining | largest deviation |"
    )
    print("|---|---|---|---|---|")
    milliseconds = " | ".join(f"{1000 * one / len(labels):.2f}" for one in (ours, training))
    worst = deviation(importance(model, samples), one_by_one(model, samples))
    print(f"| {milliseconds} | {ours / training:.2f} | {ours / training / passes:.2f} | {worst:.0e} |")


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


def deviation(one: Importance, other: Importance) -> float:
    """Return the largest difference, in parts of the largest importance of its parameter."""
    return max(float((one[name] - right).abs().max() / right.abs().max()) for name, right in other.items())


if __name__ == "__main__":
    call(main, __doc__)
