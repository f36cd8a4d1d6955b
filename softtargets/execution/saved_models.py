"""The three models of a run, on disk and back."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn
from yaml import YAMLError

from softtargets.architectures import construct
from softtargets.config import allowed_targets
from softtargets.readers import checkpoints
from softtargets.system.files import Damaged, atomic, read_json
from softtargets.types import model_digest


class Models(NamedTuple):
    """In eval mode on the CPU; each maps inputs (n, channels, height, width), normalised, to logits."""

    original: nn.Module
    retrained: nn.Module
    unlearned: nn.Module


def save_models(folder: Path, models: dict[str, nn.Module]) -> None:
    """Write `<name>.safetensors` for each model."""
    for name, model in models.items():
        state = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in model.state_dict().items()}
        with atomic(folder / f"{name}.safetensors") as temporary:
            temporary.write_bytes(safetensors.torch.save(state))


def load(run_dir: str | Path, plugins: Iterable[str] = ()) -> Models:
    """Return the models that a run with `save_models=true` left in its folder.

    `plugins`: modules of yours that the architecture may come from, as in the setting of that name. Raises
    FileNotFoundError where the folder holds no such run, Damaged, a ValueError, where a file is not what the run
    wrote, and BadInput for an architecture from elsewhere.

    >>> import softtargets, torch
    >>> models = softtargets.load("runs/one")
    >>> models.unlearned(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    folder = Path(run_dir).expanduser()
    config = _config(folder / "config.yaml")
    result = read_json(folder / "result.json")
    shape = result["data"]
    allowed_targets.require_allowed({"architecture": OmegaConf.to_container(config.architecture)}, plugins)
    architecture = instantiate(config.architecture, _partial_=True, _convert_="all")
    build = functools.partial(construct, architecture, tuple(shape["input_shape"]), shape["classes"])
    right = result["hashes"]
    return Models(*(_load(folder / f"{name}.safetensors", build(), right[name]) for name in Models._fields))


def _config(file: Path) -> DictConfig:
    try:
        return OmegaConf.load(file)
    except YAMLError as error:  # tags that would make objects, too
        raise Damaged(f"{file}: damaged, it is no plain YAML: {error}") from error


def _load(file: Path, model: nn.Module, right: str) -> nn.Module:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such model; run with save_models=true")
    try:
        model.load_state_dict(checkpoints.read(file, model.state_dict()))
    except (ValueError, RuntimeError) as error:
        raise Damaged(f"{file}: damaged: {error}") from error
    if model_digest(model) != right:
        raise Damaged(f"{file}: altered since it was written, its content has another hash than in result.json")
    return model.eval()
