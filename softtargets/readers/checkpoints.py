"""Checkpoints of users: the weights of one model by name, in a file of safetensors or torch.save.

No code in a file is executed: from a pickle, torch builds tensors and plain containers and refuses all else.
"""

import collections
import pickle
import re
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from softtargets.errors import reason
from softtargets.system.words import counted

State = Mapping[str, Tensor]
WRAPPERS = ("module", "_orig_mod")
"""Prefixes that DataParallel and torch.compile add to the names of a model or of a part."""
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""Parts of torchvision's GoogLeNet and Inception v3 that work in training alone; every published file has them."""
SAVE = "Save model.state_dict() alone"
SAME = "Choose the architecture that it was saved from, and images of the same size and as many classes"


def read_weights(file: Path, wanted: State) -> dict[str, Tensor]:
    """Return the weights in a file, with the names and dtypes of `wanted`, the architecture's state dict.

    Raises ValueError if the file holds other weights or none, and OSError if it cannot be opened.
    """
    return fitted(_content(file), wanted)


def read_start(file: Path, wanted: State, head: Collection[str]) -> dict[str, Tensor]:
    """Return the weights in a file as `read_weights` does, but none of the `head` if one is missing or misshapen.

    Raises as `read_weights` does.
    """
    state = _renamed(_weights(_content(file)), wanted)
    if all(name in state and state[name].shape == wanted[name].shape for name in head):
        return fitted(state, wanted)
    body = {name: tensor for name, tensor in wanted.items() if name not in head}
    return fitted({name: tensor for name, tensor in state.items() if name not in head}, body)


def _content(file: Path) -> object:
    """Return the content of a file; its first bytes decide the format, since suffixes vary."""
    if not file.is_file():
        raise ValueError("it is no file. Give the path of a file" if file.exists() else "no such file")
    if not file.stat().st_size:
        raise ValueError(f"it is empty. {SAVE}")
    with file.open("rb") as opened:
        start = opened.read(9)
    try:
        if start[8:] == b"{":  # after eight bytes for the length of the header
            return safetensors.torch.load_file(file)
        if start.startswith((b"PK\x03\x04", b"\x80")):  # a zip, or a pickle as torch.save wrote it before 1.6
            with file.open("rb") as opened, warnings.catch_warnings(action="ignore"):  # about a file it refuses
                return torch.load(opened, map_location="cpu", weights_only=True)  # of a path the suffix counts
    except pickle.UnpicklingError as error:  # its message advises to execute the file
        names = ", ".join(dict.fromkeys(re.findall(r"GLOBAL (\S+)", str(error)))) or "objects"
        raise ValueError(f"it holds more than tensors ({names}), and is not executed. {SAVE}") from error
    except Exception as error:  # damaged files and other zips raise many types
        why = reason(error)[:200]
        kind = "a TorchScript archive" if "TorchScript" in why else f"damaged or no checkpoint ({why})"
        raise ValueError(f"it is {kind}. {SAVE}") from error
    raise ValueError(f"it is no file of torch.save or safetensors. {SAVE}")


def fitted(content: object, wanted: State) -> dict[str, Tensor]:
    """Return the weights in a checkpoint's content, with the names and dtypes of `wanted`.

    The weights may be under a key, such as Lightning's `state_dict`. Raises ValueError for a missing or an unknown
    name, and for another shape or kind of number.
    """
    state = _renamed(_weights(content), wanted)
    for what, names in (("lacks", wanted.keys() - state.keys()), ("has in excess", state.keys() - wanted.keys())):
        if names:
            listed = f"{', '.join(sorted(names)[:3])}{' …' if len(names) > 3 else ''}"
            raise ValueError(f"it {what} {listed}. Choose the architecture that it was saved from")
    _require_channels(state, wanted)
    return {name: _cast(name, state[name], tensor) for name, tensor in wanted.items()}


def _require_channels(state: State, wanted: State) -> None:
    """Raise ValueError for weights that differ in the inputs of the first convolution: the channels of images."""
    name = next((name for name, tensor in wanted.items() if tensor.ndim == 4), None)
    if name is None or state[name].ndim != 4:
        return
    (outputs, theirs, *sides), (wanted_outputs, ours, *wanted_sides) = state[name].shape, wanted[name].shape
    if theirs != ours and (outputs, sides) == (wanted_outputs, wanted_sides):
        advice = f"dataset.channels={theirs} for images of a folder, or " if theirs in (1, 3) else ""
        raise ValueError(
            f"its first convolution, {name}, is for images of {counted(theirs, 'channel')}, and these have "
            f"{ours}. Choose {advice}other weights"
        )


def _weights(content: object) -> State:
    """Return the only state dict in a checkpoint: the content itself, or the value of one key."""
    if _is_state(content):
        return content
    inside = content if isinstance(content, Mapping) else {}
    nested = {name: part for name, part in inside.items() if _is_state(part)}
    if "state_dict" in nested:  # Lightning's; tensors among its hyperparameters are no second model
        return nested["state_dict"]
    if len(nested) > 1:
        raise ValueError(f"it holds several models ({', '.join(map(str, nested))}). Save one of them alone")
    if not nested:
        raise ValueError(f"{_described(content)}. {SAVE}")
    return next(iter(nested.values()))


def _is_state(part: object) -> bool:
    if not isinstance(part, Mapping) or not part:
        return False
    return all(isinstance(name, str) and isinstance(value, Tensor) for name, value in part.items())


def _described(content: object) -> str:
    values = content if isinstance(content, Mapping) else {}
    others = [name for name, value in values.items() if not isinstance(value, Tensor)]
    if others and len(others) < len(values):
        return f"{others[0]} in it is no tensor"
    return f"it holds {type(content).__name__}, not tensors by name"


def _renamed(state: State, wanted: State) -> State:
    """Return a state dict with the names that fit `wanted` best: unchanged, without a prefix, or unwrapped.

    Auxiliary parts that `wanted` lacks are left out, since no prediction uses them.
    """
    ways = (state, _without_prefix(state, wanted), _unwrapped(state, wanted))
    best = max(ways, key=lambda names: len(names.keys() & wanted.keys()))  # of equals the first
    return {name: tensor for name, tensor in best.items() if name in wanted or not name.startswith(AUXILIARY)}


def _without_prefix(state: State, wanted: Collection[str]) -> State:
    """Drop the prefix before most of the `wanted` names, such as "model." or "module._orig_mod."."""
    prefixes = collections.Counter(start for name in state for start, end in _cuts(name) if end in wanted)
    if not prefixes:
        return state
    prefix = prefixes.most_common(1)[0][0]
    return _named(state, [name.removeprefix(prefix) for name in state])


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """Yield every way to cut a dotted name in two; the dot stays with the start."""
    for dot in re.finditer(r"^|\.", name):
        yield name[: dot.end()], name[dot.end() :]


def _unwrapped(state: State, wanted: State) -> State:
    """Drop the wrappers' prefixes inside names: a model with one wrapped part has `features.module.0.weight`."""
    own = {_bare(name): name for name in wanted}  # the model's own names may contain them too
    bare = _without_prefix(_named(state, [_bare(name) for name in state]), own)
    return _named(bare, [own.get(name, name) for name in bare])


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _named(state: State, names: list[str]) -> State:
    """Return the tensors with new names, or the state unchanged if two names would be equal."""
    renamed = dict(zip(names, state.values(), strict=True))
    return renamed if len(renamed) == len(state) else state


def _cast(name: str, tensor: Tensor, wanted: Tensor) -> Tensor:
    """Return a tensor in the dtype of `wanted`; raise ValueError for another shape or kind of number."""
    if tensor.shape != wanted.shape:
        shapes = f"{tuple(tensor.shape)}, and must be {tuple(wanted.shape)}"
        raise ValueError(f"the shape of {name} is {shapes}. {SAME}")
    if tensor.is_floating_point() != wanted.is_floating_point() or tensor.is_complex() != wanted.is_complex():
        kinds = f"{tensor.dtype}, and must be {wanted.dtype} or another of its kind"
        raise ValueError(f"{name} is {kinds}. Save the weights before they are quantised or converted")
    return tensor.detach().to(wanted.dtype)


def require_finite(state: State) -> None:
    """Raise ValueError for the first tensor that holds NaN or infinity."""
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            kind = f"has numbers that are not finite in {tensor.dtype}"
            raise ValueError(f"{name} {kind}. Give the weights of a model that did not diverge")
