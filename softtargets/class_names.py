"""Names of classes, for figures and tables: those of the dataset, in shorter words where they are known."""

CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES = {"fashion_mnist": CLOTHES, "cifar10": THINGS}


def class_name(result: dict, number: int) -> str:
    """Return the name of a class in a run's result; `class 3` where the name is a number or not known.

    >>> class_name({"choices": {"dataset": "folder"}, "data": {"class_names": ["cat", "dog"]}}, 1)
    'dog'
    """
    known = NAMES.get(result["choices"]["dataset"]) or result["data"].get("class_names") or ()
    name = known[number] if number < len(known) else str(number)
    return f"class {number}" if name.isdecimal() else name


def class_names(result: dict, classes: int) -> list[str]:
    """Return a name for each of so many classes."""
    return [class_name(result, number) for number in range(classes)]
