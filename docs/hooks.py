"""Hooks of MkDocs: pages that are generated, and links that leave docs/.

README, CONTRIBUTING, CHANGELOG and each file that a page links to become pages of the site: Markdown as it is,
source as a block of code. A link so works on the site and in the web view of the repository.
"""

import ast
import functools
import inspect
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.structure.files import File

from softtargets.cli import help as help_pages
from softtargets.cli import options

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(?<=\]\()(?![a-z]+:)[^)#\s]+")
"""The path of a link to a file; an address with a scheme is none."""
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/results/speed.md")
"""Pages outside docs/ that are in the navigation."""
HOME = "index.md"
PUBLIC = {
    "softtargets/cli/from_python.py": ("run", "sweep"),
    "softtargets/report/rows.py": ("results", "trajectories"),
    "softtargets/execution/saved_models.py": ("load",),
    "softtargets/report/audit.py": ("audit",),
    "softtargets/tuning/search.py": ("search",),
    "softtargets/marks.py": ("algorithm", "targets_kind", "forget_set", "dataset", "measure"),
    "softtargets/losses.py": ("cross_entropy", "kl_divergence"),
    "softtargets/types.py": ("Samples",),
    "softtargets/targets.py": ("Source",),
}
"""Functions and classes for scripts and parts of one's own, by file."""

SETTINGS = """\
# Settings

Each section is what `python run.py --help GROUP` prints: options, settings with their defaults, and what
they allow. A setting is typed as it stands here, such as `unlearn.epochs=3`."""
ALGORITHMS = """\
# Algorithms with equations

What the function of each algorithm says of itself. θ are the weights of the model, θ0 those of the
original; p_k(x; θ) is the probability of class k, q a row of targets, y the label. CE is the mean cross
entropy over a batch; f stands for the forget set and r for the retain set."""
API = """\
# Public functions

`import softtargets` gives `run`, `sweep`, `results`, `trajectories`, `load`, `audit` and `search`.
Everything else is imported from the module that stands above it."""


def on_files(files, config):
    """Add the generated pages, and a page for each file outside docs/ that a page links to."""
    outside.cache_clear()  # `mkdocs serve` calls this again after an edit
    generated = {"settings.md": settings(), "algorithms.md": algorithms(), "api.md": api()}
    for name, text in (generated | {page_of(name): text_of(name) for name in outside()}).items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown, page, config, files):
    """Return a page's text with its links led to pages of the site."""
    uri = page.file.src_uri
    source = next((name for name in outside() if page_of(name) == uri), f"docs/{uri}")
    return markdown if uri.startswith("source/") else rewritten(markdown, source)


def rewritten(text: str, source: str) -> str:
    """Return the text of a file with its links to files of the repository led to their pages."""
    here = posixpath.dirname(page_of(source))

    def lead(match: re.Match) -> str:
        target = target_of(match[0], source)
        return posixpath.relpath(page_of(target), here or ".") if (ROOT / target).exists() else match[0]

    return LINK.sub(lead, text)


def target_of(link: str, source: str) -> str:
    """Return the path in the repository to which a link in a file leads; of a folder that of its README."""
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return f"{target}/README.md" if (ROOT / target).is_dir() else target


def page_of(name: str) -> str:
    """Return the path on the site, before it is built, of a file of the repository."""
    if name == "README.md":
        return HOME
    if name.startswith("docs/"):
        return name.removeprefix("docs/")
    return name if name.endswith(".md") else f"source/{name}.md"


@functools.cache
def outside() -> list[str]:
    """Return the files outside docs/ that are pages: those of the navigation, and all to which pages lead."""
    found, waiting = [], [*TOP, *(file.relative_to(ROOT).as_posix() for file in (ROOT / "docs").rglob("*.md"))]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.append(name)
        if name.endswith(".md"):
            targets = (target_of(link, name) for link in LINK.findall((ROOT / name).read_text()))
            waiting += [target for target in targets if (ROOT / target).is_file()]
    return sorted(name for name in found if not name.startswith("docs/"))


def text_of(name: str) -> str:
    """Return the Markdown of a page for a file outside docs/."""
    text = (ROOT / name).read_text()
    language = {".py": "python", ".yaml": "yaml", ".cff": "yaml"}.get(Path(name).suffix, "text")
    return text if name.endswith(".md") else f"# {name}\n\n````{language}\n{text.rstrip()}\n````\n"


def settings() -> str:
    """Return the page of all settings, which is what `--help GROUP` prints."""
    groups = [help_pages.SETTINGS, *(group for group in help_pages.ABOUT if group != "targets/retain")]
    parts = [f"## {group}\n\n```text\n{help_pages.help_page([group])}\n```\n" for group in groups]
    return f"{SETTINGS}\n\n" + "\n".join(parts)


def algorithms() -> str:
    """Return the page of all algorithms: what the function of each says of itself."""
    parts = []
    for file in options.files("mu_algo"):
        (target,) = re.findall(r"^_target_: (\S+)", file.read_text(), re.MULTILINE)
        module, _, name = target.rpartition(".")
        (part,) = (node for node in nodes(ROOT / f"{module.replace('.', '/')}.py") if node.name == name)
        parts.append(f"## {file.stem}\n\n{prose(part)}\n")
    return f"{ALGORITHMS}\n\n" + "\n".join(parts)


def api() -> str:
    """Return the page of functions and classes for scripts and own parts."""
    parts = []
    for name, public in PUBLIC.items():
        module = name.removesuffix(".py").replace("/", ".")
        found = {node.name: node for node in nodes(ROOT / name)}
        parts += [section(module, found[one]) for one in public]
    return f"{API}\n\n" + "\n".join(parts)


def nodes(file: Path) -> list[ast.FunctionDef | ast.ClassDef]:
    """Return the functions and classes of a module, in its order."""
    return [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def section(module: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return the section of a function or class: where it is imported from, signature or fields, and docstring."""
    if isinstance(node, ast.FunctionDef):
        return f"## {node.name}\n\n```python\n# {module}\n{signature(node)}\n```\n\n{prose(node)}\n"
    rows = "\n".join(f"- `{name}`: {text}" for name, text in fields(node.body))
    methods = [one for one in node.body if isinstance(one, ast.FunctionDef) and not one.name.startswith("_")]
    inner = "\n".join(f"```python\n{signature(one)}\n```\n\n{prose(one)}\n" for one in methods)
    return f"## {node.name}\n\n`{module}.{node.name}`\n\n{prose(node)}\n\n{rows}\n\n{inner}"


def signature(node: ast.FunctionDef) -> str:
    """Return the `def` line of a function, one argument a line where it is long."""
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"def {node.name}({ast.unparse(node.args)}){returns}"
    if len(line) < 100:
        return line
    return "\n".join([f"def {node.name}(", *(f"    {one}," for one in arguments(node.args)), f"){returns}"])


def arguments(given: ast.arguments) -> Iterator[str]:
    """Yield each argument of a function with its type and default."""
    positional = [*given.posonlyargs, *given.args]
    defaults = [*[None] * (len(positional) - len(given.defaults)), *given.defaults]
    yield from map(argument, positional, defaults)
    if given.vararg or given.kwonlyargs:
        yield f"*{given.vararg.arg if given.vararg else ''}"
    yield from map(argument, given.kwonlyargs, given.kw_defaults)
    if given.kwarg:
        yield f"**{argument(given.kwarg, None)}"


def argument(one: ast.arg, default: ast.expr | None) -> str:
    """Return one argument as it is written in a signature."""
    return ast.unparse(one) + (f" = {ast.unparse(default)}" if default else "")


def fields(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield each field of a class with its type and the text below it."""
    for one, below in zip(body, [*body[1:], None], strict=True):
        if isinstance(one, ast.AnnAssign):
            described = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            text = " ".join(below.value.value.split()) if described else ""
            yield ast.unparse(one.target), f"`{ast.unparse(one.annotation)}` {text}".strip()


def prose(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Return a docstring as Markdown: its examples become blocks of code."""
    text = inspect.cleandoc(ast.get_docstring(node) or "")
    return re.sub(r"^>>> .*?(?=\n\n|\Z)", r"```pycon\n\g<0>\n```", text, flags=re.DOTALL | re.MULTILINE)
