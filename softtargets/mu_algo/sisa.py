"""SISA: exact unlearning, by retraining the networks of an ensemble that saw what is forgotten."""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from torch import nn

from softtargets.ensembles import replaced
from softtargets.fingerprints import shards_of
from softtargets.fit import Fit
from softtargets.marks import algorithm
from softtargets.types import Samples


@algorithm(ignores_targets=True, has_no_loop=True, new_network=True, sharded=True)
def sisa(
    original: nn.Module,
    forget: Samples,
    retain: Samples,
    fit: Fit,
    *,
    shards: Annotated[int, Field(ge=2, le=100)],
    train: Callable[[str, Samples, Fit], nn.Module],
) -> nn.Module:
    """Train the networks of the shards that hold samples to forget anew without them, and keep all others.

    After Bourtoule et al. (2021, 1912.03817), without the slices that make a retraining cheaper; S → shards. The
    image decides its shard. The original is an ensemble, a network for each shard, of that shard's training
    samples alone. Its answer is the mean of their probabilities. Nothing that is kept has seen a forgotten sample,
    and what is trained anew starts from a new initialisation. So the result has the distribution of an ensemble
    that is trained without the forget set, whatever the network: the promise is exact, ε = δ = 0.

    It costs the retained samples of these shards. One sample to forget touches one shard, a random tenth of a
    training set all of them: then it costs as much as retraining. The other price is accuracy, as each network
    learns from a share of the data. Targets play no part.
    """
    touched = {number for number, part in enumerate(shards_of(forget, shards)) if len(part)}
    left = shards_of(retain, shards)
    anew = {number: train(f"shard {number + 1}", retain.select(left[number]), fit) for number in touched}
    return replaced(original, anew, shards)
