"""From images to sets: sizes, shares, independence of seeds, and every guard against a planted leak."""

import dataclasses
import functools

import pytest
import torch
from torch import Tensor

from softtargets.datasets import Images, mnist_5k
from softtargets.execution import load_data
from softtargets.fingerprints import fingerprints
from softtargets.forget_sets import Choice, class_fraction, marked, mislabelled, random, whole_classes
from softtargets.split import FORGOTTEN_CLASS, guard, sampled, split
from softtargets.types import Samples, Split

NAMES = ("train", "forget", "retain", "validation", "test")
TENTH = functools.partial(random, fraction=0.1)


def images(n=300, m=80, classes=4, channels=1, seed=0, marks=None) -> Images:
    """Random pixels; class k has a share that grows with k."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(256, (n + m, channels, 5, 5), dtype=torch.uint8, generator=generator)
    shares = torch.arange(1.0, classes + 1)
    labels = torch.multinomial(shares, n + m, replacement=True, generator=generator)
    names = tuple(map(str, range(classes)))
    return Images(pixels[:n], labels[:n], pixels[n:], labels[n:], names, marks)


def made(data: Images | None = None, choose=TENTH, **changes) -> Split:
    settings = {
        "train_size": None,
        "validation_fraction": 0.1,
        "seed": 0,
        "forget_seed": 0,
        "mean": [0.0],
        "std": [1.0],
    }
    return split(images() if data is None else data, choose, **settings | changes)


def listed(positions: list[int]):
    """A fixed kind that names these training indices."""

    def choose(candidates, generator) -> Choice:
        chosen = torch.isin(candidates.index, torch.tensor(positions)).nonzero()[:, 0]
        return Choice(chosen, candidates.labels)

    choose.fixed = True
    return choose


def pixels(samples: Samples) -> Tensor:
    """The pixels as they were before normalisation with mean 0 and standard deviation 1."""
    return (samples.inputs * 255).round().to(torch.uint8)


def prints(*parts: Samples) -> list[int]:
    return sorted(torch.cat([fingerprints(part.inputs) for part in parts]).tolist())


def test_sizes_are_those_asked_for():
    data = made(train_size=200, validation_fraction=0.15, choose=functools.partial(random, fraction=0.2))
    assert {name: len(getattr(data, name)) for name in NAMES} == {
        "train": 170,
        "forget": 34,
        "retain": 136,
        "validation": 30,
        "test": 80,
    }
    assert data.classes == 4
    assert data.input_shape == (1, 5, 5)
    assert list(data.evaluated()) == ["forget", "retain", "validation", "test"]


@pytest.mark.parametrize("seed", range(3))
def test_subset_and_validation_keep_every_class_at_its_share(seed):
    source = images(n=1000)
    data = made(source, train_size=300, validation_fraction=0.2, seed=seed)
    counts = data.validation.labels.bincount(minlength=4)
    subset = counts + data.train.labels.bincount(minlength=4)
    assert (subset - 0.3 * source.train_labels.bincount()).abs().max() <= 1
    assert (counts - 0.2 * subset).abs().max() <= 1


def test_forget_and_retain_make_up_the_training_set():
    source = images()
    data = made(source)
    assert prints(data.forget, data.retain) == prints(data.train)
    assert not set(prints(data.train)) & set(prints(data.validation, data.test))
    assert prints(data.train, data.validation) == sorted(
        fingerprints(source.train_pixels.float().div(255)).tolist()
    )
    assert torch.equal(pixels(data.forget), source.train_pixels[data.forget_index])
    assert torch.equal(data.forget.labels, source.train_labels[data.forget_index])
    assert torch.equal(data.forget_true_labels, data.forget.labels)


def test_every_set_is_in_the_datasets_order():
    source = images()
    order = {value: i for i, value in enumerate(fingerprints(source.train_pixels.float().div(255)).tolist())}
    for name in ("train", "forget", "retain", "validation"):
        places = [order[value] for value in fingerprints(getattr(made(source), name).inputs).tolist()]
        assert places == sorted(places)


def test_inputs_are_normalised_by_channel_and_targets_are_one_hot():
    source = images(channels=3)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    data = made(source, mean=mean, std=std)
    raw = source.test_pixels.double() / 255
    for channel in range(3):
        expected = (raw[:, channel] - mean[channel]) / std[channel]
        torch.testing.assert_close(data.test.inputs[:, channel].double(), expected, rtol=1e-5, atol=1e-6)
    for part in (data.train, data.forget, data.validation, data.test):
        assert torch.equal(part.targets, torch.eye(4)[part.labels])
    one_for_all = made(source, mean=[0.5], std=[0.25]).test.inputs
    torch.testing.assert_close(one_for_all.double(), (raw - 0.5) / 0.25, rtol=1e-5, atol=1e-6)


def digests(data: Split) -> dict[str, str]:
    return {name: getattr(data, name).digest for name in NAMES}


@pytest.mark.parametrize("choose", [TENTH, functools.partial(mislabelled, fraction=0.1)])
def test_each_seed_moves_its_own_sets_and_the_global_stream_none(choose):
    torch.manual_seed(1)
    base = digests(made(choose=choose, train_size=250))
    torch.manual_seed(2)
    assert digests(made(choose=choose, train_size=250)) == base
    forget = digests(made(choose=choose, train_size=250, forget_seed=1))
    assert forget["forget"] != base["forget"]
    assert [forget[name] for name in ("validation", "test")] == [base[name] for name in ("validation", "test")]
    drawn = digests(made(choose=choose, train_size=250, seed=1))
    assert drawn["validation"] != base["validation"]
    assert drawn["test"] == base["test"]


@pytest.mark.parametrize("seed", range(4))
def test_named_samples_are_never_set_aside_nor_left_out(seed):
    names = list(range(0, 100, 5))
    data = made(choose=listed(names), train_size=40, validation_fraction=0.4, seed=seed)
    assert data.forget_index.tolist() == names
    assert {name: len(getattr(data, name)) for name in ("train", "validation")} == {"train": 24, "validation": 16}
    by_mark = made(images(marks=torch.tensor(names)), marked, train_size=40, validation_fraction=0.4, seed=seed)
    assert digests(by_mark) == digests(data)


def test_copies_are_dropped_but_for_the_first_of_equal_training_images():
    source = images()
    source.train_pixels[7] = source.test_pixels[3]
    source.train_pixels[[20, 30, 40]] = source.train_pixels[10].clone()
    data = made(source, listed([10]), validation_fraction=0.2)
    assert data.copies_dropped == 4
    assert len(data.train) + len(data.validation) == 296
    assert data.forget_index.tolist() == [10]
    assert made().copies_dropped == 0


def test_of_equal_images_the_marked_one_stays():
    source = images(marks=torch.tensor([20, 50]))
    source.train_pixels[20] = source.train_pixels[10]
    assert made(source, marked).forget_index.tolist() == [20, 50]


# membership pairs and the level of forgetting


def class_counts(labels: Tensor) -> list[int]:
    return labels.bincount(minlength=4).tolist()


KINDS = {
    "random": functools.partial(random, fraction=0.3),
    "class": functools.partial(whole_classes, classes=[1, 3]),
    "class_fraction": functools.partial(class_fraction, classes=[2], fraction=0.5),
    "mislabelled": functools.partial(mislabelled, fraction=0.3),
}


@pytest.mark.parametrize("name", KINDS)
def test_membership_pairs_are_balanced_in_every_class(name):
    data = made(choose=KINDS[name])
    asked = data.membership
    forget, test = data.forget_true_labels, data.test.labels
    available = torch.minimum(forget.bincount(minlength=4), test.bincount(minlength=4)).tolist()
    assert class_counts(forget[asked.members]) == class_counts(test[asked.nonmembers]) == available
    for positions in (asked.members, asked.nonmembers):
        assert len(positions.unique()) == len(positions) > 0
    right = asked.nonmember_labels == test[asked.nonmembers]
    assert not right.any() if name == "mislabelled" else right.all()


@pytest.mark.parametrize("name", ["random", "class_fraction", "mislabelled"])
def test_forgotten_level_is_measured_on_validation_images_of_the_forgotten_classes(name):
    data = made(choose=KINDS[name])
    level = data.level
    assert level.fixed is None
    wanted = data.validation.labels == 2 if name == "class_fraction" else data.validation.labels >= 0
    assert torch.equal(level.positions, wanted.nonzero()[:, 0])
    right = level.labels == data.validation.labels[wanted]
    assert not right.any() if name == "mislabelled" else right.all()


def test_forgotten_level_of_whole_classes_is_fixed():
    level = made(choose=KINDS["class"]).level
    assert level.positions is None
    assert level.fixed == FORGOTTEN_CLASS == 0.01


@pytest.mark.parametrize("name", KINDS)
def test_forget_and_retain_positions_are_those_in_train(name):
    data = made(choose=KINDS[name])
    for part, positions in ((data.forget, data.forget_positions), (data.retain, data.retain_positions)):
        assert torch.equal(data.train.inputs[positions], part.inputs)
        assert torch.equal(data.train.labels[positions], part.labels)


def test_forget_and_retain_set_are_parts_of_one_memory_on_every_device():
    data = made()
    for there in (data, load_data._moved(data, "meta")):
        whole = there.train.whole.inputs
        root = whole if whole._base is None else whole._base
        assert there.forget.inputs._base is there.retain.inputs._base is root
        assert [tuple(part.inputs.shape) for part in (there.forget, there.retain, there.train)] == [
            tuple(part.inputs.shape) for part in (data.forget, data.retain, data.train)
        ]
    assert {one.device.type for one in (there.train.rows, there.test.inputs, there.membership.members)} == {"meta"}


# a few samples in place of all


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("most", [None, 12])
def test_sampled_sets_are_parts_of_the_whole(name, most):
    data = made(choose=KINDS[name])
    few, positions = sampled(data, most, 0)
    for part, whole in data.evaluated().items():
        assert len(few.evaluated()[part]) == min(most or len(whole), len(whole))
        assert torch.equal(few.evaluated()[part].inputs, whole.inputs[positions[part]])
        assert torch.equal(few.evaluated()[part].labels, whole.labels[positions[part]])
    assert torch.equal(few.forget_true_labels, data.forget_true_labels[positions["forget"]])
    assert torch.equal(few.train.inputs[few.forget_positions], few.forget.inputs)
    true = few.forget_true_labels[few.membership.members]
    assert class_counts(true) == class_counts(few.test.labels[few.membership.nonmembers])
    if name == "class_fraction":
        assert (few.validation.labels[few.level.positions] == 2).all()
    assert (few.level.fixed is None) == (name != "class")
    assert torch.equal(sampled(data, most, 0).positions["retain"], positions["retain"])


def test_whether_a_class_is_forgotten_whole_is_no_matter_of_the_samples_drawn():
    """A tenth of class 0 stays, a few of some 240 samples: of 25 drawn ones there may be none of it."""
    data = made(choose=functools.partial(class_fraction, classes=[0], fraction=0.9))
    assert data.level.fixed is None
    drawn = [sampled(data, 25, seed).split for seed in range(10)]
    assert any(not (few.retain.labels == 0).any() for few in drawn)
    assert [few.level.fixed for few in drawn] == [None] * 10


# guards


def joined(*parts: Samples) -> Samples:
    fields = ("inputs", "labels", "targets")
    return Samples(*(torch.cat([getattr(part, field) for part in parts]) for field in fields))


def first(samples: Samples) -> Samples:
    return samples.take(torch.tensor([0]))


def rest(samples: Samples) -> Samples:
    return samples.take(torch.arange(1, len(samples)))


def swapped(data: Split, leak: Samples) -> Split:
    """Put `leak` in the place of a retain sample, in the training set too."""
    retain = joined(rest(data.retain), leak)
    return dataclasses.replace(data, retain=retain, train=joined(data.forget, retain))


LEAKS = {
    "forget sample in retain": (
        lambda data: dataclasses.replace(data, retain=joined(data.retain, first(data.forget))),
        "forget_set and retain_set do not make up the training set",
    ),
    "forget sample instead of a retain sample": (
        lambda data: dataclasses.replace(data, retain=joined(rest(data.retain), first(data.forget))),
        "forget_set and retain_set do not make up the training set",
    ),
    "retain sample missing": (
        lambda data: dataclasses.replace(data, retain=rest(data.retain)),
        "forget_set and retain_set do not make up the training set",
    ),
    "forget sample missing": (
        lambda data: dataclasses.replace(
            data,
            forget=rest(data.forget),
            forget_positions=data.forget_positions[1:],
            forget_index=data.forget_index[1:],
            forget_true_labels=data.forget_true_labels[1:],
        ),
        "forget_set and retain_set do not make up the training set",
    ),
    "forget sample missing, its index kept": (
        lambda data: dataclasses.replace(data, forget=rest(data.forget)),
        "forget_set and retain_set do not make up the training set",
    ),
    "another image in the forget set": (
        lambda data: dataclasses.replace(data, forget=joined(first(data.test), rest(data.forget))),
        "forget_set and retain_set do not make up the training set",
    ),
    "index of another forget sample": (
        lambda data: dataclasses.replace(data, forget_index=data.forget_index.flip(0)),
        "forget_set and retain_set do not make up the training set",
    ),
    "copy of a forget sample in retain": (
        lambda data: swapped(data, first(data.forget)),
        "the forget_set shares 1 image with the retain_set",
    ),
    "test image in train": (
        lambda data: swapped(data, first(data.test)),
        "the test_set shares 1 image with the training set",
    ),
    "train image in test": (
        lambda data: dataclasses.replace(data, test=joined(data.test, first(data.forget))),
        "the test_set shares 1 image with the training set",
    ),
    "validation image in train": (
        lambda data: swapped(data, first(data.validation)),
        "the validation_set shares 1 image with the training set",
    ),
    "test image in validation": (
        lambda data: dataclasses.replace(data, validation=joined(data.validation, first(data.test))),
        "the test_set shares 1 image with the validation_set",
    ),
    "forget image among the spare ones": (
        lambda data: dataclasses.replace(data, spare=first(data.forget)),
        "the spare_set shares 1 image with the training set",
    ),
    "test image among the spare ones": (
        lambda data: dataclasses.replace(data, spare=first(data.test)),
        "the spare_set shares 1 image with the test_set",
    ),
}


@pytest.mark.parametrize("name", LEAKS)
def test_guard_sees_a_planted_leak(name):
    plant, message = LEAKS[name]
    source = images()
    data = made(source)
    order = fingerprints(source.train_pixels.float().div(255))
    index = torch.isin(order, fingerprints(data.train.inputs)).nonzero()[:, 0]
    positions = torch.searchsorted(index, data.forget_index)
    guard(data, index, positions)
    with pytest.raises(ValueError, match=message):
        guard(plant(data), index, positions)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choose": functools.partial(random, fraction=0.001)}, "forget_set is empty"),
        ({"choose": functools.partial(random, fraction=0.999)}, "retain_set is empty"),
        ({"choose": functools.partial(whole_classes, classes=[0, 1, 2, 3])}, "retain_set is empty"),
        ({"train_size": 301}, "train_size=301: must be from 1 to 300"),
        ({"train_size": 20, "choose": listed(list(range(20)))}, "train_size=20: must be from 21 to 300"),
        ({"validation_fraction": 0.001}, "validation_fraction=0.001: leaves no validation set of 300"),
        ({"choose": class_fraction, "validation_fraction": 0.01}, "no validation image of the forgotten classes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_sizes_that_leave_a_set_empty_are_refused(changes, message):
    if changes.get("choose") is class_fraction:
        changes = changes | {"choose": functools.partial(class_fraction, classes=[0], fraction=0.5)}
    with pytest.raises(ValueError, match=message):
        made(**changes)


def test_dataset_without_test_images_is_refused():
    with pytest.raises(ValueError, match="test_set is empty"):
        made(images(m=0))


def test_fingerprints_differ_wherever_a_row_does():
    rows = torch.randint(256, (5000, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for inputs in (rows, rows.float() / 255):
        found = fingerprints(inputs)
        assert len(found.unique()) == len(found)
        assert torch.equal(fingerprints(inputs[4990:]), found[4990:])  # whatever stands before them
        changed = inputs[:1].repeat(16, 1, 1, 1)
        changed.flatten(1)[range(16), range(16)] += 1
        assert len({*fingerprints(changed).tolist(), found[0].item()}) == 17
        mirrored = fingerprints(inputs[:100].flip(3))
        assert not torch.isin(mirrored, found).any()


def test_real_digits_pass_every_guard():
    data = made(mnist_5k(), validation_fraction=0.05, mean=[0.1307], std=[0.3081])
    assert {name: len(getattr(data, name)) for name in NAMES} == {
        "train": 3800,
        "forget": 380,
        "retain": 3420,
        "validation": 200,
        "test": 1000,
    }
    assert data.validation.labels.bincount().tolist() == [20] * 10
    assert data.train.inputs.mean().abs() < 0.02
    assert data.train.inputs.std().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("label", "copied", "reason"),
    [
        (2, "test", "class 2 has no training image: all 3 are copies of test images or of other training images"),
        (2, "train", "class 2 has no training image: all 3 are copies of test images or of other training images"),
        (4, None, "class 4 has no training image: there is none"),
    ],
)
def test_a_class_without_training_images_is_named(label, copied, reason):
    data = images(classes=4)
    data.train_labels[data.train_labels == 2] = 1
    data.train_labels[-3:] = 2
    if copied:
        data.train_pixels[-3:] = (data.test_pixels if copied == "test" else data.train_pixels)[:3]
    else:
        data = data._replace(class_names=tuple("01234"))
    with pytest.raises(ValueError, match=reason):
        made(data)


def test_a_single_class_is_refused():
    data = images(classes=1)
    with pytest.raises(ValueError, match="all images are of one class, 0; at least two are needed"):
        made(data)


def test_what_is_to_be_said_of_files_comes_through():
    def choose(candidates, generator) -> Choice:
        return Choice(torch.arange(20), candidates.labels, ("of the list",))

    assert made(images()._replace(notes=("of the images",)), choose).notes == ("of the images", "of the list")
    assert made().notes == ()


@pytest.mark.parametrize(
    ("there", "note"),
    [
        (range(8), ()),
        ([0, 1, 2, 4, 5, 6, 7], ("1 class has no test image: 3",)),
        ([7], ("7 classes have no test image: 0, 1, 2, 3, 4 …",)),
    ],
)
def test_classes_without_test_images_are_named(there, note):
    data = images(m=400, classes=8)
    kept = torch.isin(data.test_labels, torch.tensor(there))
    data = data._replace(test_pixels=data.test_pixels[kept], test_labels=data.test_labels[kept])
    assert made(data).notes == note
