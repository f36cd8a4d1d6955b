"""The residual networks' recipes on CIFAR-10 (JPEG): accuracy and cost.

`python benchmarks/cifar.py path=DIR [recipe=resnet9] [train_size=null] [seed=0]` reads DIR/train/CLASS/* and
DIR/test/CLASS/*, trains an original (or takes it from the store) and prints a row. Settings, such as
training.min_epochs=15, go to the training.
"""

from recipes import trained
from usage import call


def main(path: str, recipe: str = "resnet9", train_size: str = "null", seed: str = "0", **settings: str) -> None:
    """Print the row."""
    print("| recipe | test accuracy | forget - test | epochs | CPU s |\n|---|---|---|---|---|")
    more = [f"dataset.path={path}", f"dataset.train_size={train_size}"]
    more += [f"{name}={value}" for name, value in settings.items()]
    test, gap, epochs, cpu = trained(recipe, recipe, int(seed), *more, dataset="cifar10_jpeg")
    print(f"| {recipe} | {test:.4f} | {gap:.4f} | {epochs} | {cpu:.0f} |", flush=True)


if __name__ == "__main__":
    call(main, __doc__)
