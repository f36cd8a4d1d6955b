"""Parts as a user would bring them from a package of their own."""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from softtargets import datasets, forget_sets
from softtargets.fit import Fit
from softtargets.losses import cross_entropy
from softtargets.marks import measure, targets_kind


class TinyNet(nn.Module):
    """A network that takes the class count but not the input shape."""

    def __init__(self, classes: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, classes))

    def forward(self, inputs):
        return self.layers(inputs)


class TinyNetOfProbs(TinyNet):
    """A network that goes on after its last linear layer."""

    def forward(self, inputs):
        return self.layers(inputs).log_softmax(1)


def broken(original, forget, retain, fit):
    """An algorithm that fails at run time."""
    return 1 / 0


def broken_at_16(original, forget, retain, fit):
    """An algorithm that fails at one setting."""
    return original if fit.batch_size != 16 else 1 / 0


def broken_at_16_twice(original, forget, retain, fit):
    """An algorithm that fails at one setting; before the third run, the test has to let all go on."""
    if fit.batch_size == 16 and fit.seed < 2:
        return 1 / 0
    wait_for(Path(os.environ["SOFTTARGETS_STORE"], "open"))
    return broken_at_16(original, forget, retain, fit)


def by_two(original, forget, retain, fit):
    """An algorithm that goes on once two processes have come to it."""
    store = Path(os.environ["SOFTTARGETS_STORE"])
    (store / f"came-{os.getpid()}").touch()
    while len(list(store.glob("came-*"))) < 2:
        time.sleep(0.02)
    return original


def wait_for(file: Path) -> None:
    """Wait until a test has made this file."""
    while not file.exists():
        time.sleep(0.02)


def in_place(original, forget, retain, fit):
    """An algorithm that unlearns in the original itself."""
    return fit(original, lambda batch: -cross_entropy(original(batch.inputs), batch.targets), forget)


def killed_once(original, forget, retain, fit):
    """An algorithm during which the process is killed from outside, the first time."""
    mark = Path(os.environ["SOFTTARGETS_STORE"], "killed")
    if fit.seed == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return original


def killed_in_two_tries(original, forget, retain, fit):
    """An algorithm during which the process is killed from outside on the second pair of a search, twice."""
    store = Path(os.environ["SOFTTARGETS_STORE"])
    number = len(list(store.glob("killed-*")))
    if fit.seed == 1001 and type(fit) is Fit and number < 2:  # not while its cost is rehearsed
        (store / f"killed-{number}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return in_place(original, forget, retain, fit)


def first_class(source):
    """A kind of targets: whatever it is, it is the first class."""
    targets = source.one_hot() * 0
    targets[:, 0] = 1
    return targets


@targets_kind(upper_bound=True)
def peek(source):
    """A kind of targets that draws on the retrained model, and is marked so."""
    return source.logits("retrained").softmax(1)


def unmarked_peek(source):
    """A kind of targets that does so without the mark."""
    return peek(source)


def oracle_of_nothing(source):
    """A kind of targets whose name alone says that it draws on the retrained model."""
    return first_class(source)


def edits_its_list(original, forget, retain, fit):
    """An algorithm during which somebody edits the list of what is to be forgotten."""
    Path("ed.txt").write_text("".join(f"{number}\n" for number in range(30)))
    return original


def hungry(original, forget, retain, fit):
    """An algorithm that asks for more memory than there is."""
    return torch.empty(10**15)


def gives_up(original, forget, retain, fit):
    """An algorithm that ends the program."""
    sys.exit("I give up")


class Stubborn(Exception):
    """An error that cannot be unpickled, since it is made of two arguments and has one."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def stubborn(original, forget, retain, fit):
    """An algorithm whose error cannot cross from a worker to the sweep."""
    raise Stubborn("one", "two")


def certainty(model, logits, data) -> float:
    """Mean probability of the predicted class on the forget set.

    Computed from logits alone.
    """
    return logits["forget"].softmax(1).amax(1).mean().item()


@measure(lower_is_better=True)
def noise(model, logits, data) -> dict[str, float]:
    """Loss of probability under noise on the inputs.

    It draws, and changes the model that it is given.
    """
    inputs, labels = data.forget.inputs, data.forget.labels[:, None]
    with torch.no_grad():
        noisy = model(inputs + torch.randn(inputs.shape)).softmax(1).gather(1, labels)
        next(model.parameters()).zero_()
    clean = logits["forget"].softmax(1).gather(1, labels)
    return {"mean": (clean - noisy).mean().item(), "samples": len(labels)}


def few_images():
    """Data that takes no settings."""
    return datasets.mnist_5k()


def colours():
    """Colour images of five classes: 2,000 to train and 500 to test, of 8 x 8 pixels.

    An image is the smooth pattern of its class under noise that hides it now and then, so that there is something
    to memorise.
    """
    draw = torch.Generator().manual_seed(0)
    patterns = torch.nn.functional.interpolate(torch.randn(5, 3, 3, 3, generator=draw), 8, mode="bilinear")
    labels = torch.arange(2500) % 5
    noise = 1.5 * torch.randn(2500, 3, 8, 8, generator=draw)
    pixels = (128 + 30 * (patterns[labels] + noise)).clamp(0, 255).to(torch.uint8)
    names = ("ash", "birch", "cedar", "dogwood", "elm")
    return datasets.Images(pixels[:2000], labels[:2000], pixels[2000:], labels[2000:], names, None)


def any_number(*, images: int, size: int):
    """Random colour images of any number and size."""
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (images, 3, size, size), generator=draw, dtype=torch.uint8)
    labels, train = torch.arange(images) % 10, images * 5 // 6
    return datasets.Images(pixels[:train], labels[:train], pixels[train:], labels[train:], datasets.DIGITS, None)


class Coarse(nn.Sequential):
    """A network that looks at means of 8 x 8 pixels."""

    def __init__(self, input_shape: tuple[int, ...], classes: int):
        super().__init__(nn.AvgPool2d(8), nn.Flatten(), nn.Linear(3 * (input_shape[1] // 8) ** 2, classes))


def first_ones(candidates, generator):
    """A forget set without settings."""
    return forget_sets.random(candidates, generator, fraction=0.1)
