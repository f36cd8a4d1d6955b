"""The training loop, the only one: it trains, retrains and unlearns.

A caller gives a model and a loss over batches; `Fit` holds everything that does not depend on the loss:
optimiser, schedule, batches and their order, precision, the stop rule, progress, and the account of the cost.
"""

import contextlib
import dataclasses
import hashlib
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from softtargets.augmentation import augmented
from softtargets.devices import device_of, forked_random, sent, wait_for, waits
from softtargets.types import Samples, generator

UNSEEN = 50
"""Steps between two looks at the loss, where a look makes the processor wait for the device."""


@dataclasses.dataclass
class Account:
    """Cost of a fit, and how it ended."""

    seconds: float = 0.0
    """Wall time of the steps in seconds, without the time of `watch`."""
    steps: int = 0
    """Optimiser steps so far."""
    gradient_samples: int = 0
    """Samples that went forward and backward, summed over all streams."""
    diverged: bool = False
    """Whether loss or weights are no longer finite."""
    stopped: bool = False
    """Whether `watch` ended the fit."""
    loss: float = math.nan
    """Of the last step, or the mean over the steps between two looks; see `note`."""
    rate: float = 0.0
    highest_rate: float = 0.0
    """Learning rates of the schedule: the next step's, and the highest so far. 0 without a schedule."""

    pending: list[Tensor] = dataclasses.field(default_factory=list)
    """Losses that nobody has looked at yet."""

    def note(self, value: Tensor) -> None:
        """Take the loss of a step, and look at it at once on a processor.

        On other devices a look waits for all that they compute, so there is one every `UNSEEN` steps.
        """
        self.pending.append(value.detach())
        if not waits(value.device) or len(self.pending) == UNSEEN:
            self.look()

    def look(self) -> None:
        """Look at the pending losses: their mean is finite if each of them is."""
        if self.pending:
            several = len(self.pending) > 1
            self.loss = (torch.stack(self.pending).mean() if several else self.pending[0]).item()
            self.diverged |= not math.isfinite(self.loss)
            self.pending.clear()

    @property
    def settled(self) -> bool:
        """Return whether the schedule is over its hot phase: the rate is down to half of its highest."""
        return self.rate <= self.highest_rate / 2

    def follow(self, rate: float) -> None:
        """Note the learning rate that a schedule has set."""
        self.rate, self.highest_rate = rate, max(rate, self.highest_rate)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fit:
    """Minimise a loss over batches. An instance serves one fit, whose cost `account` holds.

    >>> from softtargets.losses import cross_entropy
    >>> samples = Samples(torch.eye(2), labels=torch.tensor([0, 1]), targets=torch.eye(2))
    >>> fit = Fit(
    ...     epochs=20, batch_size=2, optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    ...     schedule=None, clip_norm=None, precision="float32", seed=0, name="example",
    ... )
    >>> model = nn.Linear(2, 2)
    >>> model = fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), samples)
    >>> model(samples.inputs).argmax(1), fit.account.steps
    (tensor([0, 1]), 20)
    """

    epochs: int
    """Passes over the first stream of samples."""
    batch_size: int
    """Samples in a batch, times the `batch_ratio` of its stream; the last batch of a pass may be smaller."""
    optimizer: Callable
    """`optimizer(parameters) -> Optimizer`."""
    schedule: Callable | None
    """`schedule(optimizer, steps) -> LRScheduler`, stepped once a batch."""
    clip_norm: float | None
    """Gradients are scaled down to this norm after the backward pass; None leaves them alone."""
    precision: str
    """"float32" or "bf16": the autocast type of forward and backward pass; parameters stay in float32."""
    seed: int
    name: str
    """Name of the fit; with `seed` it decides every random choice in the loop."""
    augmentation: Mapping[str, int] | None = None
    """Settings of `augmented`, which changes the inputs of every batch; None leaves them as they are."""
    label_smoothing: float = 0.0
    """Label smoothing of a loss on labels of the retain set, for algorithms that have such a loss alone."""
    freeze_norm: bool = False
    """Whether batch normalisation uses its running statistics and keeps them, in place of each batch's own."""
    max_steps: int | None = None
    """Steps after which the fit ends, however many epochs are left; None for no such bound."""
    lengths: tuple[int, ...] | None = None
    """Steps of the fit, or of each of its turns, where a budget decides in place of `epochs` and `max_steps`."""
    evaluate_every: int | None = None
    evaluate_growth: float = 0.0
    watch: Callable[[nn.Module, int], bool] | None = None
    """`watch(model, step)` in eval mode, True ends: before the first step, after the last, and in between every
    `evaluate_every` steps, or every `evaluate_growth` times the steps so far where that is more."""
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None
    """`progress(step, steps, loss)`, called after every step."""
    account: Account = dataclasses.field(default_factory=Account)

    def __call__(
        self, model: nn.Module, loss: Callable[..., Tensor], first: Samples, *others: Samples
    ) -> nn.Module:
        """Train `model` in place on `loss(batch of first, batch of each other)` and return it in eval mode.

        An epoch is a pass over `first`. For each of its batches the others yield one, each in its own shuffled
        order, which starts again at its end.
        """
        # without end, and lazy: `_loop` takes as many batches as it makes steps. By `map`, which forgets a batch
        # once it is out; a loop would keep it in memory while the next one is drawn
        work = map(lambda batch: (loss, batch), self.batches(first, *others))  # noqa: C417
        return self._run(model, work, self.steps(first))

    def in_turns(self, model: nn.Module, *turns: tuple[Callable[..., Tensor], Samples]) -> nn.Module:
        """Train `model` in place by one optimiser, turn by turn, and return it in eval mode.

        A turn is one pass of its loss over its samples; turns over the same samples share one shuffled order.
        `max_steps` cuts the last ones short, `epochs` plays no part. With `lengths` a turn takes so many steps.
        """
        # by identity: turns that name the same object go on in its stream, and never hash its tensors
        streams = {id(samples): samples for _, samples in turns}
        flowing = {key: self._stream(i, samples) for i, (key, samples) in enumerate(streams.items())}
        lengths = self.lengths or [math.ceil(len(samples) / self.size_of_batch(samples)) for _, samples in turns]
        work = (
            (loss, (batch,))
            for (loss, samples), length in zip(turns, lengths, strict=True)
            for batch in itertools.islice(flowing[id(samples)], length)
        )
        return self._run(model, work, min(sum(lengths), self.max_steps or sum(lengths)))

    def _run(self, model: nn.Module, work: Iterator[tuple], steps: int) -> nn.Module:
        """Make `steps` steps, each on the next (loss, batches) of `work`."""
        with self.noise(model), lone_samples(model):
            self._loop(model, *self.optimisation(model, steps), work, steps)
        return model.eval()

    def optimisation(self, model: nn.Module, steps: int) -> tuple[Optimizer, LRScheduler | None]:
        """Return a new optimiser, and its schedule over `steps` steps."""
        optimizer = self.optimizer(model.parameters())
        return optimizer, self.schedule(optimizer, steps) if self.schedule else None

    def to_training(self, model: nn.Module) -> nn.Module:
        """Put a model into training mode, but batch normalisation into evaluation mode under `freeze_norm`."""
        model.train()
        if self.freeze_norm:
            for layer in batch_norms(model):
                layer.eval()  # weight and bias of the layer are trained all the same
        return model

    @contextlib.contextmanager
    def noise(self, model: nn.Module):
        """Let a model's own noise, such as dropout, come from this fit's seed."""
        # forked, so that the caller's own random numbers do not depend on what a fit draws
        with forked_random(device_of(model)):
            torch.manual_seed(generator(self.seed, f"{self.name}/noise").initial_seed())
            yield

    def batches(self, *streams: Samples) -> Iterator[tuple[Samples, ...]]:
        """Yield a batch of every stream, without end."""
        flowing = [self._stream(i, samples) for i, samples in enumerate(streams)]
        while True:  # `zip` would keep each batch until it has the next
            yield tuple(map(next, flowing))

    def _loop(self, model, optimizer, schedule, work: Iterator[tuple], steps: int) -> None:
        looks = self.looks(steps)
        self.to_training(model)
        for step in range(1, steps + 1):
            if step - 1 in looks and self._watched(model, step - 1):
                return
            # the clock runs for steps alone: measuring is no part of what unlearning costs
            started = time.perf_counter()
            self._step(model, optimizer, *next(work))
            if schedule:
                # before and after: the highest rate may be that of the very first step
                self.account.follow(optimizer.param_groups[0]["lr"])
                schedule.step()
                self.account.follow(optimizer.param_groups[0]["lr"])
            self.account.seconds += time.perf_counter() - started
            self.progress(step, steps, self.account.loss)
            if self.account.diverged:
                return
        if steps in looks:
            self._watched(model, steps)
        self.account.look()
        # the last step may have broken the weights after the last finite loss
        finite = all(bool(parameter.isfinite().all()) for parameter in model.parameters())
        self.account.diverged |= not finite

    def _step(self, model, optimizer, loss, batch: tuple[Samples, ...]) -> None:
        value = self.value(loss, batch)
        self.account.steps += 1
        self.account.gradient_samples += sum(map(len, batch))
        self.account.note(value)
        # else the model stays as it was before the loss stopped being finite, where each loss is looked at
        if not self.account.diverged:
            optimizer.zero_grad()
            value.backward()
            self.clip(model)
            optimizer.step()

    def value(self, loss, batch: tuple[Samples, ...]) -> Tensor:
        """Return the loss of a batch, computed in this fit's precision."""
        # autocast casts inside the pass alone: parameters, gradients and the optimiser stay in float32
        with torch.autocast(batch[0].inputs.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return loss(*batch)

    def clip(self, model: nn.Module) -> None:
        """Scale the model's gradients down to an L2 norm of `clip_norm` over all parameters."""
        if self.clip_norm is not None:
            nn.utils.clip_grad_norm_(model.parameters(), self.clip_norm)

    def looks(self, steps: int) -> set[int]:
        """Return after which steps, from 0 to `steps`, `watch` is called."""
        if self.watch is None:
            return set()
        watched, step = {steps}, 0
        while step < steps:
            watched.add(step)
            # the gap grows with the step: a run of ten times the steps has few more looks
            step += max(self.evaluate_every, int(step * self.evaluate_growth))
        return watched

    def _watched(self, model: nn.Module, step: int) -> bool:
        started = time.perf_counter()
        wait_for(device_of(model))  # what is still computed belongs to the steps
        self.account.seconds += time.perf_counter() - started
        self.account.stopped = self.watch(model.eval(), step)
        self.to_training(model)  # `watch` measures in eval mode; the steps that follow need the other
        return self.account.stopped

    def size_of_batch(self, samples: Samples) -> int:
        """Return the size of a whole batch of this stream."""
        return batch_of_ratio(self.batch_size, samples.batch_ratio)

    def steps(self, first: Samples) -> int:
        """Return how many steps a fit takes that has this first stream, unless it is stopped."""
        if self.lengths:
            return sum(self.lengths)
        steps = self.epochs * math.ceil(len(first) / self.size_of_batch(first))
        return min(steps, self.max_steps or steps)

    def orders(self, position: int, samples: int) -> Iterator[Int64[Tensor, " n"]]:
        """Yield the shuffled order of each epoch of the stream at `position` among a loss's batches."""
        # by position, not by name of the set: arms that differ in targets alone see the same batches
        shuffle = generator(self.seed, f"{self.name}/batches/{position}")
        while True:
            yield torch.randperm(samples, generator=shuffle)

    def _stream(self, position: int, samples: Samples) -> Iterator[Samples]:
        """Yield batches of one set, pass after pass, without end."""
        draw = generator(self.seed, f"{self.name}/augmentation/{position}")
        for order in self.orders(position, len(samples)):
            for positions in sent(order, samples.labels.device).split(self.size_of_batch(samples)):
                yield self.changed(samples.take(positions), draw)

    def changed(self, batch: Samples, draw: torch.Generator) -> Samples:
        """Return a batch with augmented inputs, if this fit augments."""
        if self.augmentation is None:
            return batch
        return dataclasses.replace(batch, inputs=augmented(batch.inputs, draw, **self.augmentation))

    def plan_digest(self, forget: Samples, retain: Samples) -> str:
        """Return the SHA-256 of what decides all batches: their sizes, seed and name, and the sizes of both sets.

        Seed, name and sizes by the first orders of a loss on forget and retain batches. A loss that takes retain
        batches first, or another set, draws other orders, and equal ones where this digest is equal.
        """
        plans = (next(self.orders(i, len(samples))) for i, samples in enumerate((forget, retain)))
        sizes = dict.fromkeys(map(self.size_of_batch, (retain, forget)))
        sha = hashlib.sha256(" and ".join(map(str, sizes)).encode())
        for plan in plans:
            sha.update(plan.numpy().tobytes())
        return sha.hexdigest()


def batch_of_ratio(batch_size: int, ratio: float) -> int:
    """Return the size of a batch that is `ratio` times as large, at least one sample.

    >>> batch_of_ratio(32, 0.25), batch_of_ratio(1, 0.25)
    (8, 1)
    """
    return max(1, round(batch_size * ratio))


def batch_norms(model: nn.Module) -> list[nn.Module]:
    """Return the batch normalisations of a model.

    >>> len(batch_norms(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))))
    1
    """
    kinds = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
    return [layer for layer in model.modules() if isinstance(layer, kinds)]


@contextlib.contextmanager
def lone_samples(model: nn.Module):
    """Let a model train on a batch that leaves batch normalisation one value for each channel.

    One value has no variance, and torch raises. Here the layer normalises it by the running statistics and does
    not update them. Nothing changes for any other batch.

    >>> layer = nn.BatchNorm1d(3)
    >>> with lone_samples(layer):
    ...     layer(torch.zeros(1, 3)).shape
    torch.Size([1, 3])
    """
    switched = set()  # layers in eval mode for the batch that is being computed

    def before(layer: nn.Module, inputs: tuple) -> None:
        values = inputs[0]
        # (n, channels, ...): as many numbers as channels is one for each
        if layer.training and values.dim() > 1 and values.numel() == values.shape[1]:
            layer.training = False
            switched.add(layer)

    def after(layer: nn.Module, inputs: tuple, output: object) -> None:
        if layer in switched:
            layer.training = True
            switched.remove(layer)

    layers = batch_norms(model)
    hooks = [layer.register_forward_pre_hook(before) for layer in layers]
    # always_call: a layer that raises must not stay in eval mode
    hooks += [layer.register_forward_hook(after, always_call=True) for layer in layers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def predict(model: nn.Module, inputs: Tensor | Samples, batch_size: int = 256) -> Tensor:
    """Return the eval-mode float32 logits (n, classes) of inputs (n, ...), or of those of samples.

    >>> predict(nn.Linear(3, 2), torch.zeros(5, 3)).shape
    torch.Size([5, 2])
    """
    with torch.no_grad(), evaluating(model):
        # by `map`, which forgets a batch before it draws the next
        return _stacked(map(lambda batch: model(batch).float(), inputs.split(batch_size)), len(inputs))  # noqa: C417


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a block, and then each of its modules back into the mode that it had.

    >>> layer = nn.Dropout()
    >>> with evaluating(layer):
    ...     layer.training
    False
    >>> layer.training
    True
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:  # one by one: a network may hold a part of it in evaluation mode for good
            module.training = training


def _stacked(parts: Iterator[Tensor], rows: int) -> Tensor:
    """Copy parts, `rows` rows in all, into one tensor as they come.

    A list of parts would keep each one between the large temporary tensors of its batch. The next batch's then fit
    in no gap, and memory in such pieces has cost hundreds of MB.
    """
    whole, start = None, 0
    for part in parts:
        whole = part.new_empty(rows, *part.shape[1:]) if whole is None else whole
        whole[start : start + len(part)] = part
        start += len(part)
    return whole


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are not frozen.

    >>> layer = nn.Linear(3, 2)
    >>> _ = layer.bias.requires_grad_(False)
    >>> [parameter.shape for parameter in trainable(layer)]
    [torch.Size([2, 3])]
    """
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def epochs_for(samples: int, batch_size: int, min_epochs: int, min_steps: int) -> int:
    """Return the least number of epochs, at least `min_epochs`, that makes `min_steps` steps.

    Small training sets need more passes before a network memorises them; without that there is nothing to forget.

    >>> epochs_for(1000, batch_size=100, min_epochs=5, min_steps=200)
    20
    """
    return max(min_epochs, math.ceil(min_steps / math.ceil(samples / batch_size)))
