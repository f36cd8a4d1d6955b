"""The values of `auto` on this machine: the device, and the precision of training."""

import functools
import time
import types


def resolve_machine(settings: dict) -> dict:
    """Return `device` and `precision` with `auto` resolved for this machine; both are part of a result."""
    device, precision = settings["device"], settings["precision"]
    if "auto" in (device, precision):
        import torch  # takes 1.5 s, which a finished sweep should not pay

        if device == "auto":
            # never Apple's mps, which has no float64, and measures are computed in it
            device = "cuda" if torch.cuda.is_available() else "cpu"
        if precision == "auto":
            precision = "bf16" if _multiplies_bf16(torch, device) else "float32"
    return {"device": device, "precision": precision}


@functools.cache
def _multiplies_bf16(torch: types.ModuleType, device: str) -> bool:
    """Return whether the processor multiplies matrices in bf16 faster than in float32.

    CPUs with AMX do. With the bf16 instructions of AVX-512 a product takes a quarter of float32's time on one
    processor and 1.7 times as much on another (`benchmarks/gemm.py`), so a trial of some milliseconds decides.
    """
    if device.startswith("cuda"):
        # a login node without a GPU resolves for nodes that have one: assume a recent GPU
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(including_emulation=False)
    from softtargets.compat import torch_names  # which imports torch

    able = torch_names.cpu()
    if device != "cpu" or not able.get("avx512_bf16", False):
        return False
    return able.get("amx_bf16", False) or 1.5 * _product(torch, torch.bfloat16) < _product(torch, torch.float32)


def _product(torch: types.ModuleType, dtype: object) -> float:
    """Return the CPU seconds of the mlp's largest product on one thread, the least of twenty."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that wait for each other count as work
    inputs, weights = torch.zeros(128, 784, dtype=dtype), torch.zeros(800, 784, dtype=dtype)
    times = []
    for _ in range(20):
        started = time.thread_time()
        torch.nn.functional.linear(inputs, weights)
        times.append(time.thread_time() - started)
    torch.set_num_threads(threads)
    return min(times)
