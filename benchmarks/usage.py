"""What a benchmark does with the words of its command line: `--help`, and words that it cannot take."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from softtargets.cli import refusals
from softtargets.errors import BadInput


def call(main: Callable, usage: str) -> None:
    """Call `main` with what was typed; print `usage` for --help, exit with 2 for words that it does not take."""
    typed = sys.argv[1:]
    if {"-h", "--help"} & set(typed):
        print(usage.strip())
        sys.exit(0)
    if flags := [word for word in typed if word.startswith("-")]:
        _refuse(f"{flags[0]}: no such word; --help says what is taken")
    kinds = {parameter.kind for parameter in inspect.signature(main).parameters.values()}
    named = {} if inspect.Parameter.VAR_POSITIONAL in kinds else _named(typed)
    try:
        inspect.signature(main).bind(**named) if named else inspect.signature(main).bind(*typed)
    except TypeError as error:
        _refuse(f"{' '.join(typed)}: {error}; --help says what is taken")
    try:
        main(**named) if named else main(*typed)
    except (BadInput, HydraException, OmegaConfBaseException) as error:
        _refuse(refusals.refusal(error))


def _named(typed: list[str]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in typed) if all("=" in word for word in typed) else {}


def _refuse(reason: str) -> NoReturn:
    print(f"{Path(sys.argv[0]).name}: {reason}", file=sys.stderr)
    sys.exit(2)
