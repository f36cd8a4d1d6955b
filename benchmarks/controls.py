"""What each face of the yardstick cannot see: models that are known to be near the retrained ones, or far.

`python benchmarks/controls.py [settings]` trains on 6,000 images of Fashion-MNIST, mlp, a random 10 % to forget,
seeds 40 to 42, and prints a table in Markdown: means over the seeds of every face, against three retrained models.
"""

import copy
import io
import statistics
from collections.abc import Callable

import torch
from glance import composed
from sklearn.linear_model import LinearRegression
from torch import nn
from usage import call

from softtargets.console import Console
from softtargets.evaluation.evaluate import Logits, evaluate, predict_sets
from softtargets.evaluation.faces import faces
from softtargets.execution.experiment import Experiment, build
from softtargets.execution.models import Stages
from softtargets.execution.teachers import Teachers
from softtargets.fit import predict
from softtargets.heads import head
from softtargets.losses import cross_entropy
from softtargets.mu_algo.teachers import Served
from softtargets.store import Store, store_folder
from softtargets.types import generator

SEEDS = (40, 41, 42)
DATA = ("dataset=fashion_mnist", "dataset.train_size=6000", "references=3")
OTHERS = 4
"""Retrained models that are no references."""
SURE = 30.0
"""Logit of the predicted class of a model that is hardened to its argmax."""
SHOWN = ("js_t_forget", "js_forget", "disagreement_forget", "mia_gap", "js_t_forget_shifted", "js_t_forget_noisy")


def main(*settings: str) -> None:
    """Print the table."""
    rows = [measured(build(composed(*DATA, *settings, f"seed={seed}"))) for seed in SEEDS]
    print(f"| model | T | {' | '.join(SHOWN)} |\n|---|---|{len(SHOWN) * '---|'}")
    for name in rows[0]:
        means = [statistics.mean(row[name][i] for row in rows) for i in range(len(SHOWN) + 1)]
        print(f"| {name} | {means[0]:.2f} | {' | '.join(f'{value:.4f}' for value in means[1:])} |")


def measured(experiment: Experiment) -> dict[str, tuple[float, ...]]:
    """Return temperature and faces of every control of one seed, by name."""
    stages = Stages(experiment, Store(store_folder(experiment.settings.store.dir)), Console(io.StringIO()))
    data, original = experiment.data, stages.original()
    references = [stages.logits(model) for model in (stages.retrained(), *stages.further_references())]
    evaluations = [evaluate(logits, data) for logits in references]
    nothing = evaluate(stages.logits(original), data)

    def row(logits: Logits, of: str = "unlearned") -> tuple[float, ...]:
        found = faces({"original": nothing, "unlearned": evaluate(logits, data)}, evaluations, data)
        heat = {
            "unlearned": found["temperature"]["unlearned"],
            "floor": statistics.mean(found["temperature"]["retrained"]),
        }
        return heat[of], *(found[name][of] for name in SHOWN)

    named = controls(experiment, stages, original.model)
    return {name: row(logits) for name, logits in named.items()} | {"floor": row(references[0], "floor")}


def controls(experiment: Experiment, stages: Stages, original: nn.Module) -> dict[str, Logits]:
    """Return the logits of every control."""
    retain = experiment.data.retain
    others = [stages.trained(f"control/{number}", retain) for number in range(OTHERS)]
    one, *_ = outputs = [stages.logits(model) for model in others]
    predicted = lambda model: predict_sets(model, experiment.data, stages.more_sets)  # noqa: E731
    return {
        "doing nothing": predicted(original),
        "another retrained model": one,
        "the same at T = 0.5": changed(one, lambda z: 2 * z),
        "the same at T = 2": changed(one, lambda z: z / 2),
        "the same, hardened to its argmax": changed(one, hardened),
        f"the mean of {OTHERS} other retrained models": mean(outputs),
        "retrained with label smoothing .1": predicted(smoothed(experiment)),
        "the original with a last layer fitted to the retrained model": predicted(
            refitted(experiment, original, others[0].model)
        ),
        "the original with answers of its fold teachers for the forget set": predicted(lookup(stages, original)),
    }


def changed(logits: Logits, change: Callable) -> Logits:
    """Change the logits on every set."""
    return {name: change(z) for name, z in logits.items()}


def hardened(z: torch.Tensor) -> torch.Tensor:
    """Return logits that are sure of the predicted class."""
    return SURE * nn.functional.one_hot(z.argmax(1), z.shape[1]).float()


def mean(models: list[Logits]) -> Logits:
    """Return logits of the mean of the models' probabilities."""
    return {name: torch.stack([one[name].softmax(1) for one in models]).mean(0).log() for name in models[0]}


def smoothed(experiment: Experiment, share: float = 0.1) -> nn.Module:
    """Train on the retain set with a share of each target spread over all classes."""
    model, retain = experiment.initialised("control/smoothed"), experiment.data.retain
    fit = experiment.training_fit("control/smoothed", lambda step, steps, loss: None)
    targets = (1 - share) * retain.targets + share / retain.targets.shape[1]
    return fit(model, lambda batch: cross_entropy(model(batch.inputs), batch.targets), retain.retarget(targets))


def refitted(experiment: Experiment, original: nn.Module, retrained: nn.Module) -> nn.Module:
    """Fit the original's last layer by least squares to a retrained model's logits: its features stay."""
    model, inputs = copy.deepcopy(original), experiment.data.train.inputs
    body, last = nn.Sequential(*list(model.children())[:-1]), head(model)
    fitted = LinearRegression().fit(predict(body, inputs).numpy(), predict(retrained, inputs).numpy())
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(fitted.coef_))
        last.bias.copy_(torch.from_numpy(fitted.intercept_))
    return model


def lookup(stages: Stages, original: nn.Module) -> nn.Module:
    """Answer the forget set by the model that was trained on all folds but the sample's own."""
    answers = Teachers(stages, {}, "forget").out_of_fold(5)
    return Served(original, stages.experiment.data.forget.inputs, answers, generator(0, "lookup")).eval()


if __name__ == "__main__":
    call(main, __doc__)
