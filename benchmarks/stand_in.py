"""One run as it is usually written: PIL images through a DataLoader and transforms, one by one.

`python benchmarks/stand_in.py [architecture=mlp] [whole=false]` trains, retrains, makes soft labels one image at a
time, unlearns by graddiff and evaluates, on all of Fashion-MNIST with the seed project's hyper-parameters, and
prints CPU and wall seconds as JSON. An epoch costs what the epoch before it did: unless `whole=true`, one of each
kind is run and counted as often as it occurs.
"""

import itertools
import json
import sys
import time

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from softtargets.datasets import fashion_mnist

TRAINING, UNLEARNING, BATCH = 10, 5, 32
FORGET = 6000


class Images(Dataset):
    """A list of PIL images with their labels, or soft labels, and transforms."""

    def __init__(self, arrays: torch.Tensor, labels: list):
        self.images = [Image.fromarray(array) for array in arrays.numpy()]
        self.labels = labels
        self.transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.2860,), (0.3530,))])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int):
        return self.transform(self.images[i]), self.labels[i]


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
def soft(model: nn.Module, images: Images, temperature: float = 0.5) -> list[torch.Tensor]:
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


def main(architecture: str = "mlp", whole: str = "false", root: str = "data") -> None:
    """Run and print what it took."""
    torch.set_num_threads(1)
    clock, done = Clock(), {"training": TRAINING, "unlearning": UNLEARNING} if whole == "true" else {}
    found = fashion_mnist(root=root)
    arrays, labels = found.train_pixels[:, 0], found.train_labels.tolist()
    train = clock("loading", 1, lambda: Images(arrays, labels))
    test = Images(found.test_pixels[:, 0], found.test_labels.tolist())
    retain = Images(arrays[FORGET:], labels[FORGET:])
    models = []
    for name, data in (("original", train), ("retrained", retain)):
        model = network(architecture)
        optimizer = torch.optim.Adam(model.parameters(), 1e-4)
        ran = done.get("training", 1)
        clock(name, TRAINING // ran, lambda: [epoch(model, optimizer, data, test) for _ in range(ran)])  # noqa: B023
        models.append(model)
    targets = clock("soft labels", 1, lambda: soft(models[0], train))
    forget, retain = Images(arrays[:FORGET], targets[:FORGET]), Images(arrays[FORGET:], targets[FORGET:])
    ran = done.get("unlearning", 1)
    clock("unlearning", UNLEARNING // ran, lambda: [unlearn(models[0], forget, retain, test) for _ in range(ran)])
    clock("evaluation", 3, lambda: [accuracy(models[0], data) for data in (train, test)])
    cpu, wall = (sum(column) for column in zip(*clock.spent.values(), strict=True))
    parts = {what: round(seconds[0], 1) for what, seconds in clock.spent.items()}
    print(json.dumps({"cpu": cpu, "wall": wall, "parts": parts}))


if __name__ == "__main__":
    main(**dict(word.split("=", 1) for word in sys.argv[1:]))
