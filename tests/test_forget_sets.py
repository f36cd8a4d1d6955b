"""Every kind of forget set, and what is refused."""

import functools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from softtargets.forget_sets import (
    Candidates,
    class_fraction,
    indices,
    marked,
    mislabelled,
    random,
    whole_classes,
    wrong_labels,
)
from softtargets.types import generator

LABELS = torch.arange(200) % 4


def candidates(labels=LABELS, classes=4, step=1, marks=None) -> Candidates:
    return Candidates(labels, torch.arange(len(labels)) * step, classes, marks)


def drawn(kind, seed=0, among=None, **settings):
    return kind(among or candidates(), generator(seed, "forget"), **settings)


@pytest.mark.parametrize(
    ("kind", "eligible", "count"),
    [
        (functools.partial(random, fraction=0.25), LABELS >= 0, 50),
        (functools.partial(random, fraction=0.003), LABELS >= 0, 1),
        (functools.partial(mislabelled, fraction=0.1), LABELS >= 0, 20),
        (functools.partial(whole_classes, classes=[2]), LABELS == 2, 50),
        (functools.partial(whole_classes, classes=[3, 0, 3]), LABELS % 3 == 0, 100),
        (functools.partial(class_fraction, classes=[1, 2], fraction=0.3), (LABELS == 1) | (LABELS == 2), 30),
    ],
    ids=["random", "random one", "mislabelled", "class", "classes", "class_fraction"],
)
def test_drawn_kinds_take_as_many_as_asked_of_those_eligible(kind, eligible, count):
    positions, labels = drawn(kind)
    assert len(positions) == count
    assert torch.equal(positions, positions.unique())  # ascending, none twice
    assert eligible[positions].all()
    assert torch.equal(drawn(kind).positions, positions)
    if count < eligible.sum():
        assert not torch.equal(drawn(kind, seed=1).positions, positions)
    if kind.func is not mislabelled:
        assert torch.equal(labels, LABELS)


def test_random_draws_everyone_alike():
    hits = torch.zeros(200)
    for seed in range(200):
        hits[drawn(random, seed, fraction=0.2).positions] += 1
    # sampling without replacement: 200 draws of 40 out of 200, variance 200 · 0.2 · 0.8 each
    assert ((hits - 40) ** 2 / 32).sum().item() == pytest.approx(200, abs=4 * (2 * 200) ** 0.5)


def test_mislabelled_corrupts_exactly_the_forget_set():
    positions, labels = drawn(mislabelled, fraction=0.3)
    assert torch.equal((labels != LABELS).nonzero()[:, 0], positions)
    assert torch.equal(LABELS, torch.arange(200) % 4)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_wrong_labels_are_never_right_and_uniform_among_the_others(classes):
    labels = torch.arange(classes).repeat_interleave(1000)
    wrong = wrong_labels(labels, classes, generator(0, "wrong"))
    table = torch.stack([wrong[labels == label].bincount(minlength=classes) for label in range(classes)])
    assert (table.diagonal() == 0).all()
    if classes > 2:
        assert (
            chisquare(table[~torch.eye(classes, dtype=torch.bool)].reshape(classes, -1), axis=1).pvalue.min()
            > 1e-4
        )


@pytest.mark.parametrize("kind", [whole_classes, functools.partial(class_fraction, fraction=0.5)])
def test_a_class_that_does_not_exist_is_named(kind):
    with pytest.raises(ValueError, match=r"class 4 does not exist; allowed are 0 to 3"):
        drawn(kind, classes=[0, 4])


def test_marked_are_those_of_the_dataset():
    among = candidates(step=10, marks=torch.tensor([30, 1990, 0]))
    assert drawn(marked, among=among).positions.tolist() == [0, 3, 199]


@pytest.mark.parametrize("marks", [None, torch.tensor([], dtype=torch.int64)])
def test_dataset_without_marks_is_refused(marks):
    with pytest.raises(ValueError, match="marks nothing"):
        drawn(marked, among=candidates(marks=marks))


def written(folder, name, content):
    path = folder / name
    if name.endswith("npy") and not isinstance(content, bytes):
        np.save(path, np.array(content))
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "30\n0\n\n1990\n"),
        ("a.txt", "30\r\n0\r\n1990"),
        ("a.csv", "30,cat\n0,dog\n1990,\n"),
        ("a.npy", [30, 0, 1990]),
        ("a.npy", np.array([[30], [0], [1990]], dtype=np.uint16)),
    ],
)
def test_indices_are_those_of_the_datasets_training_set(tmp_path, name, content):
    path = written(tmp_path, name, content)
    assert drawn(indices, among=candidates(step=10), path=path).positions.tolist() == [0, 3, 199]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "1\n200\n", "index 200 is not in"),
        ("a.txt", "-1\n", "index -1 is not in"),
        ("a.txt", "1\n2\n1\n1\n", "2 indices are repeated"),
        ("a.txt", "", "no list of training indices"),
        ("a.txt", "1.5\n", "no list of training indices"),
        ("a.txt", "99999999999999999999\n", "no list of training indices"),
        ("a.txt", b"\xff\xfe\x00", "no list of training indices"),
        ("a.csv", "index\n1\n", "no list of training indices"),
        ("a.json", "[1]", "not a .txt, .csv or .npy file"),
        ("a.npy", [1.0, 2.0], "must hold integers"),
        ("a.npy", [True, False], "must hold integers"),
        ("a.npy", ["1"], "no list of training indices"),
        ("a.npy", b"no numpy file", "no list of training indices"),
        ("a.npy", b"", "no list of training indices"),
    ],
)
def test_bad_lists_of_indices_are_refused(tmp_path, name, content, reason):
    with pytest.raises(ValueError, match=reason):
        drawn(indices, path=written(tmp_path, name, content))


def test_missing_list_of_indices_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.txt holds no list"):
        drawn(indices, path=str(tmp_path / "nowhere.txt"))


def test_kinds_that_name_their_samples_are_marked_as_fixed():
    kinds = (random, whole_classes, class_fraction, mislabelled, indices, marked)
    assert [kind for kind in kinds if getattr(kind, "fixed", False)] == [indices, marked]
