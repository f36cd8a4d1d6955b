"""The data of a run: its images and its forget set, cached in memory for runs that share them."""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from softtargets import store
from softtargets.config import contents
from softtargets.config.settings import DatasetSettings, ForgetSetSettings
from softtargets.config.validation import naming
from softtargets.datasets import Images
from softtargets.execution import checks, scores
from softtargets.execution.callables import checked_partial, take_settings
from softtargets.marks import Dataset, ForgetSet
from softtargets.split import CALIBRATION, split
from softtargets.store import Store
from softtargets.system.memory import require_memory, training_on
from softtargets.types import Selection, Split

CODE = 1
"""Version of what `readers.image_folder` makes of files: another one reads them anew."""


def load_data(config: dict, device: str) -> Split:
    """Load the images of a resolved config and draw its forget set; raise BadInput if that fails.

    Images that take long to read come from the store, where the first run keeps them. So do the scores of a kind
    of forget set that needs some; where the store has no whole ones, it is a stand-in that `awaits_scores`.
    """
    groups = (_with_contents(config, group) for group in ("dataset", "forget_set"))
    asked = *groups, device, store.store_folder(config["store"]["dir"])
    if not scores.needed(config):
        return _split(*asked)
    entry = scores.entry(config, *_digests(*asked))
    return _split(*asked, str(entry)) if store.used(entry) else _awaiting(_split(*asked))


@functools.lru_cache(maxsize=8)
def _digests(*asked) -> tuple[str, str]:
    """Return the digests of the training and the validation set, which do not depend on the scores."""
    data = _split(*asked)
    return data.train.digest, data.validation.digest


def _awaiting(data: Split) -> Split:
    return dataclasses.replace(data, awaits_scores=True, notes=())


def _with_contents(config: dict, group: str) -> str:
    """Return a group, the hashes of its files and those of the user's code as text, the key of the cache."""
    known = {name: value for name, value in config.get("contents", {}).items() if name.startswith(f"{group}.")}
    return json.dumps([config[group], known, config.get("sources", {})])


@functools.lru_cache(maxsize=1)
def _split(dataset: str, forget_set: str, device: str, place: Path, scored: str | None = None) -> Split:
    """Load the images and split them; runs of a sweep with equal data share the tensors.

    `scored` is the folder of the store's entry with the scores that the forget set is chosen by.
    """
    (node, *known), (kind, *_) = json.loads(dataset), json.loads(forget_set)
    drawn, seed = (
        take_settings(DatasetSettings, node, "dataset"),
        take_settings(ForgetSetSettings, kind, "forget_set").seed,
    )
    with training_on(drawn.train_size, CALIBRATION):
        images = _images(json.dumps([node, *known]), place)
        _require_memory(images)
    checks.require_channels(drawn, images.train_pixels.shape[1])
    checks.require_class_numbers(kind, images.class_names)
    choose = checked_partial(
        kind, "forget_set", given=("candidates", "generator"), beside=ForgetSetSettings.model_fields
    )

    needed = ForgetSet.of(choose).scores is not None
    values = scores.read(Path(scored)) if scored else None

    @functools.wraps(choose.func)
    def named(candidates, drawn_from):
        if needed:
            known = torch.rand(len(candidates.labels), generator=drawn_from) if scored is None else values
            candidates = candidates._replace(scores=known)
        with naming("forget_set"):
            chosen = choose(candidates, drawn_from)
        checks.require_some(choose.keywords, len(chosen.positions), len(candidates.labels))
        return chosen

    with naming("dataset"):
        data = split(images, named, forget_seed=seed, **drawn.model_dump())
    return _moved(dataclasses.replace(data, train_scores=values), device)


@functools.lru_cache(maxsize=2)
def _images(loader: str, place: Path) -> Images:
    node, known, sources = json.loads(loader)
    load = checked_partial(node, "dataset", beside=DatasetSettings.model_fields)

    def read() -> Images:
        images = load()
        if not isinstance(images, Images):
            raise ValueError(f"{load.func.__name__} returns {type(images).__name__}; it must return Images")
        return images

    with naming("dataset"):
        if not (known and Dataset.of(load).slow):
            return read()
        return _kept(node, known, sources, read, Store(place))


def _require_memory(images: Images) -> None:
    """Say what a run on these images needs in memory; raise BadInput if that is more than there is."""
    count, *shape = images.train_pixels.shape
    if len(shape) == 3:
        with naming("dataset"):
            require_memory(count, len(images.test_labels), tuple(shape), read=True)


def _kept(node: dict, known: dict[str, str], sources: dict, read: Callable[[], Images], store: Store) -> Images:
    """Return the images of files with `known` hashes from the store, read once for all runs."""

    def make() -> tuple[dict[str, Tensor], dict]:
        images = read()._asdict()
        # what has changed meanwhile would be kept under the hash of what it was
        contents.require_same({"dataset": node, "contents": known})
        tensors = {name: value for name, value in images.items() if isinstance(value, Tensor)}
        return tensors, {name: images[name] for name in ("class_names", "notes")}

    settings = contents.by_content({"dataset": node, "contents": known})["dataset"]
    entry = store.get("images", {"dataset": settings, "sources": sources, "code": CODE}, make)
    texts = {name: tuple(entry.manifest[name]) for name in ("class_names", "notes")}
    return Images(**{"marked": None} | entry.tensors | texts)


def _moved(data: Split, device: str) -> Split:
    """Return the data on a device, where views of one tensor share its memory as before."""
    if device == "cpu":
        return data
    moved: dict[tuple[int, object], tuple[Tensor, Tensor]] = {}
    # with the tensor itself: the memory of one that is gone could be another's

    def move(value):
        if isinstance(value, Tensor):
            storage = value.untyped_storage()
            key = (storage.data_ptr(), value.dtype)
            if key not in moved:
                whole = value.as_strided((storage.nbytes() // value.element_size(),), (1,), 0)
                moved[key] = whole, whole.to(device)
            return moved[key][1].as_strided(value.shape, value.stride(), value.storage_offset())
        if isinstance(value, Selection):
            return Selection(move(value.whole), move(value.rows))
        if dataclasses.is_dataclass(value):
            fields = {f.name: move(getattr(value, f.name)) for f in dataclasses.fields(value)}
            return type(value)(**fields)
        return value

    return move(data)
