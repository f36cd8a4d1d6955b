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
    memorised,
    mislabelled,
    near_duplicates,
    random,
    whole_classes,
    worst_case,
    wrong_labels,
)
from softtargets.marks import ForgetSet
from softtargets.memorisation import Laboratory, halves, memorisation
from softtargets.types import Samples, generator
from softtargets.worst_case import greedy, still_known

LABELS = torch.arange(200) % 4


def candidates(labels=LABELS, classes=4, step=1, marks=None) -> Candidates:
    return Candidates(labels, torch.arange(len(labels)) * step, classes, marks, len(labels) * step)


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
    positions, labels, _ = drawn(kind)
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
    positions, labels, _ = drawn(mislabelled, fraction=0.3)
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
    with pytest.raises(ValueError, match=r"class 4 does not exist. Choose from 0 to 3"):
        drawn(kind, classes=[0, 4])


def test_marked_are_those_of_the_dataset():
    among = candidates(step=10, marks=torch.tensor([30, 1990, 0]))
    assert drawn(marked, among=among).positions.tolist() == [0, 3, 199]


@pytest.mark.parametrize("marks", [None, torch.tensor([], dtype=torch.int64)])
def test_dataset_without_marks_is_refused(marks):
    with pytest.raises(ValueError, match="marks no samples"):
        drawn(marked, among=candidates(marks=marks))


def written(folder, name, content):
    path = folder / name
    if name.lower().endswith("npy") and not isinstance(content, bytes):
        with path.open("wb") as file:
            np.save(file, np.array(content))
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", "30\n0\n\n1990\n"),
        ("a.txt", "30\r\n0\r\n1990"),
        ("a.txt", " 30 \n+0\n\n\t1990\n"),
        ("a.csv", "30\n0\n1990\n"),
        ("a.CSV", "30\n0\n1990\n"),
        ("a.TXT", "30\n0\n1990\n"),
        ("a.NPY", np.array([30, 0, 1990])),
        ("a.txt", b"\xef\xbb\xbf30\n0\n1990"),
        ("a.csv", "30\r\n0\r\n1990\r\n".encode("utf-16")),
        ("a.txt", b"\xfe\xff" + "30\n0\n1990".encode("utf-16-be")),
        ("a.npy", [30, 0, 1990]),
        ("a.npy", np.array([[30], [0], [1990]], dtype=np.uint16)),
        ("a.npy", np.array([[30, 0, 1990]], dtype=np.uint64)),
        ("a.npy", np.array([30, 0, 1990], dtype=">i4")),
        ("a.npy", np.isin(np.arange(2000), [30, 0, 1990])),
    ],
)
def test_indices_are_those_of_the_datasets_training_set(tmp_path, name, content):
    path = written(tmp_path, name, content)
    assert drawn(indices, among=candidates(step=10), path=path).positions.tolist() == [0, 3, 199]


@pytest.mark.parametrize("name", ["index", "# index", '"x"', "forget index", "id_2", "'a.b'"])
def test_a_name_above_the_column_is_told(tmp_path, name):
    path = written(tmp_path, "a.csv", f"\n{name}\r\n30\r\n0\r\n1990")
    found = drawn(indices, among=candidates(step=10), path=path)
    assert found.positions.tolist() == [0, 3, 199]
    assert found.notes == (f"{path}: read its first line, {name}, as the name of the column",)


NAMED = candidates()._replace(class_names=("elm", "oak", "pine", "yew"))


def test_named_classes_are_called_by_number_and_name():
    assert drawn(whole_classes, among=NAMED, classes=[2, 0]).notes == ("classes to forget: 0 = elm, 2 = pine",)
    assert drawn(class_fraction, among=NAMED, classes=[3], fraction=0.5).notes == ("classes to forget: 3 = yew",)
    digits = NAMED._replace(class_names=("0", "1", "2", "3"))
    assert drawn(whole_classes, among=digits, classes=[2]).notes == ()
    with pytest.raises(ValueError, match=r"Choose from 0 to 3 \(0 = elm, 1 = oak, 2 = pine, 3 = yew\)$"):
        drawn(whole_classes, among=NAMED, classes=[4])


def test_a_mask_is_told(tmp_path):
    path = written(tmp_path, "a.npy", (LABELS == 1).numpy())
    found = drawn(indices, path=path)
    assert found.positions.tolist() == (LABELS == 1).nonzero()[:, 0].tolist()
    assert found.notes == (f"{path}: read as a mask over 200 training images",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "1\n200\n", "index 200 is not in"),
        ("a.txt", "-1\n", "index -1 is not in"),
        ("a.txt", "1\n2\n1\n1\n", "2 indices are repeated"),
        ("a.txt", "", "no list of training indices"),
        ("a.txt", "1.5\n", "no list of training indices"),
        ("a.txt", "99999999999999999999\n", "index 99999999999999999999 is not in"),
        ("a.txt", f"1\n{2**63}\n", f"index {2**63} is not in"),
        ("a.txt", f"{-(2**63) - 1}\n", f"index {-(2**63) - 1} is not in"),
        ("a.txt", "9" * 5000, "line 1 is '9+'; write one integer on each line"),
        (
            "a.csv",
            "30,cat\n0,dog\n",
            "line 1 is '30,cat'; write one integer on each line and nothing else",
        ),
        ("a.csv", ",0\n0,30\n1,0\n", "line 1 is ',0'"),
        ("a.csv", "index,label\n30,1\n", "line 1 is 'index,label'"),
        ("a.csv", "index\n30,\n", "line 2 is '30,'"),
        ("a.csv", "30;1\n", "line 1 is '30;1'"),
        ("a.txt", "30\t1\n", r"line 1 is '30\\t1'"),
        ("a.txt", "1 2 3\n", "line 1 is '1 2 3'"),
        ("a.txt", "[1, 2, 3]", r"line 1 is '\[1, 2, 3\]'"),
        ("a.txt", "- 1\n- 2\n", "line 1 is '- 1'"),
        ("a.txt", "1_0\n", "line 1 is '1_0'"),
        ("a.txt", "\u0661\n", "line 1 is '\u0661'"),
        ("a.txt", "1\nindex\n", "line 2 is 'index'"),
        ("a.txt", "True\nFalse\n", "line 1 is 'True'"),
        ("a.txt", "3.000000000000000000e+01\n", "line 1 is '3.000"),
        ("a.txt", "0\n1\n0\n1\n", "only zeros and ones. If it is a mask"),
        ("a.csv", "0\n5\n9\n", "its first line, 0, may be an index or a name"),
        ("a.csv", "index\n", "below the name of the column"),
        ("a.txt", "\n \n", "it is empty"),
        ("a.txt", b"\xff\xfe\x00", "no list of training indices"),
        ("a.json", "[1]", "not a .txt, .csv or .npy file"),
        ("a.yaml", "- 1", "not a .txt, .csv or .npy file"),
        ("a.npy", [1.0, 2.0], "must hold integers"),
        (
            "a.npy",
            [True, False],
            r"a mask of shape \(2,\); it must have the shape \(200,\), one value for each training image "
            "of the dataset, before train_size, validation set and copies",
        ),
        ("a.npy", np.ones((200, 1), dtype=bool), r"a mask of shape \(200, 1\)"),
        ("a.npy", np.arange(200) % 2, "only zeros and ones. If it is a mask"),
        ("a.npy", [[1, 2], [3, 4]], r"an array of shape \(2, 2\)"),
        ("a.npy", 5, r"an array of shape \(\)"),
        ("a.npy", np.zeros(0, dtype=int), r"an array of shape \(0,\)"),
        ("a.npy", np.array([2**64 - 1], dtype=np.uint64), "index 18446744073709551615 is not in"),
        ("a.npy", [-1], "index -1 is not in"),
        ("a.npy", ["1"], "an array of <U1"),
        ("a.npy", np.array([None, 1]), "Object arrays cannot be loaded"),
        ("a.npy", np.zeros(2, dtype=[("a", int), ("b", int)]), "an array of "),
        ("a.npy", b"no numpy file", "no list of training indices"),
        ("a.npy", b"", "no list of training indices"),
    ],
)
def test_bad_lists_of_indices_are_refused(tmp_path, name, content, reason):
    with pytest.raises(ValueError, match=reason):
        drawn(indices, path=written(tmp_path, name, content))


def test_missing_list_of_indices_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.txt holds no list of training indices: no such file"):
        drawn(indices, path=str(tmp_path / "nowhere.txt"))
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(ValueError, match=r"folder\.txt holds no list of training indices: it is not a file"):
        drawn(indices, path=str(tmp_path / "folder.txt"))


def test_an_array_that_is_damaged_anywhere_is_named(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(20))
    whole, draw = path.read_bytes(), np.random.default_rng(0)
    several = tmp_path / "b.npz"
    np.savez(several, np.arange(20))
    damaged = [whole[:end] for end in range(len(whole))] + [several.read_bytes()]
    for place in range(128):
        damaged.append(whole[:place] + bytes([draw.integers(256)]) + whole[place + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            drawn(indices, path=str(path))
        except ValueError as error:
            refused += str(error).startswith((str(path), "index "))  # another type makes other numbers
    assert refused > len(whole)


def test_kinds_that_name_their_samples_are_marked_as_fixed():
    free = (random, whole_classes, class_fraction, mislabelled, near_duplicates, memorised, worst_case)
    kinds = (*free, indices, marked)
    assert [kind for kind in kinds if ForgetSet.of(kind).fixed] == [indices, marked]


def test_near_duplicates_have_a_twin_of_their_class_that_stays():
    pixels = torch.randint(0, 256, (200, 1, 8, 8), generator=generator(0, "pixels"), dtype=torch.uint8)
    pixels[100:120] = pixels[20:40]  # of the same class, since 80 is a multiple of 4
    pixels[100:120, :, 0, 0] ^= 1
    positions = drawn(near_duplicates, among=candidates()._replace(pixels=pixels), fraction=0.1).positions
    assert sorted((position % 80).item() for position in positions) == list(range(20, 40))
    rows = pixels.flatten(1).numpy().astype(float)
    for position in positions:  # by the definition: the nearest of its class is not forgotten
        others = [i for i in range(200) if LABELS[i] == LABELS[position] and i != position]
        assert min(others, key=lambda i: ((rows[i] - rows[position]) ** 2).sum()) not in positions


def test_near_duplicates_refuse_more_than_have_a_twin_that_stays():
    pixels = torch.zeros(200, 1, 1, 1, dtype=torch.uint8)
    few = candidates(classes=200, labels=torch.arange(200))._replace(pixels=pixels)
    with pytest.raises(ValueError, match="20 samples, but only 0 can be forgotten while"):
        drawn(near_duplicates, among=few, fraction=0.1)


def test_grades_of_memorisation_are_the_ends_and_the_middle_between_them():
    scores = torch.arange(200) / 199
    grades = {
        grade: drawn(memorised, among=candidates()._replace(scores=scores), fraction=0.1, grade=grade, models=2)
        for grade in ("low", "medium", "high")
    }
    found = {grade: choice.positions.tolist() for grade, choice in grades.items()}
    assert found == {"low": [*range(20)], "medium": [*range(90, 110)], "high": [*range(180, 200)]}
    assert grades["high"].notes == (
        "estimated memorisation (2 models): forget set 0.952 on average, all training images 0.500",
    )
    with pytest.raises(ValueError, match="there are three grades, so it must be at most 1/3"):
        drawn(memorised, among=candidates()._replace(scores=scores), fraction=0.4, grade="low", models=2)


def test_memorisation_is_the_difference_of_two_shares():
    # four samples and two pairs of models, counted by hand
    inside = torch.tensor([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]]).bool()
    right = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 1]]).bool()
    assert memorisation(right, inside).tolist() == [1, 0.5, 1, 0.5]


def test_half_of_the_models_see_a_sample_and_more_models_are_further_ones():
    inside = halves(101, 8)
    assert inside.sum(0).tolist() == [4] * 101
    assert {*inside.sum(1).tolist()} == {50, 51}
    assert torch.equal(halves(101, 4), inside[:4])


def test_the_worst_case_is_the_round_that_keeps_most():
    # what unlearning sample 1 leaves of it is little; sample 2 is next and keeps most; by hand
    left = {0: [0.1, 0.9, 0.3], 1: [0.1, 0.0, 0.8], 2: [0.0, 0.9, 0.6]}
    asked = []

    def measured(chosen):
        asked.append(chosen.item())
        return torch.tensor(left[chosen.item()])

    scores = greedy(torch.tensor([1.0, 0.0, 0.0]), 1, 3, measured)
    assert asked == [0, 1, 2]
    assert scores.tolist() == pytest.approx([0.1, 0.45, 0.55])
    assert greedy(torch.tensor([1.0, 0.0, 0.0]), 1, 2, measured).tolist() == [1, 0, 0]


def test_the_worst_case_finds_what_only_a_model_that_saw_it_knows():
    # the models on halves know the even samples unseen; the original knows all, and one step leaves it as it is
    train = Samples(torch.eye(20), torch.arange(20) % 2, torch.eye(2)[torch.arange(20) % 2])
    known = torch.nn.functional.one_hot(train.labels) * 8.0

    names = []

    def trained(sets):
        names.extend(sets)
        for positions in sets.values():
            knows = torch.isin(torch.arange(20), positions) | (torch.arange(20) % 4 < 2)
            model = torch.nn.Linear(20, 2)
            model.weight.data = torch.where(knows[:, None], known, -known).T.clone()
            yield model

    laboratory = Laboratory(train, trained, lambda model, samples: model(samples.inputs).detach())
    scores = still_known(laboratory, fraction=0.5, models=4, rounds=3, steps=1, rate=1e-3)
    assert sorted(scores.topk(10).indices.tolist()) == [i for i in range(20) if i % 4 > 1]
    # the model of that name and of seed 0 is the original of a study's first pair
    assert names == [*(f"half/{number}" for number in range(4)), "worst case"]
