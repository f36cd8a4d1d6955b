"""Names of torch that other versions of it may lack: its private ones, and a public one that is young.

All that this package uses of them stands here, each with what goes wrong without it. Where a torch lacks one,
torch's public way takes its place: slower, or with other last bits. With SOFTTARGETS_PLAIN_TORCH=1 in the
environment no private name is used, in case a later torch means something else by it.
"""

import functools
import importlib
import os
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

SWITCH = "SOFTTARGETS_PLAIN_TORCH"
PLAIN = os.environ.get(SWITCH, "0") not in ("", "0")
"""Whether private names of torch are left alone."""
CPUINFO = Path("/proc/cpuinfo")
COMPILER = "torch._dynamo"


@functools.cache
def cpuinfo() -> dict[str, str]:
    """Return what Linux says of the first processor; nothing elsewhere."""
    try:
        text = CPUINFO.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return {}
    return dict(re.findall(r"^([^\t:]+?)\s*: *(.*)$", text, re.MULTILINE))


def cpu() -> dict[str, object]:
    """Return the processor's name as `cpu_name`, and whether it has `avx512_f`, `avx512_bf16` and `amx_bf16`.

    torch 2.8 and older lack `torch.cpu.get_capabilities`: without the check the first import ends with an
    AttributeError. Linux gives the same answers. Elsewhere an older torch trains in float32.
    """
    if hasattr(torch.cpu, "get_capabilities"):
        return dict(torch.cpu.get_capabilities())
    said = cpuinfo()
    flags = said.get("flags", "").split()
    instructions = {"avx512_f": "avx512f", "avx512_bf16": "avx512_bf16", "amx_bf16": "amx_bf16"}
    # hypervisors hide the model's name, but not who made it
    name = f"{said.get('vendor_id', '')} {said.get('model name', '')}".strip()
    return {"cpu_name": name} | {ours: flag in flags for ours, flag in instructions.items()}


def has_product() -> bool:
    """Return whether `product` can be used.

    MKL, torch's own choice for float32, keeps AMD's processors to AVX2: products take twice the time there. Layers
    that use `product` have to step aside under `vmap` and `grad`, so that torch must say when these are at work.
    """
    return (
        not PLAIN
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and hasattr(torch._C, "_are_functorch_transforms_active")
    )


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return a (n, k) times b (m, k), transposed, plus bias (m), multiplied by oneDNN; floats on the CPU."""
    return torch.ops.mkldnn._linear_pointwise(a, b, bias, "none", [], "")


def product_flops(a: torch.Size, b: torch.Size, *rest: object, **named: object) -> int:
    """Count the floating-point operations of `product` by its shapes, for torch's counter, which knows none."""
    return 2 * a[0] * a[1] * b[0]


PRODUCT_FLOPS = {torch.ops.mkldnn._linear_pointwise: product_flops} if has_product() else {}


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor under all that `vmap`, `grad` and other transforms of torch.func have put around it.

    torch 2.6 lacks the public `torch.func.debug_unwrap`; there a call under `vmap` counts as one sample.
    """
    return torch.func.debug_unwrap(tensor) if hasattr(torch.func, "debug_unwrap") else tensor


def in_transform() -> bool:
    """Return whether `vmap`, `grad` or another transform of torch.func is at work.

    An autograd.Function that keeps its inputs in `forward` raises a RuntimeError in them. `has_product` asks first
    whether torch can say so.
    """
    return torch._C._are_functorch_transforms_active()


class Compiler(types.ModuleType):
    """Stands for `torch._dynamo`, of which optimisers call two functions, until anything else is asked for."""

    def graph_break(self) -> None:
        """Do nothing: there is no graph."""

    def disable(self, fn: Callable | None = None, *args: object, **kwargs: object) -> Callable:
        """Return a function that is not compiled as it is."""
        return fn if fn is not None else self.real().disable(fn, *args, **kwargs)

    def __getattr__(self, name: str) -> object:
        # whoever looks through all modules, as `inspect` does, asks for nothing of this one
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> types.ModuleType:
        """Import what this stands for."""
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return importlib.import_module(COMPILER)


def delay_compiler() -> None:
    """Have torch import its compiler when it compiles, where it has not done so yet.

    Every optimiser imports it, though a run compiles nothing: as much CPU time as `import torch` itself.
    """
    if not PLAIN and COMPILER not in sys.modules:
        sys.modules[COMPILER] = torch._dynamo = Compiler(COMPILER)
