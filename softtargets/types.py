"""What travels between the parts: samples with labels and targets, and the sets they form.

The examples share:

>>> samples = Samples(torch.zeros(3, 4), labels=torch.tensor([0, 1, 1]), targets=torch.eye(2)[[0, 1, 1]])
"""

import dataclasses
import functools
import hashlib

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs with their integer labels (for metrics) and their targets (probabilities, for losses).

    >>> samples.take(torch.tensor([0, 2])).labels
    tensor([0, 1])
    """

    inputs: Float[Tensor, "n ..."]
    labels: Int64[Tensor, " n"]
    targets: Float[Tensor, "n classes"]

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """Hash of inputs and labels; targets, being derived, are not in it."""
        return digest(self.inputs, self.labels)

    def take(self, positions: Int64[Tensor, " m"]) -> "Samples":
        """Return the samples at these positions, in this order."""
        # copies whole rows, where `[]` copies number by number
        at = functools.partial(torch.index_select, dim=0, index=positions)
        return Samples(at(self.inputs), at(self.labels), at(self.targets))

    def retarget(self, targets: Float[Tensor, "n classes"]) -> "Samples":
        """Return the same inputs and labels under other targets."""
        return dataclasses.replace(self, targets=targets)


@dataclasses.dataclass(frozen=True)
class MembershipTest:
    """Whom a membership attack tells apart: equally many training samples to forget and test samples.

    `members` and `nonmembers` are positions in the forget and the test set with equal class counts;
    `nonmember_labels` are the labels under which the test samples are asked, corrupted if the forget set's are.
    """

    members: Int64[Tensor, " m"]
    nonmembers: Int64[Tensor, " m"]
    nonmember_labels: Int64[Tensor, " m"]


@dataclasses.dataclass(frozen=True)
class ForgottenLevel:
    """The accuracy on the forget set that a model which never saw it would have.

    Measured on what of the validation set is like the forget set: `positions` of the same classes, under `labels`
    that are corrupted if the forget set's are. A `fixed` accuracy where nothing is like it: whole classes.
    """

    positions: Int64[Tensor, " n"] | None
    labels: Int64[Tensor, " n"] | None
    fixed: float | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluated:
    """The sets on which models are measured and compared, with what the measures need of them."""

    forget: Samples
    retain: Samples
    validation: Samples | None
    """None in an audit without one."""
    test: Samples
    forget_true_labels: Int64[Tensor, " n"]
    """What the forget set shows; differs from its labels only where those were corrupted."""
    membership: MembershipTest
    level: ForgottenLevel | None
    """None where nothing is like the forget set but unseen."""
    spare: Samples | None = None
    """Images with true labels that nothing else uses. Temperatures are fitted on them and the validation set
    (`evaluation.faces`). None where that is large enough, or no image is left over."""

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.forget.targets.shape[1]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch."""
        return tuple(self.forget.inputs.shape[1:])

    def evaluated(self) -> dict[str, Samples]:
        """Return the sets on which every model is measured."""
        sets = {name: getattr(self, name) for name in ("forget", "retain", "validation", "test")}
        return {name: samples for name, samples in sets.items() if samples is not None}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Split(Evaluated):
    """The data of one run. `train` is forget and retain together, in the dataset's order."""

    train: Samples
    forget_positions: Int64[Tensor, " n"]
    """Where the forget set stands in `train`, ascending; the retain set is the others in their order."""
    forget_index: Int64[Tensor, " n"]
    """The forget set's indices in the dataset's own training set."""
    copies_dropped: int
    """Training images left out as exact copies of test images or of other training images."""
    notes: tuple[str, ...] = ()
    """Sentences for the screen on how the user's files were read."""

    @property
    def retain_positions(self) -> Int64[Tensor, " n"]:
        """Where the retain set stands in `train`, ascending."""
        everything = torch.arange(len(self.train), device=self.forget_positions.device)
        return everything[~torch.isin(everything, self.forget_positions)]


def digest(*tensors: Tensor) -> str:
    """SHA-256 over shapes, types and bytes: equal digests, equal content.

    >>> digest(torch.zeros(4)) == digest(torch.zeros(2, 2))
    False
    """
    sha = hashlib.sha256()
    for tensor in tensors:
        array = tensor.detach().cpu().contiguous().flatten()
        sha.update(f"{array.dtype}{tuple(tensor.shape)}".encode())
        sha.update(array.view(torch.uint8).numpy())
    return sha.hexdigest()


def model_digest(model: nn.Module) -> str:
    """Hash a model's parameters and buffers, by name.

    >>> model = nn.Linear(4, 2)
    >>> before = model_digest(model)
    >>> _ = nn.init.zeros_(model.bias)
    >>> model_digest(model) == before
    False
    """
    return digest(*(tensor for _, tensor in sorted(model.state_dict().items())))


def generator(seed: int, name: str) -> torch.Generator:
    """One independent stream of randomness for every (seed, name).

    >>> torch.equal(torch.rand(2, generator=generator(0, "folds")), torch.rand(2, generator=generator(0, "folds")))
    True
    """
    state = int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")
    return torch.Generator().manual_seed(state % (1 << 63))
