"""Digests, streams of randomness and samples."""

import hashlib
import itertools

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from softtargets.types import Joined, Samples, Selection, digest, generator

BASE = torch.arange(6.0).view(2, 3)


def samples(n=4, k=3) -> Samples:
    labels = torch.arange(n) % k
    return Samples(torch.arange(n * 2.0).view(n, 2), labels, torch.nn.functional.one_hot(labels, k).float())


def test_digest_is_sha256_of_type_shape_and_bytes():
    words = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert digest(BASE) == hashlib.sha256(b"torch.float32(2, 3)" + words.tobytes()).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        [BASE.view(3, 2)],
        [BASE.flatten()],
        [BASE.view(torch.int32)],
        [BASE.double()],
        [BASE.flip(0)],
        [torch.nextafter(BASE, BASE + 1)],
        [BASE[:1], BASE[1:]],
        [BASE, torch.empty(0)],
        [],
    ],
)
def test_digest_sees_every_difference(other):
    assert digest(*other) != digest(BASE)


@pytest.mark.parametrize(
    "tensor",
    [BASE, BASE > 2, BASE.bfloat16(), BASE.to(torch.uint8), torch.tensor(3)],
    ids=lambda tensor: f"{tensor.dtype}{tuple(tensor.shape)}",
)
def test_digest_depends_on_content_not_on_memory(tensor):
    spread = torch.stack([tensor, tensor], -1)[..., 0]
    assert digest(spread) == digest(tensor.clone())


def test_digest_takes_a_1x1_kernel_in_channels_last():
    kernel = torch.arange(8.0).view(2, 4, 1, 1)
    assert digest(kernel.to(memory_format=torch.channels_last)) == digest(kernel)


def test_samples_digest_covers_inputs_and_labels_but_not_targets():
    base = samples()
    assert base.retarget(base.targets / 2).digest == base.digest
    assert base.take(torch.tensor([1, 0, 2, 3])).digest != base.digest
    assert Samples(base.inputs, base.labels.flip(0), base.targets).digest != base.digest
    assert Samples(base.inputs + 1, base.labels, base.targets).digest != base.digest


def test_take_keeps_rows_together_in_the_order_asked():
    taken = samples().take(torch.tensor([2, 0, 2]))
    assert len(taken) == 3
    assert taken.inputs.tolist() == [[4, 5], [0, 1], [4, 5]]
    assert taken.labels.tolist() == [2, 0, 2]
    assert taken.targets.argmax(1).tolist() == [2, 0, 2]


def test_samples_of_unequal_length_are_refused_where_shapes_are_checked():
    with pytest.raises(TypeError, match="labels"):
        Samples(torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64), torch.zeros(3, 2))


def test_generator_gives_every_seed_and_name_a_stream_of_its_own():
    pairs = list(itertools.product([*range(50), 2**63, 2**70], ("original/init", "retrained/init", "forget", "")))
    draws = [torch.rand((), generator=generator(*pair), dtype=torch.float64).item() for pair in pairs]
    again = [torch.rand((), generator=generator(*pair), dtype=torch.float64).item() for pair in pairs]
    assert draws == again
    assert len(set(draws)) == len(pairs)
    assert kstest(draws, "uniform").pvalue > 1e-3


def test_generator_leaves_the_global_stream_alone():
    state = torch.get_rng_state()
    torch.rand(5, generator=generator(0, "a"))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_selection_is_like_the_samples_that_it_names():
    whole, rows = samples(700), torch.randperm(700, generator=torch.Generator().manual_seed(0))[:600]
    chosen, copied = whole.select(rows), whole.take(rows)
    assert isinstance(chosen, Selection)
    assert len(chosen) == len(copied) == 600
    assert chosen.digest == copied.digest
    for name in ("inputs", "labels", "targets"):
        assert torch.equal(getattr(chosen, name), getattr(copied, name))
        at = torch.tensor([5, 599, 5])
        assert torch.equal(getattr(chosen.take(at), name), getattr(copied.take(at), name))
        assert torch.equal(getattr(chosen.select(at), name), getattr(copied.take(at), name))
    assert [len(part) for part in chosen.split(256)] == [256, 256, 88]
    assert torch.equal(torch.cat(list(chosen.split(256))), copied.inputs)
    assert [len(part) for part in copied.split(256)] == [256, 256, 88]


def test_other_targets_go_with_a_selection_and_share_its_inputs():
    whole, rows = samples(700), torch.tensor([5, 699, 0, 5])
    chosen = whole.select(rows).retarget(-whole.targets[rows])
    assert chosen.whole is whole
    at = torch.tensor([3, 1])
    for one in (chosen, chosen.take(torch.arange(4)), chosen.select(torch.arange(4))):
        assert torch.equal(one.targets, -whole.targets[rows])
        assert torch.equal(one.take(at).targets, -whole.targets[rows[at]])
        assert torch.equal(one.take(at).inputs, whole.inputs[rows[at]])
    assert chosen.digest == whole.take(rows).digest


def test_joined_samples_are_those_of_their_concatenation():
    part = samples(7)
    parts = [part, part.select(torch.tensor([6, 0, 2])), Samples(part.inputs + 100, part.labels, part.targets)]
    columns = [torch.cat([getattr(one, name) for one in parts]) for name in ("inputs", "labels", "targets")]
    joined, whole = Joined(*parts), Samples(*columns)
    order = torch.randperm(17, generator=generator(0, "order"))
    for one, other in (
        (joined, whole),
        (joined.take(order), whole.take(order)),
        (joined.select(order), whole.take(order)),
    ):
        for name in ("inputs", "labels", "targets"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert one.digest == other.digest
    assert all(map(torch.equal, joined.split(4), whole.split(4)))
