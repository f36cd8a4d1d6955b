"""What a run says on its screen at its end, held against lines written by hand."""

import copy
import io

import pytest

from softtargets import run_summary
from softtargets.console import Console

ORIGINAL = {"forget_acc": 1.0, "retain_acc": 1.0, "validation_acc": 0.94, "test_acc": 0.945}
ORIGINAL |= {"forget_loss": 0.25, "test_loss": 0.5, "mia_auc": 0.53}
RETRAINED = ORIGINAL | {"forget_acc": 0.94, "test_acc": 0.936, "mia_auc": 0.48}
UNLEARNED = ORIGINAL | {"forget_acc": 0.93, "validation_acc": 0.945, "test_acc": 0.933, "mia_auc": 0.5}
FACES = {
    "js_t_forget": {"unlearned": 0.0214, "nothing": 0.0361, "floor": 0.0062},
    "js_forget": {"unlearned": 0.0311, "nothing": 0.0422, "floor": 0.0071},
    "disagreement_forget": {"unlearned": 0.0421, "nothing": 0.0579, "floor": 0.0303},
    "mia_gap": {"unlearned": 0.02, "nothing": 0.05, "floor": -0.001},
    "test_acc_gap": {"unlearned": -0.003, "nothing": 0.009, "floor": 0.0},
}
RESULT = {
    "status": "ok",
    "explanation": None,
    "upper_bound": False,
    "config": {"training": {"precision": "float32"}, "unlearn": {"precision": "float32"}},
    "metrics": {"original": ORIGINAL, "retrained": RETRAINED, "unlearned": UNLEARNED},
    "faces": FACES,
    "change": {"relative_l2": 0.0647, "buffers_relative_l2": 0.25},
    "trajectory": {"step": [0, 80, 240]},
    "matched": {"step": 80, "forget_acc": 0.9389, "retain_acc": 0.99, "validation_acc": 0.94, "test_acc": 0.93}
    | {"mia_auc": 0.49, "js_forget": 0.0123, "js_t_forget": 0.0105},
    "matched_level": {"forget_acc": 0.94, "standard_error": 0.012, "samples": 380},
    "stop_rule": None,
    "cost": {
        "share": 0.272,
        "share_seconds": 0.567,
        "budget": None,
        "prepared_share": 4.444,
        "teachers": ["fold"] * 5,
        "targets_s": 0.5,
        "unlearn_s": 8.0,
        "retrain_s": 5.0,
        "stopped": False,
    },
}
WHOLE = """\
                                                matched   unlearned,
 models                original   retrained       point   at its end
 ───────────────────────────────────────────────────────────────────
 forget accuracy         1.0000      0.9400      0.9389       0.9300
 retain accuracy         1.0000      1.0000      0.9900       1.0000
 validation accuracy     0.9400      0.9400      0.9400       0.9450
 test accuracy           0.9450      0.9360      0.9300       0.9330
 forget loss             0.2500      0.2500           –       0.2500
 test loss               0.5000      0.5000           –       0.5000
 membership AUC          0.5300      0.4800      0.4900       0.5000


                                    matched      at its       doing
 distance to retrained                point         end     nothing     floor
 ────────────────────────────────────────────────────────────────────────────
 probabilities: JS_T, nats           0.0105      0.0214      0.0361    0.0062
 probabilities: raw JS, nats         0.0123      0.0311      0.0422    0.0071
 decisions: disagreement, share           –      0.0421      0.0579    0.0303
 privacy: membership gap, AUC       +0.0100     +0.0200     +0.0500   -0.0010
 utility: test accuracy gap         -0.0060     -0.0030     +0.0090   +0.0000

JS_T: Jensen-Shannon divergence (JS) from the retrained model on the forget set,
0 to 0.693 nats, each model at its own fitted temperature; raw JS: without
temperatures. Disagreement: share of the forget set for which the two predict
different classes. Gaps: the model's value less the retrained model's;
membership AUC is the area under the curve of an attack that tells the forget
set from test images (0.5: it cannot). Floor: the distance between retrained
models.
parameters moved by 0.0647 of their norm, buffers (running statistics) by 0.2500
matched point: step 80; from there on the run stays at the retrained model's
forget accuracy, 0.940 ± 0.012
cost: 0.272 of retraining in gradient samples, 0.567 in CPU seconds; before the
request 4.444 for training 5 teacher models, which serve every request;
unlearning took 8.50 s, retraining 5.00 s
nearer to retrained than doing nothing: 0.021 against 0.036 nats of JS_T (floor
0.006)"""


def shown(result: dict, width: int = 80) -> list[str]:
    """Return the lines on a screen of this width, without spaces at their ends."""
    console = Console()
    console.rich.file, console.rich.width = io.StringIO(), width
    console.result(result)
    return [line.rstrip() for line in console.rich.file.getvalue().splitlines()]


def changed(**changes) -> dict:
    """Return the result with other values; those of a dict join what is there."""
    result = copy.deepcopy(RESULT)
    for name, value in changes.items():
        result[name] = result[name] | value if isinstance(value, dict) and result[name] else value
    return result


def ending(**changes) -> list[str]:
    """Return the sentences after the cost, each in one line."""
    return list(run_summary._sentences(changed(**changes)))[4:]


def js(
    unlearned: float | None, nothing: float | None, floor: float | None = None, raw: float | None = None
) -> dict:
    """Return faces with this JS_T; raw JS is equal unless it is given for the unlearned model."""
    face = {"unlearned": unlearned, "nothing": nothing, "floor": floor}
    return FACES | {"js_t_forget": face, "js_forget": face | ({} if raw is None else {"unlearned": raw})}


@pytest.mark.parametrize("width", [40, 80, 200])
def test_the_whole_screen_is_eighty_columns_whatever_the_terminal(width):
    lines = shown(RESULT, width)
    assert [line for line in lines if line] == [line for line in WHOLE.splitlines() if line]
    assert max(map(len, lines)) <= 80


NEARER = "nearer to retrained than doing nothing"
FARTHER = "farther from retrained than doing nothing"
WHERE = {
    "nearer": (js(0.0214, 0.0361, 0.0062), f"{NEARER}: 0.021 against 0.036 nats of JS_T (floor 0.006)"),
    "floor unknown": (js(0.0214, 0.0361), f"{NEARER}: 0.021 against 0.036 nats of JS_T"),
    "farther": (js(0.0652, 0.0361), f"{FARTHER}: 0.065 against 0.036 nats of JS_T"),
    "equal to three decimals": (
        js(0.0361, 0.0364),
        "as far from retrained as doing nothing: 0.036 against 0.036 nats of JS_T",
    ),
    "raw JS contradicts": (
        js(0.0214, 0.0361, raw=0.05),
        f"{NEARER}: 0.021 against 0.036 nats of JS_T; by raw JS {FARTHER}: 0.050 against 0.036",
    ),
    "whole class": (js(0.0041, 0.5907, 0.002), f"{NEARER}: 0.004 against 0.591 nats of JS_T (floor 0.002)"),
}


@pytest.mark.parametrize("case", WHERE)
def test_the_last_sentence_says_where_the_run_ended(case):
    faces, said = WHERE[case]
    assert ending(faces=faces) == [said]


def test_a_status_has_the_last_word():
    degenerate = ending(status="degenerate", explanation="no gradient", faces=js(0.0361, 0.0361))
    assert degenerate == [
        "as far from retrained as doing nothing: 0.036 against 0.036 nats of JS_T",
        "status degenerate: no gradient",
    ]
    faces = js(None, 0.0361) | {"disagreement_forget": dict.fromkeys(("unlearned", "nothing", "floor"))}
    nothing = dict.fromkeys(UNLEARNED)
    lost = {"status": "diverged", "explanation": "lost", "metrics": {"unlearned": nothing}, "matched": None}
    lines = shown(changed(faces=faces, **lost))
    assert lines[-1] == "status diverged: lost"
    assert "doing nothing: " not in "\n".join(lines)
    assert " decisions: disagreement, share           –           –           –         –" in lines
    assert "no matched point: the run did not end at the retrained model's forget accuracy," in lines


def test_seconds_of_two_precisions_are_named():
    precisions = {"training": {"precision": "bf16"}, "unlearn": {"precision": "float32"}}
    text = "\n".join(run_summary._sentences(changed(config=precisions)))
    assert "0.567 in CPU seconds, both in float32; before the request" in text
    assert "unlearning took 8.50 s, retraining 5.00 s in bf16\n" in text


def test_an_upper_bound_a_budget_and_a_stop_are_named():
    rule = {"unseen_acc": 0.9, "standard_error": None, "samples": None, "looks": 3, "forget_acc": 0.89}
    cost = {"stopped": True, "budget": 0.05, "prepared_share": 0.0, "teachers": [], "share_seconds": None}
    said = list(run_summary._sentences(changed(upper_bound=True, cost=cost, stop_rule=rule)))
    assert said[3:6] == [
        "stopped: at 3 looks in a row no better on the forget set than on unseen data, 0.890 and 0.900",
        "cost: 0.272 of retraining in gradient samples (budget 0.05), – in CPU seconds; unlearning took 8.50 s, "
        "retraining 5.00 s",
        "an upper bound, no method: the targets are drawn from the retrained model",
    ]


def test_without_a_trajectory_nothing_is_said_of_a_matched_point():
    result = changed(trajectory={"step": []}, matched=None, faces=js(0.02, 0.03))
    said = list(run_summary._sentences(result))
    assert said[0].endswith("Floor: the distance between retrained models, measured with references=2 or more.")
    assert [line[:15] for line in said[1:]] == ["parameters move", "cost: 0.272 of ", "nearer to retra"]


def test_no_matched_point_where_the_retrained_model_diverged():
    said = list(run_summary._sentences(changed(matched=None, matched_level=None)))
    assert said[2] == "no matched point: the retrained model diverged"
