"""The data that parts hand to each other: samples with labels and targets, and the sets they form.

The examples share:

>>> samples = Samples(torch.zeros(3, 4), labels=torch.tensor([0, 1, 1]), targets=torch.eye(2)[[0, 1, 1]])
"""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

from softtargets.devices import sent

PART = 1 << 22
"""Most bytes of images that are worked on at a time."""


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs with their integer labels (for metrics) and their targets (probabilities, for losses).

    >>> samples.take(torch.tensor([0, 2])).labels
    tensor([0, 1])
    """

    inputs: Float[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    targets: Float[Tensor, "n classes"]
    """Float32. Rows sum to 1; a signed kind of targets has negative entries."""
    batch_ratio: float = 1.0
    """Size of a batch of these over the batch size of a fit."""

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """Return the hash of inputs and labels; targets follow from them and are left out."""
        return digest(self.inputs, self.labels)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""
        return tuple(self.inputs.shape[1:])

    def take(self, positions: Int64[Tensor, " m"]) -> "Samples":
        """Return the samples at these positions, in this order."""
        positions = sent(positions, self.labels.device)
        labels, targets = (column.index_select(0, positions) for column in (self.labels, self.targets))
        return Samples(self.inputs_at(positions), labels, targets, self.batch_ratio)

    def inputs_at(self, positions: Int64[Tensor, " m"]) -> Float[Tensor, "m ..."]:
        """Return a copy of the inputs at these positions."""
        # index_select copies whole rows; indexing with `[]` copies number by number, which is slower
        return self.inputs.index_select(0, positions)

    def ends(self, count: int) -> tuple["Samples", "Samples"]:
        """Return the first `count` samples and all others, as views of these."""
        columns = (self.inputs, self.labels, self.targets)
        parts = ([one[:count] for one in columns], [one[count:] for one in columns])
        return tuple(Samples(*part, self.batch_ratio) for part in parts)

    def select(self, positions: Int64[Tensor, " m"]) -> "Selection":
        """Return the samples at these positions, in this order, without a copy of their inputs."""
        return Selection(self, sent(positions, self.labels.device))

    def split(self, size: int) -> Iterator[Float[Tensor, "m ..."]]:
        """Yield the inputs, `size` rows at a time."""
        yield from self.inputs.split(size)

    def retarget(self, targets: Float[Tensor, "n classes"]) -> "Samples":
        """Return the same inputs and labels under other targets."""
        return dataclasses.replace(self, targets=targets)


class Lazy(Samples):
    """Samples without inputs of their own: those that are taken are copied or computed by `inputs_at`."""

    @property
    def inputs(self) -> Float[Tensor, "n ..."]:
        """Return a copy of all inputs; to read them one after the other, use `split`."""
        return self.inputs_at(torch.arange(len(self), device=self.labels.device))

    @functools.cached_property
    def digest(self) -> str:
        """Return the hash of inputs and labels, which is that of `Samples` with the same content."""
        sha, size = hashlib.sha256(), rows_at_once(torch.empty(0, *self.input_shape))
        _feed(sha, (len(self), *self.input_shape), self.split(size))
        _feed(sha, (len(self),), [self.labels])
        return sha.hexdigest()

    def split(self, size: int) -> Iterator[Float[Tensor, "m ..."]]:
        """Yield the inputs, `size` rows at a time."""
        for positions in torch.arange(len(self), device=self.labels.device).split(size):
            yield self.inputs_at(positions)


class Selection(Lazy):
    """Samples at some rows of a larger set, in the order of `rows`. Only rows that are taken are copied.

    >>> chosen = Selection(samples, torch.tensor([2, 0]))
    >>> chosen.labels, chosen.take(torch.tensor([1])).labels
    (tensor([1, 0]), tensor([0]))
    """

    def __init__(
        self, whole: Samples, rows: Int64[Tensor, " n"], targets: Float[Tensor, "n classes"] | None = None
    ):
        """Take the larger set, the positions there, and the targets where they are not those of the larger set."""
        # of a frozen class: `self.whole = …` would raise
        object.__setattr__(self, "whole", whole)
        object.__setattr__(self, "rows", rows)
        object.__setattr__(self, "targets", whole.targets[rows] if targets is None else targets)

    @functools.cached_property
    def labels(self) -> Int64[Tensor, " n"]:
        """Return the labels."""
        return self.whole.labels[self.rows]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""
        return self.whole.input_shape

    @property
    def batch_ratio(self) -> float:
        """Return that of the larger set."""
        return self.whole.batch_ratio

    def inputs_at(self, positions: Int64[Tensor, " m"]) -> Float[Tensor, "m ..."]:
        """Return a copy of the inputs at these positions."""
        return self.whole.inputs_at(self.rows[positions])

    def select(self, positions: Int64[Tensor, " m"]) -> "Selection":
        """Return the samples at these positions, in this order, without a copy of their inputs."""
        positions = sent(positions, self.rows.device)
        return Selection(self.whole, self.rows[positions], self.targets[positions])

    def retarget(self, targets: Float[Tensor, "n classes"]) -> "Selection":
        """Return the same inputs and labels under other targets, without a copy of the inputs."""
        return Selection(self.whole, self.rows, targets)


class Joined(Lazy):
    """Samples of several sets, one after the other. Only rows that are taken are copied.

    >>> both = Joined(samples, samples.take(torch.tensor([1])))
    >>> both.labels, both.take(torch.tensor([3, 0])).labels
    (tensor([0, 1, 1, 1]), tensor([1, 0]))
    """

    def __init__(self, *parts: Samples):
        """Take the sets, one or more."""
        # of a frozen class, as above
        object.__setattr__(self, "parts", parts)
        object.__setattr__(self, "labels", torch.cat([part.labels for part in parts]))
        object.__setattr__(self, "targets", torch.cat([part.targets for part in parts]))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""
        return self.parts[0].input_shape

    def inputs_at(self, positions: Int64[Tensor, " m"]) -> Float[Tensor, "m ..."]:
        """Return a copy of the inputs at these positions."""
        first, *others = self.parts
        inputs, start = first.inputs_at(positions.clamp(max=len(first) - 1)), len(first)
        for part in others:
            # all rows of each part, then the choice: to count a part's rows, the processor waits for the device
            some = part.inputs_at((positions - start).clamp(0, len(part) - 1))
            inputs = torch.where((positions < start).view(-1, *(1 for _ in self.input_shape)), inputs, some)
            start += len(part)
        return inputs


@dataclasses.dataclass(frozen=True)
class MembershipTest:
    """The samples of a membership attack: equally many training samples to forget and test samples.

    `members` and `nonmembers` are positions in the forget and the test set with equal class counts;
    `nonmember_labels` are the labels of these test samples in the attack, corrupted if the forget set's are.
    """

    members: Int64[Tensor, " m"]
    nonmembers: Int64[Tensor, " m"]
    nonmember_labels: Int64[Tensor, " m"]


@dataclasses.dataclass(frozen=True)
class ForgottenLevel:
    """The accuracy on the forget set that a model which never saw it would have.

    It is measured on the validation samples that are like the forget set: `positions` of the same classes, under
    `labels` that are corrupted if the forget set's are. Where no sample is like it (whole classes), the
    accuracy is `fixed`, a share from 0 to 1.
    """

    positions: Int64[Tensor, " n"] | None
    labels: Int64[Tensor, " n"] | None
    fixed: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The sets on which models are measured and compared, with what the measures need to know about them."""

    forget: Samples
    retain: Samples
    validation: Samples | None
    """None in an audit without one."""
    test: Samples
    forget_true_labels: Int64[Tensor, " n"]
    """The class that each forget image shows; differs from its label only where labels were corrupted."""
    membership: MembershipTest
    level: ForgottenLevel | None
    """None where no unseen samples are like the forget set."""
    spare: Samples | None = None
    """Images with true labels that nothing else uses. Temperatures are fitted on them and the validation set
    (`evaluation.faces`). None where that is large enough, or no image is left over."""

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return self.forget.targets.shape[1]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Return the shape of one input, without the batch dimension."""
        return self.forget.input_shape

    def evaluated(self) -> dict[str, Samples]:
        """Return the sets on which every model is measured."""
        sets = {name: getattr(self, name) for name in ("forget", "retain", "validation", "test")}
        return {name: samples for name, samples in sets.items() if samples is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split(Evaluated):
    """The data of one run. `train` is forget and retain together, in the dataset's order."""

    train: Samples
    forget_positions: Int64[Tensor, " n"]
    """Positions of the forget set in `train`, ascending; the retain set is all others, in their order."""
    forget_index: Int64[Tensor, " n"]
    """The forget set's indices in the dataset's own training set."""
    copies_dropped: int
    """Training images left out as exact copies of test images or of other training images."""
    class_names: tuple[str, ...] = ()
    """Names of the classes as the dataset has them, in the order of the labels."""
    notes: tuple[str, ...] = ()
    """Sentences for the screen that say how the user's files were read."""
    train_scores: Float[Tensor, " train"] | None = None
    """The scores by which the forget set was chosen, where its kind has some."""
    awaits_scores: bool = False
    """The forget set is a stand-in of the same size: the store has no scores for it yet."""

    @property
    def retain_positions(self) -> Int64[Tensor, " n"]:
        """Return the positions of the retain set in `train`, ascending."""
        # all but the forgotten positions; `isin` keeps their order
        everything = torch.arange(len(self.train), device=self.forget_positions.device)
        return everything[~torch.isin(everything, self.forget_positions)]


def rows_at_once(tensor: Shaped[Tensor, "n ..."]) -> int:
    """Return how many rows of a tensor have at most `PART` bytes, at least one.

    >>> rows_at_once(torch.zeros(10, 1 << 19))
    2
    """
    row = math.prod(tensor.shape[1:]) * tensor.element_size()
    return max(1, PART // max(1, row))


def digest(*tensors: Tensor) -> str:
    """Return the SHA-256 over shapes, types and bytes: equal digests mean equal content.

    >>> digest(torch.zeros(4)) == digest(torch.zeros(2, 2))
    False
    """
    sha = hashlib.sha256()
    for tensor in tensors:
        _feed(sha, tuple(tensor.shape), [tensor])
    return sha.hexdigest()


def _feed(sha: "hashlib._Hash", shape: tuple[int, ...], parts: Iterable[Tensor]) -> None:
    """Feed a tensor of this shape to a hash, in parts that follow each other."""
    for i, part in enumerate(parts):
        array = part.detach().cpu().contiguous().flatten()
        if not i:  # dtype and shape first: the same bytes are other content under another shape
            sha.update(f"{array.dtype}{shape}".encode())
        sha.update(array.view(torch.uint8).numpy())


def model_digest(model: nn.Module) -> str:
    """Return the SHA-256 over a model's parameters and buffers, in the order of their names.

    >>> model = nn.Linear(4, 2)
    >>> before = model_digest(model)
    >>> _ = nn.init.zeros_(model.bias)
    >>> model_digest(model) == before
    False
    """
    return state_digest(model.state_dict())


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 over the tensors of a state dict: that of its model.

    >>> model = nn.Linear(4, 2)
    >>> state_digest(model.state_dict()) == model_digest(model)
    True
    """
    # by name: the order in which a network registers its parts has no influence
    return digest(*(tensor for _, tensor in sorted(state.items())))


def generator(seed: int, name: str) -> torch.Generator:
    """Return a separate generator for every (seed, name): their streams are independent.

    >>> torch.equal(torch.rand(2, generator=generator(0, "folds")), torch.rand(2, generator=generator(0, "folds")))
    True
    """
    # a hash, so that seeds 0 and 1, or two names, give unrelated streams; 63 bits are what torch takes
    state = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")
    return torch.Generator().manual_seed(state % (1 << 63))
