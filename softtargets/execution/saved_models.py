"""The three models of a run on disk: saving and loading."""

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
from softtargets.ensembles import Ensemble
from softtargets.readers import checkpoints
from softtargets.system.files import Damaged, atomic, read_json
from softtargets.types import model_digest


class Models(NamedTuple):
    """The models in eval mode on the CPU; each maps normalised inputs (n, channels, height, width) to logits."""

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

    `plugins`: your modules from which the architecture may come, as in the setting of that name. Raises
    FileNotFoundError if the folder has no such run, Damaged (a ValueError) if a file is not as the run wrote it,
    and BadInput for an architecture from another module.

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
    config.architecture.pop("weights", None)  # what the networks started from
    architecture = instantiate(config.architecture, _partial_=True, _convert_="all")
    build = functools.partial(construct, architecture, tuple(shape["input_shape"]), shape["classes"])
    right, shards = result["hashes"], result.get("ensemble", {}).get("shards")
    model = build if shards is None else lambda: Ensemble(build() for _ in range(shards))
    return Models(*(_load(folder / f"{name}.safetensors", model(), right[name]) for name in Models._fields))


def _config(file: Path) -> DictConfig:
    try:
        return OmegaConf.load(file)
    except YAMLError as error:  # also for tags that create objects
        raise Damaged(f"{file}: damaged, not plain YAML: {error}") from error


def _load(file: Path, model: nn.Module, right: str) -> nn.Module:
    if not file.is_file():
        raise FileNotFoundError(f"{file}: no such model; run with save_models=true")
    try:
        model.load_state_dict(checkpoints.read_weights(file, model.state_dict()))
    except (ValueError, RuntimeError) as error:
        raise Damaged(f"{file}: damaged: {error}") from error
    if model_digest(model) != right:
        raise Damaged(f"{file}: changed since it was written; its hash differs from that in result.json")
    return model.eval()
