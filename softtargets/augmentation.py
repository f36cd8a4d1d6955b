"""Augmentation of images: random mirroring, shifts and cut-out squares, of a whole batch at once."""

import torch
from jaxtyping import Float, Int64
from torch import Generator, Tensor

from softtargets.devices import sent

Images = Float[Tensor, "n c h w"]


def augmented(inputs: Images, generator: Generator, *, flip: bool, shift: int, cutout: int) -> Images:
    """Return images that are mirrored or not, shifted by up to `shift` pixels, and lack a square of side `cutout`.

    Each image has its own draws from `generator`, a generator of the CPU. A shift reflects the image at its edge;
    the square lies within the image and becomes 0, which is the mean of normalised inputs.

    Raises ValueError for inputs that are not images, and where shift or square is too large for them.

    >>> images = torch.arange(1.0, 5.0).view(1, 1, 2, 2)
    >>> augmented(images, torch.Generator().manual_seed(0), flip=False, shift=0, cutout=1).count_nonzero()
    tensor(3)
    """
    if inputs.dim() != 4:
        raise ValueError(f"augmentation is for images, and an input has the shape {tuple(inputs.shape[1:])}")
    height, width = inputs.shape[2:]
    side = min(height, width)
    for name, value, most in (("shift", shift, side - 1), ("cutout", cutout, side)):
        if value > most:
            raise ValueError(f"{name}={value} must be at most {most} for {height}x{width} images")

    def draw(most: int) -> Int64[Tensor, "n 1"]:
        return torch.randint(most + 1, (len(inputs), 1), generator=generator)

    rows, columns = (_reflected(torch.arange(n) + draw(2 * shift) - shift, n) for n in (height, width))
    if flip:
        columns = torch.where(draw(1) == 1, columns.flip(1), columns)
    moved = _gathered(inputs, rows, columns)
    return _cut(moved, draw(height - cutout), draw(width - cutout), cutout) if cutout else moved


def _reflected(positions: Int64[Tensor, "n m"], size: int) -> Int64[Tensor, "n m"]:
    """Return positions from 0 to size - 1 for those up to size - 1 beyond either end, mirrored there."""
    last = size - 1
    return last - (last - positions.abs()).abs()


def _gathered(inputs: Images, rows: Int64[Tensor, "n h"], columns: Int64[Tensor, "n w"]) -> Images:
    """Return for each image the given rows and columns."""
    n, channels = inputs.shape[:2]
    rows, columns = sent(rows, inputs.device), sent(columns, inputs.device)
    image = torch.arange(n, device=inputs.device).view(n, 1, 1, 1)
    channel = torch.arange(channels, device=inputs.device).view(1, channels, 1, 1)
    return inputs[image, channel, rows[:, None, :, None], columns[:, None, None, :]]


def _cut(inputs: Images, top: Int64[Tensor, "n 1"], left: Int64[Tensor, "n 1"], side: int) -> Images:
    """Return images with a square of 0 whose upper left corner is at (top, left)."""
    inside = []
    for start, size in ((top, inputs.shape[2]), (left, inputs.shape[3])):
        places = torch.arange(size)
        inside.append((places >= start) & (places < start + side))
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return inputs.masked_fill(sent(square, inputs.device), 0.0)
