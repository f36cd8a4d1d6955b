"""The user's own original model, read from a file of tensors."""

import pickle
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from softtargets.config.validation import naming


def read(path: str | None, architecture: Callable[[], nn.Module]) -> dict | None:
    """Read a state dict of tensors; nothing in the file is executed."""
    if path is None:
        return None
    file = Path(path).expanduser()
    # what is no such file makes the readers raise nearly anything
    with naming(f"checkpoint={path}: not a state dict for this architecture", (Exception,)):
        if not file.is_file():
            raise ValueError("it is no file" if file.exists() else "no such file")
        if not file.stat().st_size:
            raise ValueError("it is empty")
        state = _tensors(file)
        model = architecture()
        _require_fit(state, model.state_dict())
        model.load_state_dict(state)
    return state


def _tensors(file: Path) -> object:
    if file.suffix.lower() == ".safetensors":
        return safetensors.torch.load_file(file)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # whose advice is to let the file run code
        raise ValueError("it does not hold tensors alone; save model.state_dict(), not the model") from error


def _require_fit(state: object, wanted: dict[str, torch.Tensor]) -> None:
    """Raise ValueError where a file does not hold the tensors of a model."""
    if not isinstance(state, dict) or not state:
        raise ValueError(f"it holds {type(state).__name__}; it must hold tensors by name, as model.state_dict()")
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        nested = isinstance(state[others[0]], dict)
        advice = f"save what lies under {others[0]} alone" if nested else "save model.state_dict() alone"
        raise ValueError(f"{others[0]} in it is no tensor; {advice}")
    for what, names in (("lacks", wanted.keys() - state.keys()), ("has in excess", state.keys() - wanted.keys())):
        if names:
            raise ValueError(f"it {what} {', '.join(sorted(map(str, names))[:3])}{' …' if len(names) > 3 else ''}")
    for name, tensor in state.items():
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)}, and must be {tuple(wanted[name].shape)}"
            raise ValueError(f"the shape of {name} is {shapes}")
        if not tensor.isfinite().all():
            raise ValueError(f"{name} has numbers that are not finite")
