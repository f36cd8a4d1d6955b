"""The device on which a run computes: its random numbers, and the wait for what it still computes."""

import contextlib

import torch
from torch import nn


def forked_random(device: torch.device | str) -> contextlib.AbstractContextManager:
    """Let torch's own random numbers, of the processor and of this device, be as before after a block.

    >>> before = torch.random.get_rng_state()
    >>> with forked_random("cpu"):
    ...     _ = torch.rand(1)
    >>> torch.equal(before, torch.random.get_rng_state())
    True
    """
    # named: torch would copy the state of every GPU there is, with a warning where there are several
    devices = [torch.device(device)] if torch.device(device).type == "cuda" else []
    return torch.random.fork_rng(devices=devices)


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a model's first parameter; the processor for a model without any."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def waits(device: torch.device | str) -> bool:
    """Return whether reading a number from this device waits for all that it was given to compute."""
    return torch.device(device).type != "cpu"


def wait_for(device: torch.device | str) -> None:
    """Return once a device has computed all that it was given; a processor always has."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)


def sent(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """Return a tensor on a device. One of the processor comes without waiting for what the device computes."""
    # only from pinned memory does the copy wait its turn in the background
    pinned = tensor.pin_memory() if torch.device(device).type == "cuda" and tensor.is_cpu else tensor
    return pinned.to(device, non_blocking=True)
