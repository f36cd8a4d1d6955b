"""One run as it is usually written: PNG files through ImageFolder, transforms and a DataLoader, one by one.

`python benchmarks/stand_in.py [architecture=mlp] [whole=false] [images=60000]` trains, retrains, makes soft labels
one image at a time, unlearns by graddiff and evaluates, on all of Fashion-MNIST with the seed project's
hyper-parameters, and prints CPU and wall seconds as JSON. An epoch costs what the epoch before it did: unless
`whole=true`, one of each kind is run and counted as often as it occurs. Writing the files is not counted. A tenth
is forgotten.
"""

import itertools
import json
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder
from usage import call

from softtargets.datasets import fashion_mnist

TRAINING, UNLEARNING, BATCH = 10, 5, 32


TRANSFORM = transforms.Compose(
    [transforms.Grayscale(), transforms.ToTensor(), transforms.Normalize((0.2860,), (0.3530,))]
)


class Targeted(Dataset):
    """Images of a dataset with other labels, which may be probabilities."""

    def __init__(self, images: Dataset, targets: list):
        self.images, self.targets = images, targets

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int):
        return self.images[i][0], self.targets[i]


def write(folder: Path, pixels: torch.Tensor, labels: torch.Tensor) -> ImageFolder:
    """Write a folder of PNG files for each class, and return the dataset of them."""
    for label in range(10):
        (folder / str(label)).mkdir(parents=True)
    for i, (image, label) in enumerate(zip(pixels.numpy(), labels.tolist(), strict=True)):
        Image.fromarray(image).save(folder / str(label) / f"{i}.png")
    return ImageFolder(str(folder), TRANSFORM)


class Clock:
    """CPU and wall seconds by what they were spent on."""

    def __init__(self):
        self.spent = {}

    def __call__(self, what: str, times: int, work):
        """Do `work`, and count it as if it was done so many times."""
        started = time.process_time(), time.perf_counter()
        found = work()
        spent = time.process_time() - started[0], time.perf_counter() - started[1]
        self.spent[what] = [times * seconds for seconds in spent]
        return found


def network(architecture: str) -> nn.Module:
    """Return the mlp or the cnn."""
    if architecture == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 800), nn.ReLU(), nn.Linear(800, 10))
    layers = []
    for inputs, outputs in itertools.pairwise((1, 32, 64, 128)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 9, 128), nn.ReLU(), nn.Linear(128, 10))


def epoch(model: nn.Module, optimizer, train: Dataset, test: Dataset) -> None:
    """Train for an epoch and evaluate."""
    model.train()
    for images, labels in DataLoader(train, BATCH, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    accuracy(model, test)


@torch.no_grad()
def accuracy(model: nn.Module, test: Dataset) -> float:
    """Return the accuracy on a dataset."""
    model.eval()
    right = sum((model(images).argmax(1) == labels).sum().item() for images, labels in DataLoader(test, BATCH))
    return right / len(test)


@torch.no_grad()
def soft(model: nn.Module, images: Dataset, temperature: float = 0.5) -> list[torch.Tensor]:
    """Return the model's own predictions, one image at a time."""
    model.eval()
    return [(model(images[i][0][None])[0] / temperature).softmax(0) for i in range(len(images))]


def unlearn(model: nn.Module, forget: Dataset, retain: Dataset, test: Dataset) -> None:
    """Do an epoch of graddiff over the forget set and evaluate."""
    optimizer = torch.optim.SGD(model.parameters(), 5e-5, momentum=0.9)
    model.train()
    pairs = zip(DataLoader(forget, BATCH, shuffle=True), DataLoader(retain, BATCH, shuffle=True), strict=False)
    for (forgotten, q), (kept, p) in pairs:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(kept), p) - nn.functional.cross_entropy(model(forgotten), q)
        loss.backward()
        optimizer.step()
    accuracy(model, test)


def main(architecture: str = "mlp", whole: str = "false", images: str = "60000", root: str = "data") -> None:
    """Run and print what it took."""
    torch.set_num_threads(1)
    clock, done = Clock(), {"training": TRAINING, "unlearning": UNLEARNING} if whole == "true" else {}
    found, count = fashion_mnist(root=root), int(images)
    with tempfile.TemporaryDirectory() as folder:
        train = write(Path(folder, "train"), found.train_pixels[:count, 0], found.train_labels[:count])
        test = write(Path(folder, "test"), found.test_pixels[:count, 0], found.test_labels[:count])
        order = torch.randperm(len(train)).tolist()
        forget, retain = Subset(train, order[: count // 10]), Subset(train, order[count // 10 :])
        models = []
        for name, data in (("original", train), ("retrained", retain)):
            model = network(architecture)
            optimizer = torch.optim.Adam(model.parameters(), 1e-4)
            ran = done.get("training", 1)
            clock(name, TRAINING // ran, lambda: [epoch(model, optimizer, data, test) for _ in range(ran)])  # noqa: B023
            models.append(model)
        forget, retain = clock(
            "soft labels", 1, lambda: [Targeted(data, soft(models[0], data)) for data in (forget, retain)]
        )
        ran = done.get("unlearning", 1)
        clock(
            "unlearning", UNLEARNING // ran, lambda: [unlearn(models[0], forget, retain, test) for _ in range(ran)]
        )
        clock("evaluation", 3, lambda: [accuracy(models[0], data) for data in (train, test)])
    cpu, wall = (sum(column) for column in zip(*clock.spent.values(), strict=True))
    parts = {what: round(seconds[0], 1) for what, seconds in clock.spent.items()}
    print(json.dumps({"cpu": cpu, "wall": wall, "parts": parts}))


if __name__ == "__main__":
    call(main, __doc__)
