"""A linear layer in float32 that uses the faster of two libraries for its products."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from softtargets.compat import torch_names
from softtargets.compat.torch_names import product


def _faster() -> bool:
    """Return whether this processor is one on which oneDNN multiplies faster than MKL."""
    able = torch_names.cpu()
    return bool(able.get("avx512_f", False)) and "AMD" in able.get("cpu_name", "") and torch_names.has_product()


FASTER = _faster()
"""Whether oneDNN multiplies faster than MKL, torch's choice for float32: on AMD processors MKL uses AVX2 alone."""


class Linear(nn.Linear):
    """`torch.nn.Linear`, multiplied by oneDNN where that is faster: on AMD's AVX-512 in half of the time.

    Its last bits may differ from those of torch's, by rounding.

    >>> Linear(784, 10)(torch.zeros(2, 784)).shape
    torch.Size([2, 10])
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """Return inputs (n, in) times weights (out, in), transposed, plus bias (out)."""
        # `product` takes float32 matrices alone, and not those of no row
        plain = inputs.device.type == "cpu" and inputs.dtype == self.weight.dtype == torch.float32
        if FASTER and plain and inputs.dim() == 2 and len(inputs) and not _in_other_mode():
            return _Product.apply(inputs, self.weight, self.bias)
        return super().forward(inputs)


def _in_other_mode() -> bool:
    """Return whether autocast or a transform such as vmap has to see the product, which `_Product` would hide."""
    return torch.is_autocast_enabled("cpu") or torch_names.in_transform()


class _Product(torch.autograd.Function):
    """The product y = x Wᵀ + b of oneDNN, with the derivatives that it lacks."""

    @staticmethod
    def forward(ctx, inputs, weight, bias):
        ctx.save_for_backward(inputs, weight)
        return product(inputs, weight, bias)

    @staticmethod
    def backward(ctx, grad):
        inputs, weight = ctx.saved_tensors
        # under create_graph=True the backward pass is differentiated too, which `product` does not support
        multiply = F.linear if torch.is_grad_enabled() else product
        needs = ctx.needs_input_grad
        # y = x Wᵀ + b: dx = g W, dW = gᵀ x, db = the sum of g; `multiply(a, b)` is a bᵀ
        return (
            multiply(grad, weight.t()) if needs[0] else None,
            multiply(grad.t(), inputs.t()) if needs[1] else None,
            grad.sum(0) if needs[2] else None,
        )
