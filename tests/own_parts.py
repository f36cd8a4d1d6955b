"""Parts as a user would bring them from a package of their own."""

from torch import nn


class TinyNet(nn.Module):
    """A network that takes the class count but not the input shape."""

    def __init__(self, classes: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, classes))

    def forward(self, inputs):
        return self.layers(inputs)


def broken(original, forget, retain, fit):
    """An algorithm that fails at run time."""
    return 1 / 0
