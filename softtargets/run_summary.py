"""The summary of a run on its screen: two tables and sentences, at most 80 columns wide.

The numbers are those of `result.json`. What a result does not have is a dash in a table, and no sentence.
"""

import io
import textwrap
from collections.abc import Iterator

import rich.box
import rich.console
import rich.table

from softtargets.system.words import counted

WIDTH = 80
METRICS = {
    "forget_acc": "forget accuracy",
    "retain_acc": "retain accuracy",
    "validation_acc": "validation accuracy",
    "test_acc": "test accuracy",
    "forget_loss": "forget loss",
    "test_loss": "test loss",
    "mia_auc": "membership AUC",
}
DISTANCES = {
    "js_t_forget": "probabilities: JS_T, nats",
    "js_forget": "probabilities: raw JS, nats",
    "disagreement_forget": "decisions: disagreement, share",
    "mia_gap": "privacy: membership gap, AUC",
    "test_acc_gap": "utility: test accuracy gap",
}
SIGNED = {"mia_gap": "mia_auc", "test_acc_gap": "test_acc"}
"""Gaps, and the metrics that they are of."""
MEANING = (
    "JS_T: Jensen-Shannon divergence (JS) from the retrained model on the forget set, 0 to 0.693 nats, each model "
    "at its own fitted temperature; raw JS: without temperatures. Disagreement: share of the forget set for which "
    "the two predict different classes. Gaps: the model's value less the retrained model's; membership AUC is the "
    "area under the curve of an attack that tells the forget set from test images (0.5: it cannot). Floor: the "
    "distance between retrained models"
)


def lines(result: dict) -> list[str]:
    """Return the lines of the summary; in a narrower terminal they go on below, and nothing is cut off."""
    page = rich.console.Console(width=WIDTH, file=io.StringIO(), color_system=None)
    for table in (models(result), distances(result)):
        page.print(table)
    return [*(line.rstrip() for line in page.file.getvalue().splitlines()), *sentences(result)]


def models(result: dict) -> rich.table.Table:
    """Return the table of the three models, the unlearned one at its matched point and at its end."""
    matched = result["matched"] or {}
    columns = [*(result["metrics"][name] for name in ("original", "retrained")), matched]
    table = _table("models", "original", "retrained", "matched point", "unlearned, at its end")
    for key, label in METRICS.items():
        values = [column.get(key) for column in (*columns, result["metrics"]["unlearned"])]
        table.add_row(label, *map(number, values))
    return table


def distances(result: dict) -> rich.table.Table:
    """Return the table of distances to the retrained model, beside those of doing nothing and the floor."""
    faces, matched = result["faces"], _matched_distances(result)
    table = _table("distance to retrained", "matched point", "at its end", "doing nothing", "floor")
    for key, label in DISTANCES.items():
        values = [matched.get(key), *(faces[key][name] for name in ("unlearned", "nothing", "floor"))]
        table.add_row(label, *(number(value, sign=key in SIGNED) for value in values))
    return table


def _table(title: str, *columns: str) -> rich.table.Table:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(title)
    for name in columns:
        table.add_column(name, justify="right", max_width=max(9, *map(len, name.split())))
    return table


def _matched_distances(result: dict) -> dict[str, float | None]:
    """Return the distances at the matched point that a trajectory has, by name."""
    matched, retrained = result["matched"], result["metrics"]["retrained"]
    if matched is None:
        return {}
    gaps = {gap: (matched.get(metric), retrained[metric]) for gap, metric in SIGNED.items()}
    known = {gap: one - other for gap, (one, other) in gaps.items() if None not in (one, other)}
    return {name: matched.get(name) for name in ("js_t_forget", "js_forget")} | known


def number(value: float | None, sign: bool = False) -> str:
    """Return four decimals, or a dash for what is not known."""
    return "–" if value is None else f"{value:+.4f}" if sign else f"{value:.4f}"


def sentences(result: dict) -> list[str]:
    """Say what the tables mean, how the run went, what it cost, and at last where it ended."""
    return [line for text in _sentences(result) for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False)]


def _sentences(result: dict) -> Iterator[str]:
    known = result["faces"]["js_t_forget"]["floor"] is not None
    yield f"{MEANING}{'' if known else ', measured with references=2 or more'}."
    change = result["change"]
    buffers = change.get("buffers_relative_l2")  # which older results lack
    also = "" if buffers is None else f", buffers (running statistics) by {number(buffers)}"
    yield f"parameters moved by {number(change['relative_l2'])} of their norm{also}"
    yield from _requests(result.get("requests", []))
    if result.get("requests"):
        yield "no matched point: of several requests no trajectory is kept"
    if result["trajectory"]["step"]:
        yield _matched(result["matched"], result["matched_level"])
    if result["cost"]["stopped"] and result["stop_rule"]:
        yield _stopped(result["stop_rule"])
    yield _cost(result["cost"], result["config"], several=bool(result.get("requests")))
    if result["upper_bound"]:
        yield "an upper bound, no method: the targets are drawn from the retrained model"
    yield from _where(result["faces"])
    if result["status"] != "ok":
        yield f"status {result['status']}: {result['explanation']}"


def _requests(requests: list[dict]) -> Iterator[str]:
    """Say how far the model is from its own retrained one after each of several requests."""
    for at, one in enumerate(requests, 1):
        drift = one["drift"]
        yield (
            f"request {at} of {len(requests)}, {counted(one['samples'], 'sample')}: raw JS "
            f"{number(drift['js_unlearned'])} nats on all forgotten so far (doing nothing "
            f"{number(drift['js_nothing'])}; on earlier requests {number(drift['js_earlier'])}), cost "
            f"{_share(one['cost']['share'])} of its retraining"
        )


def _matched(found: dict | None, level: dict | None) -> str:
    if level is None:
        return "no matched point: the retrained model diverged"
    names = f"the retrained model's forget accuracy, {level['forget_acc']:.3f} ± {level['standard_error']:.3f}"
    if found is None:
        return f"no matched point: the run did not end at {names}"
    return f"matched point: step {found['step']}; from there on the run stays at {names}"


def _stopped(rule: dict) -> str:
    error = rule["standard_error"]
    unseen = f"{rule['unseen_acc']:.3f}" + ("" if error is None else f" ± {error:.3f} (n = {rule['samples']})")
    looks = "1 look" if rule["looks"] == 1 else f"{rule['looks']} looks in a row"
    forget = f"{rule['forget_acc']:.3f}"
    return f"stopped: at {looks} no better on the forget set than on unseen data, {forget} and {unseen}"


def _cost(cost: dict, config: dict, *, several: bool) -> str:
    """Say what was computed after the request, and before it, over retraining's; `several` if of many requests.

    Seconds are compared at the unlearning's precision; those that retraining took may be of another.
    """
    trained, unlearned = (config[group]["precision"] for group in ("training", "unlearn"))
    both, own = ("", "") if trained == unlearned else (f", both in {unlearned}", f" in {trained}")
    line = f"cost: {_share(cost['share'])} of retraining in gradient samples"
    if cost["budget"] is not None:
        line += f" (budget {cost['budget']:g})"
    line += f", {_share(cost['share_seconds'])} in CPU seconds{both}"
    if cost["prepared_share"]:
        count = len(cost["teachers"])
        made = f"training {count} teacher models, which serve" if count else "what serves"
        served = "one request each" if several else "every request"
        line += f"; before the request {_share(cost['prepared_share'])} for {made} {served}"
    took = cost["unlearn_s"] + cost["targets_s"]
    return f"{line}; unlearning took {took:.2f} s, retraining {cost['retrain_s']:.2f} s{own}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _where(faces: dict) -> Iterator[str]:
    """Say whether the run ended nearer to the retrained model than the original is; nothing if it is not known."""
    if None in (faces["js_t_forget"]["unlearned"], faces["js_t_forget"]["nothing"]):
        return
    floor = faces["js_t_forget"]["floor"]
    words, numbers = _compared(faces["js_t_forget"])
    line = f"{words}: {numbers} nats of JS_T" + ("" if floor is None else f" (floor {floor:.3f})")
    raw_words, raw_numbers = _compared(faces["js_forget"])
    yield line if raw_words == words else f"{line}; by raw JS {raw_words}: {raw_numbers}"


def _compared(face: dict) -> tuple[str, str]:
    """Compare a distance with that of doing nothing, to three decimals."""
    unlearned, nothing = (f"{face[name]:.3f}" for name in ("unlearned", "nothing"))
    if unlearned == nothing:
        words = "as far from retrained as doing nothing"
    else:
        nearer = float(unlearned) < float(nothing)
        words = "nearer to retrained than doing nothing" if nearer else "farther from retrained than doing nothing"
    return words, f"{unlearned} against {nothing}"
