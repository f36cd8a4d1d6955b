"""What frozen features still know of the forget set, whatever the head of the network says."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from softtargets.fit import evaluating
from softtargets.heads import features
from softtargets.types import Samples

RIDGE = 0.1
"""Penalty of the linear probe, on standardised features."""
SHOTS = 10
"""Unseen images of each class that a prototype is the mean of."""
Rows = Float[Tensor, "_ width"]


def probe(model: nn.Module, forget: Samples, unseen: Samples) -> dict[str, float]:
    """Return how many forget labels two attackers read from a network's features, as shares from 0 to 1.

    Both see labelled images that no model was trained on, `unseen`, and replace the last linear layer.
    `probe_accuracy` is that of a linear probe (Alain and Bengio 2016, arXiv 1610.01644) on all of them,
    `prototype_accuracy` that of the mean feature of ten images a class, compared by its cosine. Where only the
    head has changed, both are those of the original model.
    """
    with evaluating(model):
        known, asked = (features(model, samples).double() for samples in (unseen, forget))
    mean, spread = known.mean(0), known.std(0).clamp_min(1e-6)
    known, asked = (known - mean) / spread, (asked - mean) / spread
    classes = unseen.targets.shape[1]
    guesses = {
        "probe_accuracy": linear(known, unseen.labels, classes, asked),
        "prototype_accuracy": prototypes(known, unseen.labels, classes, asked),
    }
    return {name: (guess == forget.labels).double().mean().item() for name, guess in guesses.items()}


def linear(known: Rows, labels: Int64[Tensor, " _"], classes: int, asked: Rows) -> Int64[Tensor, " _"]:
    """Classify by ridge regression to one-hot labels: argmax of [a 1] B, B = (AᵀA / n + 0.1 I)⁻¹ AᵀY / n."""
    a, b = (torch.cat([rows, rows.new_ones(len(rows), 1)], 1) for rows in (known, asked))
    penalty = RIDGE * torch.eye(a.shape[1], dtype=a.dtype, device=a.device)
    one_hot = torch.nn.functional.one_hot(labels, classes).to(a.dtype)
    return (b @ torch.linalg.solve(a.T @ a / len(a) + penalty, a.T @ one_hot / len(a))).argmax(1)


def prototypes(known: Rows, labels: Int64[Tensor, " _"], classes: int, asked: Rows) -> Int64[Tensor, " _"]:
    """Classify by the nearest mean, by its cosine, of the first ten samples of each class; absent classes lose."""
    means = known.new_full((classes, known.shape[1]), torch.nan)
    for label in labels.unique().tolist():
        means[label] = known[labels == label][:SHOTS].mean(0)
    cosines = torch.nn.functional.normalize(asked) @ torch.nn.functional.normalize(means).T
    return cosines.nan_to_num(-2.0).argmax(1)
