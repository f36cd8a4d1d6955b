"""Names of torch that another version may lack: private ones, and a recent public one.

The package uses no others, and each stands here with the failure that it prevents. If a torch lacks one, its
public function is used: slower, or with other last bits. SOFTTARGETS_PLAIN_TORCH=1 in the environment turns all
private names off, in case a later torch means something else by them.
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
"""Whether private names of torch are turned off."""
CPUINFO = Path("/proc/cpuinfo")
COMPILER = "torch._dynamo"


@functools.cache
def cpuinfo() -> dict[str, str]:
    """Return Linux's description of the first processor; empty on other systems."""
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
    description = cpuinfo()
    flags = description.get("flags", "").split()
    instructions = {"avx512_f": "avx512f", "avx512_bf16": "avx512_bf16", "amx_bf16": "amx_bf16"}
    # hypervisors hide the model's name, but not the vendor's
    processor = f"{description.get('vendor_id', '')} {description.get('model name', '')}".strip()
    return {"cpu_name": processor} | {name: flag in flags for name, flag in instructions.items()}


def has_product() -> bool:
    """Return whether `product` can be used.

    MKL, torch's own choice for float32, uses no more than AVX2 on AMD's processors: products take twice the time
    there. Layers must not use `product` under `vmap` and `grad`, so torch must report when these are active.
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


def wrap_calls(wrap: Callable[[Callable], Callable]) -> Callable[[], None]:
    """Have `wrap(usual)` called in the place of `usual`, the call of any module; return what undoes this.

    Torch's public way, hooks on all modules, sends the call of every layer a longer way.
    """
    usual = torch.nn.Module.__call__
    torch.nn.Module.__call__ = wrap(usual)

    def undo() -> None:
        torch.nn.Module.__call__ = usual

    return undo


PRODUCT_FLOPS = {torch.ops.mkldnn._linear_pointwise: product_flops} if has_product() else {}


UNWRAP = getattr(torch.func, "debug_unwrap", lambda tensor: tensor)


def unwrapped(tensor: Tensor) -> Tensor:
    """Return the tensor under all that `vmap`, `grad` and other transforms of torch.func have put around it.

    torch 2.6 lacks the public `torch.func.debug_unwrap`; there a call under `vmap` counts as one sample.
    """
    return UNWRAP(tensor)


def in_transform() -> bool:
    """Return whether `vmap`, `grad` or another transform of torch.func is active.

    An autograd.Function that saves its inputs in `forward` raises a RuntimeError in a transform. Call it only if
    `has_product` is true: a torch may lack this function.
    """
    return torch._C._are_functorch_transforms_active()


class Compiler(types.ModuleType):
    """Stand-in for `torch._dynamo` with the two functions that optimisers call; other names import the module."""

    def graph_break(self) -> None:
        """Do nothing: no graph is compiled."""

    def disable(self, fn: Callable | None = None, *args: object, **kwargs: object) -> Callable:
        """Return the function as it is: it is not compiled."""
        return fn if fn is not None else self.real().disable(fn, *args, **kwargs)

    def __getattr__(self, name: str) -> object:
        # `inspect` reads such names of every module: that must not import the compiler
        if name.startswith("__") and name != "__path__":
            raise AttributeError(name)
        return getattr(self.real(), name)

    def real(self) -> types.ModuleType:
        """Import the module that this stands in for."""
        if sys.modules.get(COMPILER) is self:
            del sys.modules[COMPILER]
        return importlib.import_module(COMPILER)


def delay_compiler() -> None:
    """Delay torch's import of its compiler until something is compiled.

    Every optimiser imports it, though a run compiles nothing: it takes as much CPU time as `import torch`.
    """
    if not PLAIN and COMPILER not in sys.modules:
        sys.modules[COMPILER] = torch._dynamo = Compiler(COMPILER)
