"""Docstrings and allowed values of settings, read from the source: `--help` imports neither torch nor a part."""

import ast
import functools
from collections.abc import Iterable
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
WORDS = {
    "int": "whole number",
    "float": "number",
    "str": "text",
    "bool": "true or false",
    "None": "null",
    "Any": "anything",
    "Place": "path",
    "Callable": "a part with its settings",
}
"""What a setting takes, by the name of its type."""


def first_sentence(target: str) -> str:
    """Return the first line of the docstring of a function of ours; nothing for another library's."""
    function = _function(target)
    return (ast.get_docstring(function) or "").partition("\n")[0] if function else ""


def parameters(target: str, names: Iterable[str]) -> dict[str, str]:
    """Return in words what the keyword-only parameters of these names take; nothing for another library's part."""
    function = _function(target)
    keywords = function.args.kwonlyargs if function else []
    annotations = {word.arg: word.annotation for word in keywords if word.arg in names}
    return {name: words_of(annotation, _file(target)) for name, annotation in annotations.items()}


def fields(*names: str) -> dict[str, str]:
    """Return in words what each field of these classes in config/settings.py takes, base classes included."""
    file = PACKAGE / "config/settings.py"
    classes = {node.name: node for node in _tree(file).body if isinstance(node, ast.ClassDef)}
    allowed: dict[str, str] = {}
    for node in map(classes.get, names):
        bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
        allowed |= fields(*bases)
        lines = [line for line in node.body if isinstance(line, ast.AnnAssign)]
        for line in lines:
            if isinstance(line.annotation, ast.Name) and line.annotation.id in classes:
                below = fields(line.annotation.id)
                allowed |= {f"{line.target.id}.{name}": words for name, words in below.items()}
            else:
                allowed[line.target.id] = words_of(line.annotation, file)
    return allowed


def optimizer() -> dict[str, str]:
    """Return in words what the settings of PyTorch's optimisers take, by name."""
    file = PACKAGE / "config/settings.py"
    table = _assigned(file)["OPTIMIZER"]
    return {key.value: words_of(value, file) for key, value in zip(table.keys, table.values, strict=True)}


def words_of(annotation: ast.expr, file: Path) -> str:
    """Return an annotation in words, such as "number from 0 to 1 or null"; `file` defines the names in it."""
    match annotation:
        case ast.Constant(value=None):
            return "null"
        case ast.Name(id=name) if name in WORDS:
            return WORDS[name]
        case ast.Name(id=name):
            return _named(name, file)
        case ast.BinOp(op=ast.BitOr(), left=left, right=right):
            words = words_of(left, file)
            return f"{words}{',' if ' and ' in words else ''} or {words_of(right, file)}"
        case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
            return _either([str(ast.literal_eval(choice)) for choice in _elements(choices)])
        case ast.Subscript(value=ast.Name(id="Annotated"), slice=ast.Tuple(elts=[inner, *limits])):
            return " ".join(filter(None, [words_of(inner, file), _limits(limits)]))
        case ast.Subscript(value=ast.Name(id="list"), slice=inner):
            return f"list of: {words_of(inner, file)}"
        case ast.Subscript(value=ast.Name(id="dict")):
            return "settings by name"
    raise ValueError(f"{file.name}: no words for the annotation {ast.unparse(annotation)}")


def _named(name: str, file: Path) -> str:
    """Put in words a type that the file itself or ranges.py gives a name."""
    for place in (file, PACKAGE / "ranges.py"):
        if name in _assigned(place):
            return words_of(_assigned(place)[name], place)
    raise ValueError(f"{file.name}: no words for the type {name}")


def _limits(calls: Iterable[ast.expr]) -> str:
    """Put the bounds in `Field(ge=…, lt=…)` in words; what else stands in an annotation has none."""
    fields = [call for call in calls if isinstance(call, ast.Call) and ast.unparse(call.func) == "Field"]
    bounds = {word.arg: _number(word.value) for field in fields for word in field.keywords}
    low = f"from {bounds['ge']}" if "ge" in bounds else f"above {bounds['gt']}" if "gt" in bounds else ""
    high = f"at most {bounds['le']}" if "le" in bounds else f"below {bounds['lt']}" if "lt" in bounds else ""
    if "multiple_of" in bounds:
        high += f", a multiple of {bounds['multiple_of']}"
    if "ge" in bounds and "le" in bounds:
        return f"{low} to {high.removeprefix('at most ')}"
    return " and ".join(filter(None, [low, high])) or _length(bounds)


def _length(bounds: dict[str, str]) -> str:
    least, most = bounds.get("min_length"), bounds.get("max_length")
    if least == most:
        return f"({least} of them)" if least else ""
    return f"({least} to {most} of them)" if most else "(not empty)"


def _number(node: ast.expr) -> str:
    """Return a bound as a reader writes it: 10^9 for 10**9."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        return f"{_number(node.left)}^{_number(node.right)}"
    return f"{ast.literal_eval(node):g}"


def _elements(node: ast.expr) -> list[ast.expr]:
    return node.elts if isinstance(node, ast.Tuple) else [node]


def _either(names: list[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _file(target: str) -> Path:
    """Return the file of a function of ours, named as in a `_target_`."""
    return PACKAGE.joinpath(*target.split(".")[1:-1]).with_suffix(".py")


def _function(target: str) -> ast.FunctionDef | None:
    if not target.startswith("softtargets.") or not _file(target).is_file():
        return None
    functions = (node for node in _tree(_file(target)).body if isinstance(node, ast.FunctionDef))
    return next((node for node in functions if node.name == target.rpartition(".")[2]), None)


@functools.cache
def _assigned(file: Path) -> dict[str, ast.expr]:
    """Return what a file assigns to each name at its top level."""
    lines = [line for line in _tree(file).body if isinstance(line, ast.Assign)]
    return {line.targets[0].id: line.value for line in lines if isinstance(line.targets[0], ast.Name)}


@functools.cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
