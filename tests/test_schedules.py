"""One-cycle against its formula."""

import math

import pytest
import torch

from softtargets.schedules import one_cycle

PEAK = 0.5


def rates(steps, warmup=0.3):
    """Learning rate of every step, as the training loop would use them."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=123.0, momentum=0.9)
    schedule = one_cycle(optimizer, steps, peak=PEAK, warmup=warmup)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_rises_to_the_peak_and_anneals_along_cosines():
    def cosine(start, end, share):
        return end + (start - end) * (1 + math.cos(math.pi * share)) / 2

    rise = [cosine(PEAK / 25, PEAK, k / 29) for k in range(30)]
    fall = [cosine(PEAK, PEAK / 25 / 1e4, k / 70) for k in range(1, 71)]
    assert rates(100) == pytest.approx(rise + fall, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7])
def test_serves_the_shortest_fits(steps):
    assert all(0 < rate <= PEAK * (1 + 1e-9) for rate in rates(steps))


@pytest.mark.parametrize(("steps", "warmup"), [(10, 0.1), (2, 0.5), (1, 0.5), (20, 0.05)])
def test_warmup_of_exactly_one_step(steps, warmup):
    assert max(rates(steps, warmup)) <= PEAK * (1 + 1e-9)
