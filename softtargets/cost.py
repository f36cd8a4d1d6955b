"""The cost of unlearning in gradient samples: a meter of what is computed, and steps that fit a budget.

A sample's pass forward through the network is a third of a gradient sample, its pass backward two thirds.
"""

import contextlib
import copy
import dataclasses
import functools
import math
import operator
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from softtargets.compat import torch_names
from softtargets.devices import forked_random, wait_for


class Shares(NamedTuple):
    """The floating-point operations of a module's passes over those of the whole network's."""

    forward: float
    backward: float


WHOLE = Shares(1.0, 1.0)
_TRAINED = operator.attrgetter("requires_grad")


class _Known(NamedTuple):
    """What does not change of a module."""

    parameters: tuple[nn.Parameter, ...]
    whole: bool
    """Whether they have the shapes of the whole network's."""


class Meter:
    """Counts the samples that pass through networks while it is entered, whoever calls them.

    The unit is a pass through the whole `network`, all of it trained. A part of it, a larger network, and one with
    frozen parameters count by their floating-point operations at one sample. Modules without parameters, such as
    losses, count nothing.
    """

    def __init__(self, network: nn.Module, input_shape: tuple[int, ...]):
        """`input_shape` is that of one input of `network`, without the batch."""
        self.forward = self.backward = 0.0
        """Samples."""
        self._network, self._input_shape = network, input_shape
        self._known: weakref.WeakKeyDictionary[nn.Module, _Known] = weakref.WeakKeyDictionary()
        self._shapes = _shapes(network.parameters())
        self._measured: dict[tuple, Shares] = {}
        self._counts = True
        self.seconds = self.cpu_seconds = 0.0
        """Taken to measure operations, which is no part of what is counted."""

    @property
    def thirds(self) -> float:
        """Return the count in thirds of a gradient sample."""
        return self.forward + 2 * self.backward

    def __enter__(self) -> "Meter":
        # of every module in the process: an algorithm may copy networks, take them apart and build others
        self._restore = torch_names.wrap_calls(self._counting)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def _counting(self, usual: Callable) -> Callable:
        """Return `usual`, the call of a module, with a count; a layer counts with the network that called it."""
        inside = False

        def call(module: nn.Module, *given: object, **named: object) -> object:
            nonlocal inside
            if inside or not self._counts:
                return usual(module, *given, **named)
            inside = True
            try:
                out = usual(module, *given, **named)
            finally:
                inside = False
            self._count(module, (*given, *named.values()), out)
            return out

        return call

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing within."""
        before, self._counts = self._counts, False
        try:
            yield
        finally:
            self._counts = before

    def _count(self, module: nn.Module, given: tuple, out: object) -> None:
        # this runs in every step: generators and lambdas here took half a per cent of a step of 16 samples
        inputs = given[0] if given and isinstance(given[0], Tensor) else _first_tensor(given)
        if inputs is None or not isinstance(out, Tensor):
            return
        may_go_back = out.requires_grad
        shares = self._shares(module, inputs, may_go_back)
        if shares is None:
            return
        samples = _samples(inputs, out)
        self.forward += samples * shares.forward
        if may_go_back:
            out.register_hook(functools.partial(self._goes_back, samples * shares.backward))

    def _goes_back(self, samples: float, gradient: Tensor) -> None:
        """Count a backward pass: autograd calls this once for each that reaches the network's output."""
        if self._counts:
            self.backward += samples

    def _shares(self, module: nn.Module, inputs: Tensor, may_go_back: bool) -> Shares | None:
        """Return what a call counts for each sample; None for a module without parameters, which is no network."""
        known = self._known.get(module) or self._learn(module)
        if known.whole and (not may_go_back or all(map(_TRAINED, known.parameters))):
            return WHOLE
        if not known.parameters:
            return None
        trained = tuple(one.requires_grad for one in known.parameters)
        key = (type(module), _shapes(known.parameters), trained, inputs.shape[1:], inputs.requires_grad)
        if key not in self._measured:
            with self.paused():
                self._measured[key] = self._measure(module, inputs)
        return self._measured[key]

    def _learn(self, module: nn.Module) -> "_Known":
        parameters = tuple(module.parameters())
        if all(isinstance(one, nn.Parameter) for one in parameters):
            self._known[module] = _Known(parameters, _shapes(parameters) == self._shapes)
            return self._known[module]
        return _Known((), whole=True)  # those of a functional call, which are not the module's own

    def _measure(self, module: nn.Module, inputs: Tensor) -> Shares:
        now = clock(str(inputs.device))
        started, cpu = time.perf_counter(), now()
        one = torch.zeros(1, *inputs.shape[1:], device=inputs.device, dtype=inputs.dtype)
        part = _operations(copy.deepcopy(module), one.requires_grad_(inputs.requires_grad))
        network = copy.deepcopy(self._network).requires_grad_(True)
        whole = _operations(network, torch.zeros(1, *self._input_shape, device=inputs.device))
        self.seconds += time.perf_counter() - started
        self.cpu_seconds += now() - cpu
        return Shares(*(some / all_ if all_ else 1.0 for some, all_ in zip(part, whole, strict=True)))


def _shapes(parameters: Iterator[Tensor] | tuple[Tensor, ...]) -> tuple[torch.Size, ...]:
    return tuple(parameter.shape for parameter in parameters)


def _first_tensor(given: tuple) -> Tensor | None:
    return next((value for value in given if isinstance(value, Tensor)), None)


def _samples(inputs: Tensor, out: Tensor) -> int:
    """Count the samples of a call; under `vmap` its tensors hide that they stand for many."""
    seen, inner = len(inputs) if inputs.dim() else 1, torch_names.unwrapped(out)
    return seen if inner is out or not out.numel() else seen * (inner.numel() // out.numel())


def _operations(module: nn.Module, sample: Tensor) -> tuple[int, int]:
    """Count the floating-point operations of a pass of one sample forward and of one backward."""
    from torch.utils.flop_counter import FlopCounterMode  # a fifth of a second, which few runs need

    counters = [FlopCounterMode(display=False, custom_mapping=torch_names.PRODUCT_FLOPS) for _ in range(2)]
    with torch.inference_mode(False), torch.enable_grad(), forked_random(sample.device):
        with counters[0]:
            out = module.eval()(sample)
        with counters[1]:
            if out.requires_grad:
                out.sum().backward()
    return tuple(counter.get_total_flops() for counter in counters)


@dataclasses.dataclass(frozen=True)
class Turn:
    """A pass of a loss over its streams of samples, as often as it is repeated."""

    streams: tuple[int, ...]
    """A number for each: turns with the same one go on in its order."""
    sizes: tuple[int, ...]
    """Samples of each stream; the first one's are a pass."""
    per_sample: tuple[float, ...]
    """Gradient samples that a sample of each stream costs."""
    batch_sizes: tuple[int, ...]
    """Samples of each stream in a batch."""
    per_step: float = 0.0
    """Gradient samples that a step costs whatever its batch."""


@dataclasses.dataclass(frozen=True)
class Spent:
    """What an unlearning took, evaluation excluded."""

    seconds: float
    """Wall time."""
    cpu_seconds: float
    """On a device other than the CPU, wall time too."""
    forward: float
    """Samples that went forward through the network, but those of `looked`."""
    backward: float
    looked: int
    """Samples that were predicted for the stop rule."""


def total(parts: Iterable[Spent]) -> Spent:
    """Return the sums of all fields.

    >>> total([Spent(1.0, 2.0, 3.0, 4.0, 5), Spent(1.0, 0.0, 0.0, 0.0, 1)])
    Spent(seconds=2.0, cpu_seconds=2.0, forward=3.0, backward=4.0, looked=6)
    """
    return Spent(*map(sum, zip(*map(dataclasses.astuple, parts), strict=True)))


def clock(device: str) -> Callable[[], float]:
    """Return the clock of `Spent.cpu_seconds`, which waits for what the device still computes."""
    return time.process_time if device == "cpu" else functools.partial(_settled_time, device)


def _settled_time(device: str) -> float:
    wait_for(device)
    return time.perf_counter()


class Budget(NamedTuple):
    """What an unlearning may cost, in gradient samples."""

    most: float
    beside: Callable[[int], float] = lambda steps: 0.0
    """What so many steps in all cost beside the algorithm: looks for a stop rule."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an unlearning costs, in gradient samples, before it is done."""

    fixed: float
    """Of all but the steps."""
    turns: tuple[Turn, ...]
    """Of the fit, in their order; none for an algorithm without a loop."""
    by_epochs: bool = False
    """Whether the setting `epochs` says how many turns there are."""

    def cost(self, lengths: Sequence[int]) -> float:
        """Return the cost with so many steps of each turn."""
        done, total = Counter(), self.fixed
        for turn, steps in zip(self.turns, lengths, strict=True):
            total += turn.per_step * steps
            streams = zip(turn.streams, turn.sizes, turn.per_sample, turn.batch_sizes, strict=True)
            for stream, size, price, batch_size in streams:
                before, after = done[stream], done[stream] + steps
                total += price * (_seen(size, after, batch_size) - _seen(size, before, batch_size))
                done[stream] = after
        return total

    def lengths(self, budget: Budget) -> tuple[int, ...]:
        """Return the most steps of each turn that a budget pays for, at least one of each.

        Turns are shortened or lengthened alike, from a pass each.
        """
        passes = [math.ceil(turn.sizes[0] / turn.batch_sizes[0]) for turn in self.turns]

        def scaled(scale: float) -> list[int]:
            return [max(1, math.floor(scale * steps)) for steps in passes]

        def paid(lengths: list[int]) -> bool:
            return self.cost(lengths) + budget.beside(sum(lengths)) <= budget.most * (1 + 1e-9)

        low, high = 0.0, 1.0
        while paid(scaled(high)):
            low, high = high, 2 * high
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if paid(scaled(middle)) else (low, middle)
        lengths = scaled(low)
        for i in sorted(range(len(passes)), key=lambda i: lengths[i] / passes[i]):
            # what is left pays for no step of all turns, and may pay for one of some
            lengths[i] += 1
            lengths[i] -= not paid(lengths)
        return tuple(lengths)


def _seen(size: int, steps: int, batch_size: int) -> int:
    """Count the samples in the first `steps` batches of a stream, the last of each pass a smaller one."""
    passes, left = divmod(steps, math.ceil(size / batch_size))
    return passes * size + left * batch_size
