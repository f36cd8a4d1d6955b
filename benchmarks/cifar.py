"""The residual networks' recipes on colour images of 32 x 32, such as CIFAR-10: accuracy and cost.

`python benchmarks/cifar.py path=DIR [recipe=resnet9] [train_size=null] [seed=0]` reads DIR/train/CLASS/* and
DIR/test/CLASS/*, trains an original (or takes it from the store) and prints a row. Settings, such as
training.min_epochs=15, go to the training.
"""

from recipes import trained
from usage import call

COLOURS = ("dataset.mean=[0.4914,0.4822,0.4465]", "dataset.std=[0.247,0.2435,0.2616]")


def main(path: str, recipe: str = "resnet9", train_size: str = "null", seed: str = "0", **settings: str) -> None:
    """Print the row."""
    print("| recipe | test accuracy | forget - test | epochs | CPU s |\n|---|---|---|---|---|")
    images = (f"dataset.path={path}", "dataset.channels=3", "dataset.size=32", *COLOURS)
    more = (*images, f"dataset.train_size={train_size}", *(f"{name}={value}" for name, value in settings.items()))
    test, gap, epochs, cpu = trained(recipe, recipe, int(seed), *more, dataset="folder")
    print(f"| {recipe} | {test:.4f} | {gap:.4f} | {epochs} | {cpu:.0f} |", flush=True)


if __name__ == "__main__":
    call(main, __doc__)
