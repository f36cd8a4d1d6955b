"""Fingerprints of images: a number for each, by which copies and shards are found."""

import math

import torch
from jaxtyping import Int64, Shaped
from torch import Tensor
from torch.nn.functional import pad

from softtargets.types import Samples, Selection, rows_at_once


def prints_of(samples: Samples) -> Int64[Tensor, " n"]:
    """Return the fingerprints of a set's inputs."""
    if isinstance(samples, Selection):
        return prints_of(samples.whole)[samples.rows.cpu()]
    return fingerprints(samples.inputs)


def shards_of(samples: Samples, count: int) -> list[Int64[Tensor, " _"]]:
    """Return the positions of the samples in each of `count` shards, ascending; on the CPU.

    The image alone decides its shard, so that it has the same one in every set, whatever is forgotten. Shards are
    of nearly equal sizes. One may be empty.

    >>> samples = Samples(torch.arange(12.0)[:, None], torch.zeros(12, dtype=torch.int64), torch.ones(12, 1))
    >>> shards = shards_of(samples, 3)
    >>> torch.cat(shards).sort().values.equal(torch.arange(12))
    True
    >>> [len(part) for part in shards_of(samples.take(shards[1]), 3)] == [0, len(shards[1]), 0]
    True
    """
    # of the high bits: they depend on all bits of an image, the lowest on its lowest alone
    numbers = (prints_of(samples) >> 33) % count
    return [(numbers == number).nonzero()[:, 0] for number in range(count)]


def fingerprints(inputs: Shaped[Tensor, "n ..."]) -> Int64[Tensor, " n"]:
    """Return a hash of every row: a randomly weighted sum of its 64-bit words modulo 2^64, equal for equal rows.

    >>> one, copy, other = fingerprints(torch.tensor([[1, 2], [1, 2], [2, 1]])).tolist()
    >>> one == copy, one == other
    (True, False)
    """
    # odd weights are invertible modulo 2^64: rows that differ in one word never collide
    count = -(-math.prod(inputs.shape[1:]) * inputs.element_size() // 8)
    bits = torch.Generator().manual_seed(0)
    weights = torch.randint(-(1 << 62), 1 << 62, (count,), generator=bits) * 2 + 1
    prints, size = torch.empty(len(inputs), dtype=torch.int64), rows_at_once(inputs)
    # into one tensor: a list of parts would keep each between large temporary tensors, whose memory is then lost
    for part, out in zip(inputs.split(size), prints.split(size), strict=True):
        # int64 wraps round at 2^64, which is the modulus; in parts, since the product is as large as the words
        torch.sum(_words(part.cpu()) * weights, 1, out=out)
    return prints


def _words(inputs: Shaped[Tensor, "n ..."]) -> Int64[Tensor, "n words"]:
    """Return the bytes of every row as 64-bit words."""
    raw = inputs.flatten(1).contiguous().view(torch.uint8)
    # filled up with zeros to whole words: all rows have one length, so that no two become equal by it
    return pad(raw, (0, -raw.shape[1] % 8)).view(torch.int64)
