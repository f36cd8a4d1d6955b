"""Images of a forget set for the page, from the dataset that a run's config.yaml names."""

import base64
import functools
import io
from collections.abc import Sequence

import PIL.Image
import torch
from jaxtyping import UInt8
from torch import Tensor

from softtargets.class_names import class_name
from softtargets.config import allowed_targets, resolve
from softtargets.errors import BadInput
from softtargets.execution.load_data import load_data
from softtargets.readers import downloads
from softtargets.report.runs import Run
from softtargets.report.samples import Shown

MOST = 64
"""Most pixels of a side; a larger image is scaled down."""
MODES = {1: "L", 3: "RGB"}
"""Pillow's name for images of so many channels."""


def forget_images(run: Run, positions: Sequence[int]) -> tuple[Shown, ...]:
    """Return the samples at these positions of a run's forget set.

    None of them where the dataset is not on this machine, comes from code of the user's, or is not what the run
    was made on. Nothing is downloaded.
    """
    try:
        config = resolve.saved(run.folder)
        allowed_targets.require_allowed({group: config[group] for group in ("dataset", "forget_set")}, ())
        with downloads.switched_off():
            data = load_data(config, "cpu")
    except BadInput:
        return ()
    channels = data.input_shape[0]
    if data.forget.digest != run.result["hashes"]["forget_set"] or channels not in MODES:
        return ()
    at = list(positions)
    inputs = data.forget.inputs_at(torch.tensor(at))
    mean, std = (inputs.new_tensor(config["dataset"][name]).view(1, -1, 1, 1) for name in ("mean", "std"))
    pixels = ((inputs * std + mean) * 255).round().clamp(0, 255).byte()
    rows = zip(data.forget_index[at].tolist(), data.forget.labels[at].tolist(), pixels, strict=True)
    named = functools.partial(class_name, run.result)
    return tuple(Shown(index, named(label), _address(image)) for index, label, image in rows)


def _address(pixels: UInt8[Tensor, "channels height width"]) -> str:
    """Return an image as the address of a PNG."""
    array = pixels.permute(1, 2, 0).squeeze(2).numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()
    image, file = PIL.Image.fromarray(array, MODES[len(pixels)]), io.BytesIO()
    image.thumbnail((MOST, MOST))
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
