"""Matrix products in bf16 against float32 on this processor, one thread: what `precision=auto` rests on.

`python benchmarks/gemm.py` prints GFLOP/s of both at the mlp's shapes, and their ratio.
"""

import time

import torch
from usage import call

from softtargets.compat import torch_names

SHAPES = ((128, 784, 800), (256, 784, 800), (1024, 1024, 1024))
REPEATS = 50


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    print(f"amx_bf16: {torch_names.cpu().get('amx_bf16', False)}")
    print("| product | float32 GFLOP/s | bf16 GFLOP/s | bf16 / float32 |\n|---|---|---|---|")
    for shape in SHAPES:
        single, half = (speed(shape, dtype) for dtype in (torch.float32, torch.bfloat16))
        print(f"| {'x'.join(map(str, shape))} | {single:.0f} | {half:.0f} | {half / single:.2f} |")


def speed(shape: tuple[int, int, int], dtype: torch.dtype) -> float:
    """Return GFLOP per CPU second of inputs (m, k) times weights (n, k) transposed."""
    m, k, n = shape
    inputs, weights = torch.randn(m, k, dtype=dtype), torch.randn(n, k, dtype=dtype)
    for _ in range(5):
        torch.nn.functional.linear(inputs, weights)
    started = time.process_time()
    for _ in range(REPEATS):
        torch.nn.functional.linear(inputs, weights)
    return 2 * m * k * n * REPEATS / (time.process_time() - started) / 1e9


if __name__ == "__main__":
    call(main, __doc__)
