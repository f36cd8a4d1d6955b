"""The meter of the cost of unlearning: how much CPU time does it add to a step?

`python benchmarks/meter.py [rounds=400]` alternates steps with and without the meter in one process, so that other
load on the machine meets both alike: steps of mlp on random images, two streams, SGD. Prints a row for each batch
size in Markdown: the middle half of the differences of CPU time, averaged.
"""

import contextlib
import functools
import random
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn
from usage import call

from softtargets.architectures import mlp
from softtargets.cost import Meter
from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.types import Samples

SHAPE, CLASSES, STEPS = (1, 28, 28), 10, 4


def main(rounds: str = "400") -> None:
    """Print a row for each batch size."""
    torch.set_num_threads(1)
    print("| batch | step, µs | meter, µs | share |\n|---|---|---|---|")
    for batch_size in (16, 64, 256):
        plain, added = measured(batch_size, int(rounds))
        print(f"| {batch_size} | {plain:.0f} | {added:.0f} | {added / plain:.1%} |", flush=True)


def measured(batch_size: int, rounds: int) -> tuple[float, float]:
    """Return the CPU time of a step without the meter, and what the meter adds, in µs."""
    model = mlp(input_shape=SHAPE, classes=CLASSES, hidden=800)
    step = steps(model, batch_size)
    contexts = {"plain": touched, "metered": functools.partial(contextlib.nullcontext, Meter(model, SHAPE))}
    times = {name: [] for name in contexts}
    for _ in range(rounds):
        # in random order: the second of two blocks finds a warmer cache
        for name in random.sample(list(contexts), len(contexts)):
            with contexts[name]() as meter, meter or contextlib.nullcontext():
                step()
                times[name].append(timed(step))
    added = sorted(m - p for m, p in zip(times["metered"], times["plain"], strict=True))
    outer = rounds // 4
    return statistics.median(times["plain"]), statistics.mean(added[outer : rounds - outer])


def steps(model: nn.Module, batch_size: int) -> Callable[[], None]:
    """Return a function that makes one step of an algorithm with two streams."""
    n, generator = 20 * batch_size, torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (n,), generator=generator)
    samples = Samples(torch.randn(n, *SHAPE, generator=generator), labels, torch.eye(CLASSES)[labels])
    fit = Fit(
        epochs=1,
        batch_size=batch_size,
        optimizer=functools.partial(torch.optim.SGD, lr=1e-3, momentum=0.9),
        schedule=None,
        clip_norm=1.0,
        precision="float32",
        seed=0,
        name="meter",
    )
    optimizer, _ = fit.optimisation(model, 1)
    batches = fit.batches(samples, samples)

    def step() -> None:
        one, other = next(batches)
        loss = cross_entropy(model(one.inputs), one.targets) + cross_entropy(model(other.inputs), other.targets)
        optimizer.zero_grad()
        loss.backward()
        fit.clip(model)
        optimizer.step()

    return step


def timed(step: Callable[[], None]) -> float:
    started = time.process_time()
    for _ in range(STEPS):
        step()
    return (time.process_time() - started) / STEPS * 1e6


@contextlib.contextmanager
def touched() -> Iterator[None]:
    """Set the call of modules as the meter does: Python then looks up methods anew, which a run pays once."""
    nn.Module.__call__ = nn.Module.__call__
    try:
        yield
    finally:
        nn.Module.__call__ = nn.Module.__call__


if __name__ == "__main__":
    call(main, __doc__)
