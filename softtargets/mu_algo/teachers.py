"""The teachers themselves, in the model's place."""

import copy
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from softtargets.fit import Fit
from softtargets.marks import algorithm
from softtargets.types import Samples, generator, rows_at_once


@algorithm(ignores_targets=True, has_no_loop=True, comparison_only=True)
def teachers(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    folds: Annotated[int, Field(ge=2, le=100)],
    out_of_fold: Float[Tensor, "n k"],
) -> nn.Module:
    """Answer for each forget sample by the teacher that never saw it, for all else by the original.

    The result is a table beside the original and no model that unlearned: what an arm with out-of-fold targets
    learns from, for comparison only. An image that is shifted by a pixel is not in the table.

    k → folds; `out_of_fold`: the forget set's logits, each from the model trained on all folds but the sample's
    own. Targets play no part.
    """
    answers = out_of_fold.to(forget.inputs.device)
    return Served(
        copy.deepcopy(original), forget.inputs, answers, generator(fit.seed, f"{fit.name}/served")
    ).eval()


class Served(nn.Module):
    """A model with a table of answers for known inputs."""

    def __init__(
        self,
        model: nn.Module,
        inputs: Float[Tensor, "n ..."],
        answers: Float[Tensor, "n k"],
        generator: torch.Generator,
    ):
        """Keep `answers` for `inputs`; all others are the model's. `generator` draws the keys of the table."""
        super().__init__()
        self.model = model
        flat = inputs.flatten(1)
        # float64, so that keys of different inputs lie much farther apart than rounding moves them
        weights = torch.rand(flat.shape[1], generator=generator, dtype=torch.float64)
        self.register_buffer("weights", weights.to(inputs.device))
        order = self._keys(flat).argsort()  # sorted once, for a binary search at every call
        self.register_buffer("known", flat[order])
        self.register_buffer("answers", answers[order])
        self.register_buffer("keys", self._keys(self.known))

    def _keys(self, flat: Float[Tensor, "n inputs"]) -> Float[Tensor, " n"]:
        """Return a number for each input, summed in one order for one input as for many."""
        # in parts: at once, doubles of all inputs and of their products would be four times the inputs
        return torch.cat([(part.double() * self.weights).sum(1) for part in flat.split(rows_at_once(flat))])

    def forward(self, inputs: Float[Tensor, "n ..."]) -> Float[Tensor, "n k"]:
        """Return the logits of inputs."""
        flat, logits = inputs.flatten(1), self.model(inputs)
        # a window about the key, as the last bits of a sum may differ between sizes of batches; two neighbours, as
        # another input's key may lie in it
        first = torch.searchsorted(self.keys, self._keys(flat) - 1e-9)
        for near in (first, first + 1):
            # a position past the last key becomes the last: the comparison of whole inputs decides
            at = near.clamp(max=len(self.keys) - 1)
            logits = torch.where((self.known[at] == flat).all(1, keepdim=True), self.answers[at], logits)
        return logits
