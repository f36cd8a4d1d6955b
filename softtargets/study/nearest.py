"""The arm of a sweep that is nearest to retraining so far: a glimpse while it runs, and no verdict."""

import statistics

from softtargets.system.words import counted


class Nearest:
    """Collects finished runs by arm, an algorithm with its kind of targets and its budget."""

    def __init__(self):
        self.shares: dict[str, list[float]] = {}
        """Of each arm, JS_T to the retrained model on the forget set, as a share of doing nothing's."""

    def add(self, result: dict) -> None:
        """Take a result, unless it diverged, is for comparison only, or nothing was left to forget."""
        face = result.get("faces", {}).get("js_t_forget")  # older code, at work in the same folder, may lack it
        if not face or result["status"] == "diverged" or result.get("comparison_only") or result["upper_bound"]:
            return
        if face["unlearned"] is not None and face["nothing"]:
            self.shares.setdefault(arm(result), []).append(face["unlearned"] / face["nothing"])

    def line(self) -> str | None:
        """Return the best mean in words; None before two arms have a run."""
        if len(self.shares) < 2:
            return None
        means = {name: statistics.fmean(shares) for name, shares in self.shares.items()}
        best = min(means, key=means.get)
        runs = len(self.shares[best])
        return (
            f"nearest to retraining so far: {best}, at {means[best]:.2f} of the distance of doing nothing "
            f"(JS_T, mean of {counted(runs, 'run')})"
        )


def arm(result: dict) -> str:
    """Return the name of a result's arm."""
    choices, cost = result["choices"], result["config"]["unlearn"].get("cost")
    name = choices["mu_algo"] if result["ignores_targets"] else f"{choices['mu_algo']} {choices['targets']}"
    return name if cost is None else f"{name} at cost {cost:g}"
