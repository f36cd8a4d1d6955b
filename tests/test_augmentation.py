"""Augmentation, held against padding and slicing image by image, and where it may have no influence."""

import dataclasses

import pytest
import torch
from conftest import SMALL
from test_fit import drawn, made, samples

from softtargets.augmentation import augmented
from softtargets.config.resolve import config_hash, decisive
from softtargets.errors import BadInput
from softtargets.execution.experiment import build
from softtargets.mu_algo.retrain import retrain
from softtargets.types import Samples

OFF = {"flip": False, "shift": 0, "cutout": 0}
ON = ("training.augmentation.flip=true", "training.augmentation.shift=3", "training.augmentation.cutout=4")


def draw(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=40, channels=3, height=6, width=5):
    return torch.randn(n, channels, height, width, generator=draw(1))


def test_a_shift_is_a_crop_of_the_image_reflected_at_its_edges():
    given, again = images(), draw()
    found = augmented(given, draw(), **OFF | {"shift": 2})
    rows, columns = (torch.randint(5, (40, 1), generator=again).flatten().tolist() for _ in range(2))
    padded = torch.nn.functional.pad(given, (2, 2, 2, 2), mode="reflect")
    for i, (row, column) in enumerate(zip(rows, columns, strict=True)):
        assert torch.equal(found[i], padded[i, :, row : row + 6, column : column + 5])
    assert len(set(rows)) == len(set(columns)) == 5


def test_one_in_two_images_is_mirrored():
    given = images(400)
    found = augmented(given, draw(), **OFF | {"flip": True})
    mirrored = (found == given.flip(3)).flatten(1).all(1)
    assert torch.equal(found, torch.where(mirrored[:, None, None, None], given.flip(3), given))
    assert 160 < mirrored.sum() < 240  # four standard errors


def test_a_square_of_every_image_is_blanked_in_all_channels():
    found = augmented(images(), draw(), **OFF | {"cutout": 3})
    blank = found == 0
    assert torch.equal(blank, blank[:, :1].expand_as(blank))
    for image in blank[:, 0]:
        rows, columns = image.any(1).nonzero()[:, 0], image.any(0).nonzero()[:, 0]
        assert (len(rows), len(columns), int(image.sum())) == (3, 3, 9)
    assert len({tuple(image.flatten().tolist()) for image in blank[:, 0]}) > 5


def test_nothing_chosen_changes_nothing():
    assert torch.equal(augmented(images(), draw(), **OFF), images())


def test_batches_are_the_same_samples_with_changed_inputs_of_the_fits_own_seed():
    chosen = OFF | {"shift": 2}
    data = samples(10)
    data = Samples(images(10), data.labels, data.targets)

    def seen(**changes):
        batches = made(**changes).batches(data)
        return [next(batches)[0] for _ in range(6)]  # two epochs

    plain, found, again, other = seen(), seen(augmentation=chosen), seen(augmentation=chosen), seen(name="x")
    assert all(torch.equal(one.labels, two.labels) for one, two in zip(plain, found, strict=True))
    assert all(torch.equal(one.inputs, two.inputs) for one, two in zip(found, again, strict=True))
    assert not any(torch.equal(one.inputs, two.inputs) for one, two in zip(plain, found, strict=True))
    assert not torch.equal(other[0].labels, plain[0].labels)


def test_orders_of_batches_do_not_depend_on_augmentation():
    assert drawn(made(), samples(12)) == drawn(made(augmentation=None), samples(12))


def test_a_recipe_with_all_of_it_off_has_the_hash_that_it_had_before(composed):
    off = ("label_smoothing=0", "augmentation.shift=0")
    config = composed(*SMALL, *(f"{group}.{word}" for group in ("training", "unlearn") for word in off))
    for group in ("training", "unlearn"):
        assert (
            not {"augmentation", "label_smoothing", "freeze_norm", "forget_batch_ratio"}
            & decisive(config)[group].keys()
        )
    words = ("training.label_smoothing=0.1", "unlearn.label_smoothing=0.1", "unlearn.freeze_norm=true", *ON)
    changes = [(), *((word,) for word in (*words, "unlearn.augmentation.shift=3"))]
    assert len({config_hash(composed(*SMALL, *words)) for words in changes}) == len(changes)


@pytest.mark.parametrize("name", ["ssd", "none", "sisa"])
@pytest.mark.parametrize("word", ["freeze_norm=true", "augmentation.flip=true", "augmentation.shift=2"])
def test_what_an_algorithm_without_a_loop_would_ignore_is_refused(composed, name, word):
    with pytest.raises(BadInput) as error:
        build(composed(*SMALL[:-2], f"mu_algo={name}", f"unlearn.{word}"))
    said = f"{name} has no loop of unlearning, and would ignore it. Leave the setting out"
    assert str(error.value) == f"unlearn.{word}: {said}"


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("shift=28", "training.augmentation: shift=28 must be at most 27 for 28x28 images"),
        ("cutout=29", "training.augmentation: cutout=29 must be at most 28 for 28x28 images"),
        ("shift=-1", "training.augmentation.shift=-1: must be greater than or equal to 0"),
        ("flip=0.5", "training.augmentation.flip=0.5: must be a valid boolean"),
        ("flip=0", "training.augmentation.flip=0: must be a valid boolean"),  # in Python it equals the default
        ("cutout=false", "training.augmentation.cutout=False: must be a valid integer"),
    ],
)
def test_what_cannot_be_is_refused(composed, word, reason):
    with pytest.raises(BadInput) as error:
        build(composed(*SMALL, f"training.augmentation.{word}"))
    assert str(error.value) == reason


def test_unlearning_has_it_and_smooths_labels_where_the_recipe_of_its_retraining_does(composed):
    """At the whole cost `retrain_own` takes the steps of a retrained model, to rounding."""
    words = ("mu_algo=retrain", "unlearn=retrain_own", "unlearn.cost=1", "unlearn.evaluate_every=null")
    experiment = build(composed(*SMALL, *ON, "training.label_smoothing=0.1", *words))
    retain, name = experiment.data.retain, "retrained"
    trained = experiment.initialised(name)
    training = experiment.training_fit(name, lambda *progress: None)
    training(trained, experiment.training_loss(trained), retain)
    fit = dataclasses.replace(experiment.unlearning_fit(lambda *progress: None, watch=print), name=name)
    again = retrain(trained, experiment.data.forget, retain, fit, initialise=lambda: experiment.initialised(name))
    assert fit.account.steps == training.account.steps
    for one, other in zip(again.parameters(), trained.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_smoothing_is_refused_where_no_loss_takes_it(composed):
    with pytest.raises(BadInput) as error:
        build(composed(*SMALL, "mu_algo=graddiff", "unlearn.label_smoothing=0.1"))
    assert str(error.value) == "unlearn.label_smoothing=0.1: graddiff has no label smoothing. Set it to 0"


@pytest.mark.parametrize("name", ["finetune", "l1_sparse"])
def test_fine_tuning_takes_smoothing_and_augmentation(run, name):
    words = (*SMALL, f"mu_algo={name}", "unlearn.max_steps=5")
    on = ("unlearn.label_smoothing=0.1", "unlearn.augmentation.shift=2")
    results = [run(*words, *more)[0] for more in ((), on[:1], on[1:])]
    assert len({result["hashes"]["unlearned"] for result in results}) == 3
    assert len({result["hashes"]["original"] for result in results}) == 1


def test_it_changes_training_and_neither_data_nor_batches_nor_targets(run):
    usual, _ = run(*SMALL)
    changed, _ = run(*SMALL, *ON, "training.label_smoothing=0.1")
    assert changed["data"]["hashes"] == usual["data"]["hashes"]
    for name, same in (("original", False), ("retrained", False), ("batches", True), ("targets", True)):
        assert (changed["hashes"][name] == usual["hashes"][name]) is same, name
    assert changed["metrics"]["original"]["test_acc"] > 0.6
    # smoothing keeps the network from being sure, and augmentation from memorising
    assert changed["metrics"]["original"]["forget_loss"] > usual["metrics"]["original"]["forget_loss"]
