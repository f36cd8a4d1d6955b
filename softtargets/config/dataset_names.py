"""Names of datasets in tables: what a dataset's config declares as `display_name`, else its option."""

from softtargets.config.names import composed
from softtargets.errors import BadInput

SETTING = "display_name"
"""A line in the config of a dataset. It is no setting of a run, and has no part in its hash."""
CHOICE = "dataset_name"
"""The choice by which a result has the name that a user's config declares."""
MOST = 60
"""Characters of a name, at most."""


class DatasetName(str):
    """A dataset by its option, by which results are grouped and compared; `shown` is its name for readers."""

    shown: str

    def __new__(cls, option: str, shown: str) -> "DatasetName":
        """Return the option with its name for readers.

        >>> name = DatasetName("cifar10_jpeg", "CIFAR-10 (JPEG)")
        >>> name == "cifar10_jpeg", name.shown
        (True, 'CIFAR-10 (JPEG)')
        """
        name = super().__new__(cls, option)
        name.shown = shown
        return name


def shown(value: object) -> str:
    """Return a value as readers see it: a dataset by its name, any other as it is."""
    return value.shown if isinstance(value, DatasetName) else str(value)


def declared(option: str) -> str | None:
    """Return the name that the config of one of our datasets declares.

    >>> declared("cifar10_jpeg"), declared("mnist")
    ('CIFAR-10 (JPEG)', None)
    """
    return (composed("dataset", option) or {}).get(SETTING)


def called(name: str, choices: dict) -> str:
    """Return the name for readers of the dataset `name` of a run with these choices.

    >>> called("birds", {"dataset": "birds", "dataset_name": "Birds of Kenya"}), called("cifar10_jpeg", {})
    ('Birds of Kenya', 'CIFAR-10 (JPEG)')
    """
    option, *rest = name.split(" ")
    return " ".join([choices.get(CHOICE) or declared(option) or option, *rest])


def taken(dataset: dict, option: str) -> dict[str, str]:
    """Take the declared name out of a dataset's config, and return the choice that a result has for it.

    Nothing for the names of our own configs, which reports know. Raises BadInput for what is no name.
    """
    name = dataset.pop(SETTING, None)
    if name in (None, declared(option)):
        return {}
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > MOST:
        raise BadInput(f"dataset.{SETTING}={name!r}: must be a text of 1 to {MOST} characters in one line")
    return {CHOICE: name.strip()}
