"""Names of the classes of known datasets, for figures and tables."""

CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
NAMES = {"fashion_mnist": CLOTHES, "cifar10": THINGS}


def class_name(dataset: str, number: int) -> str:
    """Return the name of a class; that of a dataset whose names are not known is its number."""
    known = NAMES.get(dataset, ())
    return known[number] if number < len(known) else f"class {number}"


def class_names(dataset: str, classes: int) -> list[str]:
    """Return a name for each of so many classes: numbers if a dataset is known to have another number of them."""
    known = dataset if len(NAMES.get(dataset, ())) == classes else ""
    return [class_name(known, number) for number in range(classes)]
