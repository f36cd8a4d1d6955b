"""Three faces against other people's code, and what each of them cannot see."""

import dataclasses
import itertools
import statistics

import numpy as np
import pytest
import torch
from conftest import SMALL
from scipy.optimize import minimize_scalar
from scipy.spatial.distance import jensenshannon
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from torch.nn.functional import one_hot

from softtargets.console import Console
from softtargets.datasets import mnist_5k
from softtargets.evaluation import faces as faces_module
from softtargets.evaluation.evaluate import evaluate, predict_sets
from softtargets.evaluation.faces import Calibration, Noisy, Shifted, faces, more_sets
from softtargets.execution.experiment import build
from softtargets.execution.models import Stages
from softtargets.fingerprints import fingerprints
from softtargets.fit import predict
from softtargets.split import audited
from softtargets.store import Store
from softtargets.temperature import fitted_temperature
from softtargets.types import Evaluated, Samples, generator

CLASSES = 5
SIZES = {"forget": 120, "retain": 300, "validation": 150, "test": 200}


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(probs: torch.Tensor, seed: int) -> torch.Tensor:
    return probs.multinomial(1, generator=torch.Generator().manual_seed(seed))[:, 0]


class World:
    """Logits of models that share a signal and differ in noise; labels are drawn from the signal."""

    def __init__(self):
        self.signal = {name: 2 * normal(i, size, CLASSES) for i, (name, size) in enumerate(SIZES.items())}
        sets = {}
        for i, (name, z) in enumerate(self.signal.items()):
            labels = drawn(z.softmax(1), i)
            sets[name] = Samples(normal(10 + i, len(z), 1, 4, 4), labels, one_hot(labels, CLASSES).float())
        self.data: Evaluated = audited(**sets, true=sets["forget"].labels, seed=0)
        for other in ("forget_shifted", "forget_noisy"):
            self.signal[other] = self.signal["forget"]

    def retrained(self, seed: int) -> dict:
        return {name: z + 0.5 * normal(100 * seed + len(name), *z.shape) for name, z in self.signal.items()}

    def original(self) -> dict:
        """Retrained, and sure of the labels of the forget set however it is changed."""
        remembered = 2 * one_hot(self.data.forget.labels, CLASSES)
        found = self.retrained(50)
        return {name: z + remembered if name.startswith("forget") else z for name, z in found.items()}

    def faces(self, unlearned: dict, *references: dict) -> dict:
        evaluations = {"original": self.original(), "unlearned": unlearned}
        found = {name: evaluate(logits, self.data) for name, logits in evaluations.items()}
        return faces(found, [evaluate(logits, self.data) for logits in references], self.data)


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def each(logits: dict, change) -> dict:
    return {name: change(z) for name, z in logits.items()}


# definitions


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.7])
def test_temperature_minimises_the_loss_as_scipy_finds_it(scale):
    z = scale * normal(1, 400, 7)
    labels = drawn((z / scale * 1.3).softmax(1), 2)

    def loss(inverse: float) -> float:
        return log_loss(labels, (z.double() * inverse).softmax(1).numpy(), labels=range(7))

    found = minimize_scalar(loss, bounds=(0.2, 5), method="bounded", options={"xatol": 1e-9})
    assert 0.21 < 1 / found.x < 4.9
    assert fitted_temperature(z, labels) == pytest.approx(1 / found.x, rel=1e-6)


def test_temperature_stays_within_bounds():
    z, right = normal(1, 50, 4), normal(1, 50, 4).argmax(1)
    assert fitted_temperature(z, right) == 0.2  # nothing but right predictions: the surer, the better
    assert fitted_temperature(z, (-z).argmax(1)) == 5.0
    assert fitted_temperature(100 * normal(3, 50, 4), drawn(torch.ones(50, 4), 0)) == 5.0


def test_temperature_is_that_of_the_logits_times_a_factor():
    z = normal(1, 300, 4)
    labels = drawn(z.softmax(1), 5)
    assert fitted_temperature(2.5 * z, labels) == pytest.approx(2.5 * fitted_temperature(z, labels), rel=1e-6)


def test_faces_are_what_other_libraries_compute(world):
    references = [world.retrained(seed) for seed in (1, 2, 3)]
    models = {"unlearned": world.retrained(9), "nothing": world.original()}
    found = world.faces(models["unlearned"], *references)
    validation = world.data.validation.labels

    def js_t(name: str, one: dict, other: dict) -> float:
        p, q = (
            (z[name].double() / fitted_temperature(z["validation"], validation)).softmax(1).numpy()
            for z in (one, other)
        )
        return float(np.mean(jensenshannon(p, q, axis=1) ** 2))

    def js(name: str, one: dict, other: dict) -> float:
        p, q = (z[name].double().softmax(1).numpy() for z in (one, other))
        return float(np.mean(jensenshannon(p, q, axis=1) ** 2))

    def disagreement(name: str, one: dict, other: dict) -> float:
        return 1 - accuracy_score(one[name].argmax(1), other[name].argmax(1))

    for measure, name in itertools.product((js_t, js, disagreement), faces_module.SETS):
        measured = found[f"{measure.__name__}_{name}"]
        for model, logits in models.items():
            expected = statistics.mean(measure(name, logits, reference) for reference in references)
            assert measured[model] == pytest.approx(expected, abs=1e-6)
        left_out = [
            statistics.mean(measure(name, one, other) for other in references if other is not one)
            for one in references
        ]
        assert measured["floor"] == pytest.approx(statistics.mean(left_out), abs=1e-6)


def test_gaps_are_signed_and_of_other_libraries_numbers(world):
    references, unlearned = [world.retrained(seed) for seed in (1, 2, 3)], world.retrained(9)
    found, asked, data = world.faces(unlearned, *references), world.data.membership, world.data

    def attack(logits: dict) -> float:
        p = [logits[name].double().softmax(1) for name in ("forget", "test")]
        inside, outside = (
            q[torch.arange(len(q)), getattr(data, n).labels] for q, n in zip(p, ("forget", "test"), strict=True)
        )
        scores = torch.cat([inside[asked.members], outside[asked.nonmembers]])
        return roc_auc_score([1] * len(asked.members) + [0] * len(asked.nonmembers), scores)

    def accuracy(logits: dict) -> float:
        return accuracy_score(data.test.labels, logits["test"].argmax(1))

    for name, measure in (("mia_gap", attack), ("test_acc_gap", accuracy)):
        first, *others = theirs = [measure(one) for one in references]
        assert found[name] == {
            "unlearned": pytest.approx(measure(unlearned) - statistics.mean(theirs), abs=1e-6),
            "nothing": pytest.approx(measure(world.original()) - statistics.mean(theirs), abs=1e-6),
            "floor": pytest.approx(first - statistics.mean(others), abs=1e-6),
        }
    assert found["mia_gap"]["nothing"] > 0.05
    assert found["retrained"]["mia_auc"] == pytest.approx([attack(one) for one in references], abs=1e-6)
    less = world.faces(each(world.original(), torch.neg), references[0])
    assert less["mia_gap"]["unlearned"] < 0  # a weaker attack than on the retrained model is no gap of zero


def test_one_reference_has_no_floor_and_a_model_out_of_range_no_face(world):
    found = world.faces(each(world.retrained(9), lambda z: z * torch.nan), world.retrained(1))
    triples = [value for value in found.values() if isinstance(value, dict) and "floor" in value]
    assert len(triples) == 3 * len(faces_module.SETS) + 2
    assert {(one["unlearned"], one["floor"]) for one in triples} == {(None, None)}
    assert all(one["nothing"] is not None for one in triples)
    assert found["temperature"]["unlearned"] is None
    lost = world.faces(world.retrained(9), world.retrained(1), each(world.retrained(2), lambda z: z * torch.nan))
    assert lost["js_t_forget"] == lost["mia_gap"] == dict.fromkeys(("unlearned", "nothing", "floor"))


def of(inputs: torch.Tensor) -> Samples:
    labels = torch.arange(len(inputs)) % 2
    return Samples(inputs, labels, one_hot(labels, 2).float())


def test_every_image_moves_by_one_pixel_and_its_edge_fills_the_gap():
    images = normal(1, 40, 2, 5, 6)
    ways = {"right": (1, -1), "left": (-1, -1), "down": (1, -2), "up": (-1, -2)}
    seen = set()
    for image, moved in zip(images, Shifted(of(images)).inputs, strict=True):
        for way, (by, axis) in ways.items():
            expected = image.roll(by, axis)
            first, inner = (0, 1) if by == 1 else (-1, -2)
            expected.select(axis, first).copy_(expected.select(axis, inner))
            seen |= {way} if torch.equal(moved, expected) else set()
    assert seen == ways.keys()
    assert torch.equal(Shifted(of(images)).inputs, Shifted(of(images)).inputs)


def test_noise_is_a_tenth_of_the_standard_deviation_and_stays_in_range():
    inputs = normal(1, 2000, 3)
    inputs[0, 0], inputs[0, 1] = 100.0, -100.0  # far outside, so that nothing else is clamped
    added = Noisy(of(inputs)).inputs - inputs
    assert added[1:].std().item() == pytest.approx(0.1 * inputs.std().item(), rel=0.02)
    flat = torch.zeros(10, 3)
    flat[0] = 1.0
    noisy = Noisy(of(flat)).inputs
    assert (noisy.min(), noisy.max()) == (0, 1)
    assert more_sets(World().data).keys() == {"forget_shifted", "forget_noisy"}


@pytest.mark.parametrize("shape", [(40, 2, 5, 6), (257, 3), (3, 4), (1, 1, 2, 2), (1401, 1, 28, 28)])
@pytest.mark.parametrize("size", [256, 7])
def test_noise_drawn_in_parts_is_that_drawn_at_once(shape, size):
    inputs = normal(1, *shape)
    noise = torch.randn(shape, generator=generator(0, "noisy"))
    expected = (inputs + noise * (0.1 * inputs.std(correction=0))).clamp(inputs.min(), inputs.max())
    noisy = Noisy(of(inputs))
    assert torch.equal(torch.cat(list(noisy.split(size))), expected)
    assert noisy.digest == of(expected).digest
    last = torch.tensor([shape[0] - 1, 0])
    assert torch.equal(noisy.take(last).inputs, expected[last])


def test_shifted_images_do_not_depend_on_the_parts_in_which_they_are_read():
    shifted = Shifted(of(normal(1, 40, 2, 5, 6)))
    assert torch.equal(torch.cat(list(shifted.split(7))), shifted.inputs)
    assert shifted.digest == of(shifted.inputs).digest


# the images that temperatures are fitted on


def test_temperatures_are_fitted_on_unseen_images_of_retained_classes(world):
    data, z = world.data, world.retrained(1)
    kept = (data.retain.labels != 3).nonzero()[:, 0]
    forgotten = dataclasses.replace(data, retain=data.retain.take(kept), spare=data.test)
    found = Calibration.of(forgotten)
    assert found.fitted_on == "validation"
    parts = [(z["validation"], data.validation.labels), (z["test"], data.test.labels)]
    logits, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    expected = fitted_temperature(logits[labels != 3], labels[labels != 3])
    assert found.temperatures(z | {"spare": z["test"]}) == (pytest.approx(expected, rel=1e-9),)
    assert expected != pytest.approx(fitted_temperature(logits, labels), rel=1e-3)


def test_temperatures_are_cross_fitted_on_the_retain_set_where_unseen_images_are_few(world):
    data, z = world.data, world.retrained(1)
    few = dataclasses.replace(data, validation=data.validation.take(torch.arange(99)))
    assert (
        Calibration.of(dataclasses.replace(data, validation=data.validation.take(torch.arange(100)))).fitted_on
        == "validation"
    )
    for poor in (few, dataclasses.replace(data, validation=None)):
        found = Calibration.of(poor)
        assert found.fitted_on == "retain, cross-fitted"
        halves = [fold["retain"] for fold in found.folds]
        assert torch.equal(torch.cat(halves).sort().values, torch.arange(len(data.retain)))
        expected = [fitted_temperature(z["retain"][half], data.retain.labels[half]) for half in halves]
        assert found.temperatures(z) == tuple(expected)


@pytest.mark.parametrize("kind", ["random", "class", "mislabelled"])
def test_a_run_fits_on_a_thousand_images_with_true_labels_that_no_model_saw(composed, kind):
    data = build(composed("dataset.train_size=2000", f"forget_set={kind}")).data
    found = Calibration.of(data)
    assert (found.fitted_on, sum(map(len, found.labels))) == ("validation", 1000)
    assert torch.isin(found.labels[0], data.retain.labels).all()
    images = mnist_5k()
    known = dict(zip(fingerprints(images.train_pixels).tolist(), images.train_labels.tolist(), strict=True))
    pixels = (data.spare.inputs * 0.3081 + 0.1307).mul(255).round().to(torch.uint8)
    assert [known[print_] for print_ in fingerprints(pixels).tolist()] == data.spare.labels.tolist()


def test_no_image_is_spare_where_none_is_left_over_or_the_validation_set_is_large(composed):
    assert build(composed()).data.spare is None
    assert build(composed("dataset.train_size=3000", "dataset.validation_fraction=0.34")).data.spare is None


# what a face cannot see


def test_a_temperature_is_no_distance(world):
    """The raw JS calls a retrained model far from itself where it is only surer or less sure."""
    one = world.retrained(1)
    nothing = world.faces(one, one)["js_forget"]["nothing"]
    for t in (0.5, 2.0):
        found = world.faces(each(one, lambda z, t=t: z / t), one)
        assert found["js_forget"]["unlearned"] > 0.3 * nothing
        assert found["js_t_forget"]["unlearned"] == pytest.approx(0, abs=1e-9)
        assert found["disagreement_forget"]["unlearned"] == 0


def test_decisions_do_not_see_a_model_hardened_to_its_argmax(world):
    one = world.retrained(1)
    hard = each(one, lambda z: 30.0 * one_hot(z.argmax(1), CLASSES))
    found = world.faces(hard, one)
    assert found["disagreement_forget"]["unlearned"] == found["disagreement_test"]["unlearned"] == 0
    assert found["js_forget"]["unlearned"] > found["js_forget"]["nothing"]
    assert found["js_t_forget"]["unlearned"] > found["js_t_forget"]["nothing"]


def test_a_mean_of_retrained_models_is_nearer_than_a_retrained_model(world):
    """The floor is no lower bound."""
    references = [world.retrained(seed) for seed in (1, 2, 3)]
    others = [world.retrained(seed) for seed in (4, 5, 6, 7)]
    mean = {name: torch.stack([z[name].softmax(1) for z in others]).mean(0).log() for name in others[0]}
    found = world.faces(mean, *references)
    for face in ("js_t_forget", "js_forget", "disagreement_forget"):
        assert found[face]["unlearned"] < 0.9 * found[face]["floor"], face


def test_a_lookup_gives_itself_away_on_shifted_and_noisy_images(world):
    """The original, but that another retrained model answers the images of the forget set, and these alone."""
    references, original = [world.retrained(seed) for seed in (1, 2, 3)], world.original()
    found = world.faces(original | {"forget": world.retrained(4)["forget"]}, *references)
    for face in ("js_t_forget", "disagreement_forget"):
        assert found[face]["unlearned"] == pytest.approx(found[face]["floor"], rel=0.25)
        assert found[face]["nothing"] > 1.3 * found[face]["floor"]
        for where in ("shifted", "noisy"):
            moved = found[f"{face}_{where}"]
            assert moved["unlearned"] == moved["nothing"] > 1.3 * moved["floor"]


def test_label_smoothing_is_seen_by_the_raw_distance_more_than_by_js_t(world):
    """A model that was trained with label smoothing predicts (1 - a) p + a / K: most of it is a temperature."""
    one = world.retrained(1)
    found = world.faces(each(one, lambda z: (0.8 * z.softmax(1) + 0.2 / CLASSES).log()), one)
    assert found["disagreement_forget"]["unlearned"] == 0
    assert 0 < found["js_t_forget"]["unlearned"] < 0.5 * found["js_forget"]["unlearned"]
    assert abs(found["mia_gap"]["unlearned"]) < 0.1 * found["mia_gap"]["nothing"]


@pytest.fixture(scope="session")
def trained(composed, tmp_path_factory):
    """Real models of 500 digits: an experiment, its original, and four retrained ones."""
    experiment = build(composed(*SMALL, "references=4"))
    stages = Stages(experiment, Store(tmp_path_factory.mktemp("faces")), Console())
    return experiment, stages.original(), [stages.retrained(), *stages.further_references()]


def test_no_face_sees_that_only_the_last_layer_was_changed(trained):
    """The original with its last layer fitted to a retrained model: what it had learnt is still there."""
    experiment, original, (teacher, *references) = trained
    data, more = experiment.data, more_sets(experiment.data)
    changed = experiment.initialised("original")
    changed.load_state_dict(original.model.state_dict())
    *features, last = changed.children()
    body = torch.nn.Sequential(*features)
    everything = torch.cat([data.train.inputs, data.spare.inputs])
    fitted = LinearRegression().fit(predict(body, everything).numpy(), predict(teacher.model, everything).numpy())
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(fitted.coef_))
        last.bias.copy_(torch.from_numpy(fitted.intercept_))
    models = {"original": original.model, "unlearned": changed}
    evaluations = {name: evaluate(predict_sets(model, data, more), data) for name, model in models.items()}
    retrained = [evaluate(predict_sets(one.model, data, more), data) for one in references]
    found = faces(evaluations, retrained, data)
    assert torch.equal(
        predict(body, data.forget.inputs),
        predict(torch.nn.Sequential(*list(original.model.children())[:-1]), data.forget.inputs),
    )
    assert not torch.equal(evaluations["unlearned"].logits["forget"], evaluations["original"].logits["forget"])
    for face in ("js_t_forget", "disagreement_forget"):
        floor, nothing, unlearned = (found[face][name] for name in ("floor", "nothing", "unlearned"))
        assert unlearned < floor + 0.4 * (nothing - floor), face
