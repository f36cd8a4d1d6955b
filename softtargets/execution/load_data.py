"""The data of a run: images loaded, the forget set drawn, both kept in memory for runs that share them."""

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
    """Load the images of a resolved config and draw its forget set, or raise BadInput."""
    return _split(*(_with_contents(config, group) for group in ("dataset", "forget_set")), device)


def _with_contents(config: dict, group: str) -> str:
    """Return a group and the contents of its files as text: what is remembered under it is of these files."""
    known = {name: value for name, value in config.get("contents", {}).items() if name.startswith(f"{group}.")}
    return json.dumps([config[group], known])


@functools.lru_cache(maxsize=1)
def _split(dataset: str, forget_set: str, device: str) -> Split:
    """Load and split; the runs of a sweep that share the data share the tensors."""
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
        found = split(images, named, forget_seed=seed, **drawn.model_dump())
    return _moved(found, device)


@functools.lru_cache(maxsize=2)
def _images(loader: str) -> Images:
    node, _ = json.loads(loader)
    load = checked_partial(node, "dataset", beside=DatasetSettings.model_fields)
    with naming("dataset"):
        found = load()
        if not isinstance(found, Images):
            raise ValueError(f"{load.func.__name__} returns {type(found).__name__}; it must return Images")
    return found


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
