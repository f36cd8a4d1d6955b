"""Target kinds against their formulas and the identities between them; every kind in the config is tried."""

import functools
import inspect

import numpy as np
import pytest
import torch
from conftest import CONF, options
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.stats import chisquare

from softtargets.config.validation import check_call
from softtargets.targets import (
    HeldOut,
    Recipe,
    Source,
    bad_teacher,
    check_rows,
    hard,
    held_out,
    held_out_nearest,
    label_smoothing,
    local_teacher,
    marginal,
    masked,
    oracle,
    out_of_fold,
    random_label,
    self_prediction,
    teacher,
    tilted,
    undial,
    uniform,
)
from softtargets.types import generator

N, K = 20, 5
NAMES = ("original", "retrained", "untrained", "teacher 1", "teacher 2", "teacher 3", "folds")
LOGITS = {name: 4 * torch.randn(N, K, generator=generator(0, name)) for name in NAMES}
Z0 = LOGITS["original"]
LABELS = torch.arange(N) % K
E_Y = torch.eye(K)[LABELS]
P0 = Z0.double().softmax(1)


UNSEEN = HeldOut(torch.arange(35) % K, 4 * torch.randn(35, K, generator=generator(0, "unseen")))
FEATURES = tuple(torch.randn(n, 3, generator=generator(n, "features")) for n in (N, 35))

WEIGHTS, RETAINED = torch.randn(K, 3, generator=generator(0, "w")), torch.randn(50, K, generator=generator(0, "r"))


def source(seed=0, labels=LABELS, logits=LOGITS) -> Source:
    own = (labels, K, logits.__getitem__, lambda folds: logits["folds"], generator(seed, "targets"))
    return Source(
        *own,
        held_out=lambda: UNSEEN,
        features=lambda: FEATURES,
        class_weights=lambda: WEIGHTS,
        retained=lambda: RETAINED,
        local=lambda samples: logits["folds"],
    )


def recipe(kind, *modifiers, **settings) -> torch.Tensor:
    return Recipe(functools.partial(kind, **settings), modifiers)(source())


def close(targets, expected):
    torch.testing.assert_close(targets.double(), expected, rtol=0, atol=1e-6)


def test_hard_is_one_hot():
    assert torch.equal(hard(source()), E_Y)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_self_prediction_is_the_tempered_softmax(temperature):
    powers = P0 ** (1 / temperature)
    close(self_prediction(source(), temperature=temperature), powers / powers.sum(1, keepdim=True))


def test_self_prediction_ends_in_the_argmax_and_in_the_uniform():
    cold, hot = (self_prediction(source(), temperature=t) for t in (1e-4, 1e6))
    torch.testing.assert_close(cold, torch.eye(5)[Z0.argmax(1)])
    torch.testing.assert_close(hot, torch.full((20, 5), 0.2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0, -0.2, -3.0])
def test_label_smoothing_by_hand(smoothing):
    own, other = 1 - smoothing * 4 / 5, smoothing / 5
    close(label_smoothing(source(), smoothing=smoothing), (own * E_Y + other * (1 - E_Y)).double())


def test_smoothing_of_nothing_and_of_everything():
    assert torch.equal(label_smoothing(source(), smoothing=0.0), hard(source()))
    assert torch.equal(label_smoothing(source(), smoothing=1.0), uniform(source()))


def test_masked_are_the_originals_odds_among_the_wrong_classes():
    p_y = (P0 * E_Y).sum(1, keepdim=True)
    close(masked(source()), P0 * (1 - E_Y) / (1 - p_y))


def test_tilted_is_nearest_to_the_original_of_all_with_its_mean_similarity():
    close(tilted(source(), beta=0.0), masked(source()).double())
    q, p = tilted(source(), beta=3.0).double(), masked(source()).double()
    rows = (WEIGHTS - WEIGHTS.mean(0)).double()
    s = torch.tensor([[torch.cosine_similarity(rows[k], rows[y], dim=0) for k in range(K)] for y in LABELS])
    assert ((q * s).sum(1) > (p * s).sum(1)).all()
    # the projection on a mean similarity is exponential in it: log(q / p) is a line, whose slope is beta
    tilt = (q / p).log()
    for i, label in enumerate(LABELS):
        others = torch.arange(K) != label
        slope, _ = np.polyfit(s[i, others], tilt[i, others], 1)
        assert slope == pytest.approx(3.0, abs=1e-4)
        assert np.corrcoef(s[i, others], tilt[i, others])[0, 1] > 1 - 1e-8


def test_marginal_targets_are_what_scaling_to_class_sums_leaves_alone():
    """Rows and columns scaled in turn, as PPU refines pseudo-probabilities, to the retain set's class shares."""
    q, kept = marginal(source()).double(), RETAINED.double().softmax(1)
    close(q, kept.mean(0).expand(N, K))
    rows = torch.cat([kept, q])
    sums = kept.sum(0) * len(rows) / len(kept)
    scaled = rows.clone()
    for _ in range(50):
        scaled = scaled * (sums / scaled.sum(0))
        scaled = scaled / scaled.sum(1, keepdim=True)
    torch.testing.assert_close(scaled, rows, rtol=0, atol=1e-6)


def test_undial_goes_from_own_predictions_to_the_masked_ones():
    close(undial(source(), beta=0.0), P0)
    close(undial(source(), beta=1e4), masked(source()).double())
    odds = P0 * (1 - E_Y) + P0 * E_Y * torch.exp(torch.tensor(-2.0))
    close(undial(source(), beta=2.0), odds / odds.sum(1, keepdim=True))


def test_each_teacher_is_the_one_that_is_meant():
    for kind, name in ((bad_teacher, "untrained"), (oracle, "retrained")):
        close(kind(source()), LOGITS[name].double().softmax(1))
    close(out_of_fold(source(), folds=5), LOGITS["folds"].double().softmax(1))
    close(local_teacher(source(), samples=9), LOGITS["folds"].double().softmax(1))
    probs = [LOGITS[f"teacher {m}"].double().softmax(1) for m in (1, 2, 3)]
    close(teacher(source(), members=1), probs[0])
    close(teacher(source(), members=3), sum(probs) / 3)


def test_held_out_targets_are_on_average_reguns_of_a_batch():
    """ReGUn draws a held-out image for each label of a batch; all its samples get the mean of their p0."""
    p = UNSEEN.logits.double().softmax(1)
    own = held_out(source(), pooled=False)
    for label in range(K):
        close(own[label], p[UNSEEN.labels == label].mean(0))
    batch, draw = torch.tensor([0, 5, 6, 13]), torch.Generator().manual_seed(0)
    pools = torch.stack([(UNSEEN.labels == LABELS[i]).nonzero()[:, 0] for i in batch])
    drawn = pools.gather(1, torch.randint(pools.shape[1], (len(batch), 20000), generator=draw))
    torch.testing.assert_close(own[batch].mean(0).double(), p[drawn].mean((0, 1)), rtol=0, atol=0.01)
    close(held_out(source(), pooled=True), own.double().mean(0).expand(N, K))


def test_the_nearest_held_out_image_is_found_by_the_angle():
    def angle(i: int, j: int) -> float:
        return torch.dot(FEATURES[0][i], FEATURES[1][j]) / FEATURES[0][i].norm() / FEATURES[1][j].norm()

    nearest = [max(range(35), key=lambda j: angle(i, j)) for i in range(N)]
    expected = UNSEEN.logits[nearest].double().softmax(1)
    close(held_out_nearest(source(), pooled=False), expected)
    close(held_out_nearest(source(), pooled=True), expected.mean(0).expand(N, K))  # what ReGUn gives a batch


def test_random_labels_are_wrong_fixed_and_uniform():
    labels = torch.arange(8000) % K
    drawn, again, other = (random_label(source(seed, labels)) for seed in (0, 0, 1))
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn, other)
    assert set(drawn.unique().tolist()) == {0, 1}
    assert not (drawn.argmax(1) == labels).any()
    shift = (drawn.argmax(1) - labels) % K
    assert chisquare(shift.bincount()[1:]).pvalue > 0.001


def test_harden_keeps_the_best_guess_alone():
    assert torch.equal(recipe(self_prediction, "harden", temperature=1.0), torch.eye(K)[Z0.argmax(1)])


def test_sample_draws_from_the_target_once():
    rows = torch.tensor([[0.7, 0.2, 0.1, 0.0, 0.0]]).repeat(5000, 1)
    asked = source(labels=torch.zeros(5000, dtype=torch.int64), logits={"original": rows.log()})
    sampling = Recipe(functools.partial(self_prediction, temperature=1.0), ("sample",))
    drawn = sampling(asked)
    assert set(drawn.unique().tolist()) == {0, 1}
    assert torch.equal(drawn.sum(1), torch.ones(5000))
    counts = drawn.sum(0)
    assert counts[3:].sum() == 0
    assert chisquare(counts[:3], [3500, 1000, 500]).pvalue > 0.001


def test_reflected_is_twice_the_label_less_the_target():
    close(recipe(self_prediction, "reflect", temperature=1.0), 2 * E_Y - P0)
    close(recipe(self_prediction, "reflect", "reflect", temperature=1.0), P0)
    close(
        recipe(self_prediction, "harden", "reflect", temperature=1.0),
        (2 * E_Y - torch.eye(K)[Z0.argmax(1)]).double(),
    )


UP, DOWN = (functools.partial(label_smoothing, smoothing=sign * 0.1) for sign in (1, -1))
SIGNED = {
    "hard": ((hard,), False),
    "reflected": ((hard, "reflect"), True),
    "reflected and hardened": ((hard, "reflect", "harden"), False),
    "smoothed": ((UP,), False),
    "negatively smoothed": ((DOWN,), True),
    "negatively smoothed and hardened": ((DOWN, "harden"), False),
    "negatively smoothed, hardened and sampled": ((DOWN, "harden", "sample"), False),
}


@pytest.mark.parametrize(("parts", "signed"), SIGNED.values(), ids=SIGNED)
def test_what_may_be_negative_is_known_beforehand(parts, signed):
    kind, *modifiers = parts
    assert Recipe(functools.partial(kind), tuple(modifiers)).signed is signed


@pytest.mark.parametrize(
    "parts", [parts for parts, signed in SIGNED.values() if signed], ids=["reflected", "smoothed"]
)
def test_nothing_is_drawn_from_what_is_no_distribution(parts):
    kind, *modifiers = parts
    with pytest.raises(ValueError, match="sample draws from a distribution"):
        Recipe(functools.partial(kind), (*modifiers, "sample"))


def loaded(side: str, name: str):
    """The node of a kind as Hydra composes it, and its recipe."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(CONF), version_base="1.3"):
        node = OmegaConf.to_container(compose("config", [f"targets/{side}={name}"]).targets[side])
    modifiers = node.pop("modifiers")
    kind = check_call(instantiate(node, _convert_="all"), f"targets.{side}", given=("source",))
    return kind, Recipe(kind, tuple(modifiers))


@pytest.mark.parametrize("name", options("targets/forget"))
def test_both_sides_offer_the_same_kinds(name):
    assert options("targets/forget") == options("targets/retain")
    one, two = (loaded(side, name)[0] for side in ("forget", "retain"))
    assert one.func == two.func
    assert set(one.keywords) == set(two.keywords)


@pytest.mark.parametrize("name", options("targets/forget"))
def test_every_kind_gives_rows_that_a_loss_can_take(name):
    kind, made = loaded("forget", name)
    settings = inspect.signature(kind.func).parameters.values()
    assert {p.name for p in settings if p.kind is p.KEYWORD_ONLY} == set(kind.keywords)
    assert all(p.default is p.empty for p in settings)
    before = {key: logits.clone() for key, logits in LOGITS.items()}
    targets = made(source())
    assert targets.shape == (N, K)
    assert targets.dtype == torch.float32
    assert all(torch.equal(logits, before[key]) for key, logits in LOGITS.items())
    assert torch.equal(made(source()), targets)


@pytest.mark.parametrize("name", options("targets/forget"))
def test_documents_say_of_every_kind_what_help_says(name):
    """Formula, whether a distribution, ascent, descent and source stand in the option's first line and in docs."""
    first = (CONF / "targets/forget" / f"{name}.yaml").read_text().splitlines()[0].removeprefix("# ")
    formula, rows, ascent, descent, origin = first.split(" | ")
    assert rows.startswith(("distribution", "signed"))
    words = ("forgets", "reinforces", "nothing")
    assert ascent.removeprefix("ascent: ").startswith(words)
    assert descent.removeprefix("descent: ").startswith(words)
    table = (CONF.parent / "docs/targets.md").read_text()
    cells = (formula, rows, ascent.removeprefix("ascent: "), descent.removeprefix("descent: "), origin)
    assert f"| `{name}` | {' | '.join(cells)} |" in table


@pytest.mark.parametrize(
    ("row", "signed"),
    [([0.5, 0.5, 0.0], False), ([1.2, -0.1, -0.1], True), ([1 / 3] * 3, False), ([1 + 5e-7, 0.0, 0.0], False)],
    ids=["soft", "nls", "thirds", "ulp"],
)
def test_rows_that_sum_to_one_pass(row, signed):
    check_rows(torch.tensor([row]), (1, 3), signed)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(
    "row", [[0.5, 0.5, 1e-5], [0.0] * 3, [float("nan"), 0.5, 0.5], [float("inf"), float("-inf"), 1.0]], ids=str
)
def test_rows_that_do_not_are_shown(row, signed):
    targets = torch.tensor([[1.0, 0.0, 0.0], row])
    with pytest.raises(ValueError, match=r"row 1 of the targets is \["):
        check_rows(targets, (2, 3), signed)


def test_negative_entries_are_refused_unless_the_kind_has_them():
    with pytest.raises(ValueError, match="none of them negative"):
        check_rows(torch.tensor([[1.2, -0.1, -0.1]]), (1, 3))


@pytest.mark.parametrize("targets", [torch.full((2, 2), 0.5), torch.full((1, 2), 0.5).double()], ids=["n", "type"])
def test_another_shape_or_type_is_refused(targets):
    with pytest.raises(ValueError, match=r"not torch.float32 \(1, 2\)"):
        check_rows(targets, (1, 2))


def test_logits_too_large_for_the_temperature_are_refused_not_trained_on():
    with pytest.raises(ValueError, match=r"row \d+ of the targets is \[nan"):
        recipe(self_prediction, temperature=1e-38)
