"""The data of a run: its images and its forget set, cached in memory for runs that share them."""

import dataclasses
import functools
import json

import torch

from softtargets.config.settings import DatasetSettings, ForgetSetSettings
from softtargets.config.validation import naming
from softtargets.datasets import Images
from softtargets.execution import checks
from softtargets.execution.callables import checked_partial, take_settings
from softtargets.split import split
from softtargets.types import Split


def load_data(config: dict, device: str) -> Split:
    """Load the images of a resolved config and draw its forget set; raise BadInput if that fails."""
    return _split(*(_with_contents(config, group) for group in ("dataset", "forget_set")), device)


def _with_contents(config: dict, group: str) -> str:
    """Return a group and the hashes of its files as text, the key of the cache."""
    known = {name: value for name, value in config.get("contents", {}).items() if name.startswith(f"{group}.")}
    return json.dumps([config[group], known])


@functools.lru_cache(maxsize=1)
def _split(dataset: str, forget_set: str, device: str) -> Split:
    """Load the images and split them; runs of a sweep with equal data share the tensors."""
    (node, known), (kind, _) = json.loads(dataset), json.loads(forget_set)
    drawn, seed = (
        take_settings(DatasetSettings, node, "dataset"),
        take_settings(ForgetSetSettings, kind, "forget_set").seed,
    )
    images = _images(json.dumps([node, known]))
    checks.require_channels(drawn, images.train_pixels.shape[1])
    checks.require_class_numbers(kind, images.class_names)
    choose = checked_partial(
        kind, "forget_set", given=("candidates", "generator"), beside=ForgetSetSettings.model_fields
    )

    @functools.wraps(choose.func)
    def named(candidates, drawn_from):
        with naming("forget_set"):
            chosen = choose(candidates, drawn_from)
        checks.require_some(choose.keywords, len(chosen.positions), len(candidates.labels))
        return chosen

    with naming("dataset"):
        data = split(images, named, forget_seed=seed, **drawn.model_dump())
    return _moved(data, device)


@functools.lru_cache(maxsize=2)
def _images(loader: str) -> Images:
    node, _ = json.loads(loader)
    load = checked_partial(node, "dataset", beside=DatasetSettings.model_fields)
    with naming("dataset"):
        images = load()
        if not isinstance(images, Images):
            raise ValueError(f"{load.func.__name__} returns {type(images).__name__}; it must return Images")
    return images


def _moved(data: Split, device: str) -> Split:
    if device == "cpu":
        return data

    def move(value):
        if isinstance(value, torch.Tensor):
            return value.to(device)
        if dataclasses.is_dataclass(value):
            fields = {f.name: move(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return type(value)(**fields)
        return value

    return move(data)
