"""Files from elsewhere run no code, and names from elsewhere are shown as they are, wherever they are shown."""

import csv
import gzip
import hashlib
import io
import json
import os
import pickle
import re
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL
from omegaconf import OmegaConf
from page_by_hand import Page
from results_by_hand import both, leave
from test_allowed_targets import canary  # noqa: F401, a fixture

import softtargets
from softtargets import datasets, store
from softtargets.config import names
from softtargets.console import Console
from softtargets.errors import BadInput, visible
from softtargets.readers import idx_files
from softtargets.report import runs, tables
from softtargets.report.__main__ import main
from softtargets.store.__main__ import main as look_after
from softtargets.system.files import Damaged, read_json, write_json

# files that would run code, if they were read by what runs it


class Mark:
    """What leaves a file where it is unpickled."""

    def __init__(self, file: Path):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


@pytest.fixture
def mark(tmp_path):
    """The file that must never be there; checked at the end, as is that unpickling makes it."""
    file = tmp_path / "ran"
    yield file
    assert not file.exists(), "what a file said was run"
    pickle.loads(pickle.dumps(Mark(file)))
    assert file.exists(), "the canary itself is alive"


def saved(mark: Path, how: str) -> bytes:
    """Pickle a mark, as bare as can be or as PyTorch does."""
    if how == "pickle":
        return pickle.dumps(Mark(mark))
    content = io.BytesIO()
    torch.save({"weight": Mark(mark)}, content, _use_new_zipfile_serialization=how == "torch zip")
    return content.getvalue()


PICKLES = ("pickle", "torch zip", "torch legacy")


@pytest.mark.parametrize("how", PICKLES)
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_a_checkpoint_runs_nothing(how, suffix, mark, tmp_path, run):
    file = tmp_path / f"model{suffix}"
    file.write_bytes(saved(mark, how))
    with pytest.raises(BadInput, match=f"checkpoint={file}: it holds more than tensors"):
        run(*SMALL, f"checkpoint={file}")


@pytest.mark.long
@pytest.mark.parametrize("how", PICKLES)
def test_the_store_runs_nothing_though_the_seal_is_right(how, mark, tmp_path, run, monkeypatch):
    monkeypatch.setenv("SOFTTARGETS_STORE", str(tmp_path / "store"))
    first, _ = run(*SMALL)
    for path in store.entries(tmp_path / "store"):
        manifest, content = json.loads((path / "manifest.json").read_text()), saved(mark, how)
        manifest["sha256"] = store._seal(hashlib.sha256(content), manifest)
        (path / "manifest.json").write_text(json.dumps(manifest))
        (path / "tensors.safetensors").write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged; renamed to"):
        again, _ = run(*SMALL)
    assert again["hashes"] == first["hashes"]


@pytest.mark.parametrize("how", PICKLES)
def test_a_runs_models_and_margins_run_nothing(how, mark, run):
    _, folder = run(*SMALL, "save_models=true")
    (folder / "retrained.safetensors").write_bytes(saved(mark, how))
    with pytest.raises(Damaged, match=r"retrained\.safetensors: damaged"):
        softtargets.load(folder)
    (folder / "margins.npz").write_bytes(saved(mark, how))
    with pytest.raises(BadInput, match=r"margins\.npz: missing or damaged"):
        runs.Run(folder, {}, runs.Cell(()), "").arrays("forget_original")


def test_arrays_of_objects_run_nothing(mark, tmp_path, run):
    objects = np.array([Mark(mark)], dtype=object)
    np.savez(tmp_path / "margins.npz", forget_original=objects)
    with pytest.raises(BadInput, match="it holds no plain arrays"):
        runs.Run(tmp_path, {}, runs.Cell(()), "").arrays("forget_original")
    np.save(tmp_path / "list.npy", objects)
    (tmp_path / "bare.npy").write_bytes(saved(mark, "pickle"))
    for name in ("list", "bare"):
        with pytest.raises(BadInput, match=rf"{name}\.npy holds no list of training indices"):
            run(*SMALL, "forget_set=indices", f"forget_set.path={tmp_path}/{name}.npy")


@pytest.mark.parametrize("come", ["rerun", "load"])
@pytest.mark.parametrize(
    "line",
    [
        "!!python/object/apply:pathlib.Path.touch [{file}]",
        "!!python/object/new:canary_module.touch []",
        "!!python/name:canary_module.touch",
        "!!python/module:canary_module",
    ],
)
def test_yaml_makes_no_objects(come, line, run, tmp_path, canary):  # noqa: F811
    _, folder = run(*SMALL, "save_models=true")
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(f"{text}extra: {line.format(file=canary)}\n")
    with pytest.raises((BadInput, Damaged), match=r"rerun=|not plain YAML"):
        softtargets.load(folder) if come == "load" else run(f"rerun={folder}")


@pytest.mark.parametrize("come", ["rerun", "load"])
@pytest.mark.parametrize(
    "hidden",
    [
        "${oc.create:{_target_: canary_module.touch}}",
        "${oc.decode:'{_target_: canary_module.touch}'}",
        ["${oc.create:{_target_: canary_module.touch}}"],
        [{"deep": "${oc.env:HOME}"}],
    ],
    ids=str,
)
def test_no_part_is_hidden_in_an_interpolation(come, hidden, run, canary):  # noqa: F811
    _, folder = run(*SMALL, "save_models=true")
    config = OmegaConf.to_container(OmegaConf.load(folder / "config.yaml"))
    config["architecture"]["hidden"] = hidden
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    if come == "rerun":
        (folder / "result.json").unlink()  # with which the config would have to agree
    with pytest.raises(BadInput, match=r"architecture\.hidden\S*=.*: this interpolation is still open"):
        softtargets.load(folder) if come == "load" else run(f"rerun={folder}")


def test_images_run_nothing(mark, tmp_path, monkeypatch):
    """Not even by Ghostscript, to which Pillow hands EPS."""
    ghostscript = tmp_path / "bin/gs"
    ghostscript.parent.mkdir()
    ghostscript.write_text(f"#!/bin/sh\ntouch {mark}\n")
    ghostscript.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ghostscript.parent}:{os.environ['PATH']}")
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
    for content in (eps, saved(mark, "pickle"), saved(mark, "torch zip")):
        for part in ("train", "test"):
            (tmp_path / f"tree/{part}/0").mkdir(parents=True, exist_ok=True)
            (tmp_path / f"tree/{part}/0/a.png").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.png cannot be read as an image"):
            datasets.folder(path=str(tmp_path / "tree"), channels=1, size=8)


def test_json_that_is_too_deep_is_damaged(tmp_path):
    (tmp_path / "result.json").write_text("[" * 10**6)
    with pytest.raises(Damaged, match="not JSON"):
        read_json(tmp_path / "result.json")


# files that would fill the memory


def bomb(path: Path, size: int) -> None:
    """Write zeros that inflate to `size` bytes."""
    squeeze = zlib.compressobj(9, wbits=31)
    with path.open("wb") as file:
        for _ in range(size // 2**20):
            file.write(squeeze.compress(bytes(2**20)))
        file.write(squeeze.flush())


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_idx_file_of_more_than_there_is_to_read_is_refused_unread(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(idx_files, "MOST", 10**6)
    file = tmp_path / f"train-images-idx3-ubyte{suffix}"
    if suffix:
        bomb(file, 2**28)
        assert file.stat().st_size < 10**6
    else:
        with file.open("wb") as whole:
            whole.truncate(2**31)
    sizes = []

    def counted(usual):
        def opened(*arguments, **named):
            whole = usual(*arguments, **named)
            read = whole.read
            whole.read = lambda *size: sizes.append(len(content := read(*size))) or content
            return whole

        return opened

    monkeypatch.setattr(gzip, "open", counted(gzip.open))
    monkeypatch.setattr(Path, "open", counted(Path.open))
    tracemalloc.start()
    with pytest.raises(
        idx_files.NotVerified, match=r"train-images\S+ is altered: it holds more than 1000000 bytes"
    ):
        idx_files._verified(file, "0")
    assert tracemalloc.get_traced_memory()[1] < 2 * 10**7
    tracemalloc.stop()
    assert sizes == [10**6 + 1]
    idx_files._verified(*_right(tmp_path / f"right{suffix}", bytes(10**6)))  # as much as there may be


def _right(file: Path, content: bytes) -> tuple[Path, str]:
    import hashlib

    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file, hashlib.md5(content).hexdigest()


# names that would be something else where they are shown

NAMES = {
    "html": "<img src=x onerror=alert(1)></script><script>alert(1)</script>",
    "template": "/*SCRIPT*/ /*STYLE*/",
    "link": "[click](javascript:alert(1))",
    "cell": "a|b\\|c\n| d | e |",
    "latex": r"\input{/etc/passwd}^^5cinput $x$ #1 ~",
    "formula": "=cmd|' /C calc'!A0",
    "plus": "+1+cmd",
    "at": "@SUM(A1)",
    "minus": "-1+cmd",
    "markup": "[red]x[/red] [/nothing] :warning: \\",
    "colour": "\x1b[31mred\x1b]0;title\x07\x9b31m\x08\r",
    "bidi": "abc\u202egpj.exe\u2028",
}


@pytest.fixture(scope="module", params=NAMES)
def shown(request, tmp_path_factory):
    """A name and what was reported on runs whose choices have it, by file; what was printed is `screen`."""
    name, place = NAMES[request.param], tmp_path_factory.mktemp("runs")
    chosen = dict.fromkeys(("dataset", "architecture", "forget_set", "mu_algo", "training", "unlearn"), name)
    found = both(2, choices=chosen)
    for run in found:
        run["choices"]["targets"] = name if run["choices"]["targets"] == "soft" else "hard"
        run["config"][name] = run["choices"]["targets"]
    leave(place, *found, *both(1, choices=chosen | {"dataset": "other"})[:1])
    with pytest.MonkeyPatch.context() as patch:
        screen = io.StringIO()
        patch.setattr("sys.stdout", screen)
        patch.setenv("COLUMNS", "1000")
        assert main([str(place)]) == 0
    texts = {file: (place / file).read_text() for file in ("summary.csv", "summary.md", "summary.tex")}
    return name, texts | {"report.html": (place / "report.html").read_text(), "screen": screen.getvalue()}


CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")


def test_no_control_character_comes_through(shown):
    _, texts = shown
    for file, text in texts.items():
        assert not CONTROL.search(text), file


def test_html_holds_names_as_text_alone(shown):
    name, texts = shown
    page = Page(texts["report.html"])
    assert any(visible(name) in row[0] and row[1].startswith(visible(name)) for row in page.arms())
    assert page.tags["script"] == 1
    assert not page.tags.keys() & {"img", "iframe", "object"}
    assert not [one for one in page.attributes if one[1].startswith("on")]
    assert [value for tag, name, value in page.attributes if tag == "a" and name == "href"] == ["#table"]


def test_markdown_has_no_html_and_no_link_and_whole_rows(shown):
    text = shown[1]["summary.md"]
    assert "<" not in text
    assert "](" not in text
    tables = [table.splitlines() for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)]
    sizes = [{len(re.findall(r"(?:\\.|[^|\\])+", row)) for row in table} for table in tables]
    assert sizes
    assert all(size == {6} for size in sizes)


def test_latex_has_commands_of_ours_alone(shown):
    text = shown[1]["summary.tex"]
    ours = {"begin", "end", "toprule", "midrule", "bottomrule", "textbackslash", "textasciitilde"}
    ours |= {"textasciicircum", "pm", "delta", "Delta", "\\", "times", "allowbreak", "caption", "label", "textbf"}
    ours |= {
        "centering",
        "scriptsize",
        "setlength",
        "tabcolsep",
        "belowcaptionskip",
        "extrarowheight",
        "raggedright",
    }
    ours |= {"arraybackslash", "columnwidth", "multicolumn", *tables.GREEK.values(), *tables.ACCENTS.values()}
    ours |= {name for sign in tables.SIGNS.values() for name in re.findall(r"\\([A-Za-z]+)", sign)}
    ours |= set("&%$#_{}")
    assert set(re.findall(r"\\([A-Za-z]+|.)", text)) <= ours
    assert text.isascii()
    assert not re.search(r"(?<!\\)\^", text)


def test_spreadsheets_find_no_formula(shown):
    name, texts = shown
    rows = list(csv.reader(io.StringIO(texts["summary.csv"])))
    assert len({len(row) for row in rows}) == 1
    words = [word for row in rows for word in row if not re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?", word)]
    assert not [word for word in words if word.startswith(("=", "+", "-", "@"))]
    if name[0] in "=+-@":
        assert f"'{name}" in words


def test_the_screen_shows_names_as_they_are(shown):
    name, texts = shown
    if name.isprintable():
        assert name in texts["screen"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_run_says_names_as_they_are(name, tmp_path):
    with (tmp_path / "said").open("w", newline="") as file:
        Console(file).choices({"choices": {"dataset": name}, "seed": 0}, {})
    first, _, rest = (tmp_path / "said").read_bytes().decode().partition("\n")
    assert not CONTROL.search(first)
    assert rest.startswith("images: ")
    assert not name.isprintable() or name in first


def test_the_store_lists_names_as_they_are(tmp_path, capsys):
    store.Store(tmp_path).get("model", {"name": NAMES["colour"]}, lambda: ({"a": torch.zeros(1)}, {}))
    assert look_after(["list", "--dir", str(tmp_path)]) == 0
    assert not CONTROL.search(capsys.readouterr().out)


def test_a_preset_is_no_path(tmp_path):
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text("defaults: 1\n")
    up = os.path.relpath(elsewhere.with_suffix(""), names.CONF / "targets")
    for name in (up, str(elsewhere.with_suffix("")), "", "\n", "soft\n", "../targets/soft"):
        assert names.Chosen({"targets": name}).names({})["targets"] == name


def test_errors_are_one_line(tmp_path, capsys):
    folder = tmp_path / "\x1b[31m\n"
    folder.mkdir()
    write_json(folder / "result.json", {"schema": 99})
    assert main([str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not CONTROL.search(said)
