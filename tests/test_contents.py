"""What a run reads from a user's files is known by content: in hashes, in the store, when it is repeated."""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import SMALL
from PIL import Image
from test_sweep import folder, sweep  # noqa: F401, a fixture

import softtargets
from softtargets.config import contents
from softtargets.config.resolve import NO_INFLUENCE, config_hash
from softtargets.errors import BadInput
from softtargets.execution import composed_run
from softtargets.execution.experiment import build
from softtargets.readers import image_folder
from softtargets.report import runs
from softtargets.system.files import canonical
from softtargets.tracker.clone import CONFIG, sections


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(file: Path, *numbers: int) -> Path:
    write(file, "".join(f"{number}\n" for number in numbers).encode())
    return file


def write(file: Path, content: bytes) -> None:
    """Write a file, again and again until its time is another: file systems have clocks of some milliseconds."""
    before = file.stat().st_ctime_ns if file.exists() else None
    file.write_bytes(content)
    while file.stat().st_ctime_ns == before:
        file.write_bytes(content)


def tree(base: Path, count: int = 40) -> Path:
    """Save pictures of two classes, all different."""
    draw = np.random.default_rng(0)
    for part, least in (("train", count), ("test", 10)):
        for label in "ab":
            for number in range(least):
                file = base / part / label / f"{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(draw.integers(256, size=(8, 8), dtype=np.uint8)).save(file)
    return base


FOLDER = ("dataset=folder", "dataset.size=8", "training.epochs=2", "training.batch_size=8", "unlearn.epochs=1")

# the user's files of a config


def test_an_ordinary_config_is_hashed_as_ever(composed, here):
    for name in ("sample", "none", "matched", "float32", "hard", "data"):  # values of settings that are no paths
        (here / name).write_text("1\n")
    for words in (
        (),
        ("targets=out_of_fold", "targets.forget.modifiers=[sample]"),
        ("dataset=mnist", "data_dir=."),
    ):
        config = composed(*words)
        assert "contents" not in config
        kept = {name: value for name, value in config.items() if name not in NO_INFLUENCE}
        kept["dataset"] = {name: value for name, value in kept["dataset"].items() if name != "root"}
        assert config_hash(config) == hashlib.sha256(canonical(kept).encode()).hexdigest()


def test_index_files_are_known_by_content(composed, here):
    one, copy = listing(here / "one.txt", 1, 2, 3), listing(here / "copy.txt", 1, 2, 3)
    asked = ("forget_set=indices", f"forget_set.path={one}")
    before = composed(*asked)
    assert before["contents"] == {"forget_set.path": hashlib.sha256(one.read_bytes()).hexdigest()}
    assert before["forget_set"]["path"] == str(one)
    assert config_hash(composed("forget_set=indices", f"forget_set.path={copy}")) == config_hash(before)
    listing(one, 4, 5, 6)
    assert config_hash(composed(*asked)) != config_hash(before)
    os.utime(copy, ns=(0, 0))
    assert config_hash(composed("forget_set=indices", f"forget_set.path={copy}")) == config_hash(before)


def test_checkpoints_are_known_by_content(composed, here):
    (here / "one.pt").write_bytes(b"1")
    (here / "copy.pt").write_bytes(b"1")
    (here / "other.pt").write_bytes(b"2")
    one, copy, other = (config_hash(composed(f"checkpoint={name}.pt")) for name in ("one", "copy", "other"))
    assert one == copy != other
    assert one != config_hash(composed())


def test_folders_are_known_by_the_names_and_bytes_of_their_images(composed, here):
    one = tree(here / "one")
    shutil.copytree(one, here / "copy")
    hashed = lambda name: config_hash(composed(*FOLDER, f"dataset.path={name}"))  # noqa: E731
    first = hashed("one")
    assert hashed("copy") == first
    (one / "train/a/Thumbs.db").write_text("of no account")
    assert hashed("one") == first
    (one / "train/a/0.png").rename(one / "train/b/0_.png")
    moved = hashed("one")
    (one / "train/b/0_.png").unlink()
    assert len({first, moved, hashed("one")}) == 3


@pytest.fixture
def images_of(composed):
    """`images_of(*words)`: the split of a folder's images, read as in a new process."""
    from softtargets.execution import load_data

    def split(*words: str):
        for cached in (load_data._split, load_data._images):
            cached.cache_clear()
        return load_data.load_data(composed(*FOLDER, *words), "cpu")

    yield split
    load_data._images.cache_clear()


def test_what_a_folder_holds_is_decoded_once(images_of, here, monkeypatch):
    one = tree(here / "one")
    shutil.copytree(one, here / "copy")
    words = ("dataset.path=one", f"store.dir={here / 'store'}")
    first = images_of(*words)
    usual, decoded = image_folder.decode, []
    monkeypatch.setattr(image_folder, "decode", lambda *args: decoded.append(args) or usual(*args))
    for again in (
        words,
        ("dataset.path=copy", *words[1:]),
        (*words, "dataset.train_size=60", "dataset.mean=[0.1]"),
    ):
        second = images_of(*again)
    assert not decoded
    second = images_of(*words)
    assert second.train.digest == first.train.digest
    assert (second.notes, second.classes) == (first.notes, first.classes)
    images_of(*words, "dataset.channels=3")
    assert len(decoded) == 1
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(one / "train/a/0.png")
    assert images_of(*words).train.digest != first.train.digest
    assert len(decoded) == 2


def test_a_folder_that_changes_while_it_is_read_is_not_kept(images_of, here, monkeypatch):
    one, usual = tree(here / "one"), image_folder.decode

    def decode(*args):
        pixels = usual(*args)
        (one / "train/a/0.png").write_bytes(b"other")
        return pixels

    monkeypatch.setattr(image_folder, "decode", decode)
    with pytest.raises(BadInput, match=r"^dataset\.path=one: its content has changed while it was read"):
        images_of("dataset.path=one", f"store.dir={here / 'store'}")
    assert not list((here / "store/images").glob("*/manifest.json"))


PART = """
from typing import Literal
from pathlib import Path
from softtargets.ranges import Place
from softtargets import datasets, forget_sets

def read(*, place: Place = "-", text: str = "-", places: list[Place] = (), word: Literal["a", "word"] = "a",
         bare="-", root: Place = "-", deep: dict = {}):
    return datasets.mnist_5k()

def some(candidates, generator, **given):
    return forget_sets.random(candidates, generator, fraction=0.1)

def edited(*, place: Place):
    Path(place).write_text("other")
    return datasets.mnist_5k()
"""


@pytest.fixture
def part(here, monkeypatch):
    """A module `reader` of the user's, and files and a folder that it may name."""
    (here / "reader.py").write_text(PART)
    for name in ("file", "word", "deeper"):
        (here / name).write_text(name)
    (here / "some/inner").mkdir(parents=True)
    (here / "some/inner/file").write_text("in a folder")
    monkeypatch.syspath_prepend(here)
    return ("plugins=[reader]", "dataset._target_=reader.read")


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("place=file", {"dataset.place"}),
        ("place=some", {"dataset.place"}),
        ("place=nowhere", set()),
        ("text=file", {"dataset.text"}),
        ("text=some", set()),
        ("text=/", set()),
        ("bare=file", {"dataset.bare"}),
        ("places=[nowhere,some,file]", {"dataset.places.1", "dataset.places.2"}),
        ("deep={names:{it:deeper}}", {"dataset.deep.names.it"}),
        ("word=word", set()),
        ("root=some", {"dataset.root"}),
    ],
)
def test_a_users_part_is_known_by_what_its_settings_name(composed, part, given, known):
    config = composed(*part, f"+dataset.{given}")
    assert set(config.get("contents", {})) == known
    plain = composed(*part, f"+dataset.{given}", "data_dir=some")
    assert ("dataset.root" in plain.get("contents", {})) is False  # where downloads go


def test_a_part_that_takes_anything_is_known_so_too(composed, part):
    kind = ("forget_set._target_=reader.some", "~forget_set.fraction", "plugins=[reader]", "+forget_set.x=file")
    assert set(composed(*kind)["contents"]) == {"forget_set.x"}


def test_a_part_that_is_not_allowed_is_not_imported(composed, part, here):
    (here / "evil.py").write_text("raise SystemExit('imported')")
    with pytest.raises(BadInput, match=r"dataset\._target_=evil\.read: not allowed"):
        composed("dataset._target_=evil.read", "+dataset.place=file")


def test_a_file_that_cannot_be_read_is_named(composed, here, monkeypatch):
    listing(here / "one.txt", 1)

    def refused(path, stamp):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(contents, "_file_digest", refused)
    with pytest.raises(BadInput, match=r"forget_set\.path=one\.txt: .*Permission denied"):
        composed("forget_set=indices", "forget_set.path=one.txt")


def test_what_has_not_changed_is_read_once(here, monkeypatch):
    base, read, usual = tree(here / "tree", 3), [], open
    monkeypatch.setattr(contents, "open", lambda *args: read.append(args) or usual(*args), raising=False)
    first = contents.sha256_of(base)
    assert len(read) == 2 * 3 + 2 * 10
    assert contents.sha256_of(base) == first
    assert len(read) == 26
    stat = (base / "train/a/0.png").stat()
    write(base / "train/a/0.png", bytes(stat.st_size))
    os.utime(base / "train/a/0.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert contents.sha256_of(base) != first


def places(here: Path) -> tuple[str, str]:
    return f"store.dir={here / 'store'}", f"runs_dir={here / 'runs'}"


def test_a_run_lists_a_folder_before_it_begins_and_once_more_at_its_start(here, monkeypatch):
    tree(here / "one")
    words = (*FOLDER, "dataset.path=one", "stage=data", *places(here))
    softtargets.run(words)
    usual, listed = image_folder.tree, []
    monkeypatch.setattr(image_folder, "tree", lambda base: listed.append(base) or usual(base))
    softtargets.run(words)
    assert len(listed) == 2


def test_what_changes_between_check_and_run_is_refused(here, monkeypatch):
    one = tree(here / "one")
    # the last step before the run
    monkeypatch.setattr(composed_run, "check_folder", lambda *given: write(one / "train/a/0.png", b"other"))
    with pytest.raises(BadInput, match=r"dataset\.path=one: its content has changed since this run began"):
        softtargets.run([*FOLDER, "dataset.path=one", "stage=data", *places(here)])


def test_a_folder_may_link_to_itself(here):
    tree(here / "tree", 2)
    alone = contents.sha256_of(here / "tree")
    (here / "tree/again").symlink_to(here / "tree")
    assert contents.sha256_of(here / "tree") == alone


# a run, a run again, a sweep


def test_a_run_states_what_it_read(run, here):
    listing(here / "one.txt", *range(20))
    result, _ = run(*SMALL, "forget_set=indices", "forget_set.path=one.txt")
    sha256 = hashlib.sha256((here / "one.txt").read_bytes()).hexdigest()
    assert result["config"]["forget_set"]["path"] == f"sha256:{sha256}"
    assert result["provenance"]["files"] == {"forget_set.path": "one.txt"}


def test_rerun_refuses_another_content_and_takes_the_same(run, here):
    file = listing(here / "one.txt", *range(20))
    first, made = run(*SMALL, "forget_set=indices", "forget_set.path=one.txt")
    listing(file, *range(30))
    with pytest.raises(
        BadInput, match=r"forget_set\.path=one\.txt: .* changed since the run in .*run0 read it \(sha256 was \w"
    ):
        run(f"rerun={made}")
    file.unlink()
    with pytest.raises(
        BadInput, match=r"forget_set\.path=one\.txt: no such file or folder, but it existed when the run in .*run0"
    ):
        run(f"rerun={made}")
    listing(file, *range(20))
    assert run(f"rerun={made}")[0]["hashes"] == first["hashes"]


@pytest.mark.parametrize("garbage", ["contents: 3", "contents: [a]", "contents: {forget_set.path: 3}"])
def test_contents_that_are_none_are_refused(run, here, garbage):
    _, made = run(*SMALL)
    (made / "result.json").unlink()
    with (made / "config.yaml").open("a") as file:
        file.write(garbage)
    with pytest.raises(BadInput, match="contents: must map settings to hashes"):
        run(f"rerun={made}")


def test_a_run_refuses_what_was_not_planned(composed, here):
    listing(here / "one.txt", 1, 2)
    asked = ("forget_set=indices", "forget_set.path=one.txt")
    planned = json.dumps(composed(*asked)["contents"])
    hold = f"+contents='{planned}'"
    assert config_hash(composed(*asked, hold)) == config_hash(composed(*asked))
    listing(here / "one.txt", 1, 3)
    with pytest.raises(BadInput, match=r"one\.txt: its content has changed since the sweep was planned"):
        composed(*asked, hold)
    for garbage in ("3", "[a]", "'[1]'", "'{'", "'3'", "{a:3}", "null"):
        with pytest.raises(BadInput, match=r"^contents="):
            composed(*asked, f"+contents={garbage}")


def test_images_that_go_are_missed_within_a_process_too(run, here):
    base = tree(here / "tree")
    sizes = []
    for turn in range(2):
        sizes.append(run(*FOLDER, "dataset.path=tree")[0]["data"]["sizes"]["train"])
        for number in range(10):
            (base / f"train/a/{10 * turn + number}.png").unlink()
    assert sizes == [76, 66]


def test_what_changes_while_it_is_read_is_refused(composed, part):
    with pytest.raises(BadInput, match=r"dataset\.place=file: its content has changed since this run began"):
        build(composed(*SMALL, "plugins=[reader]", "dataset._target_=reader.edited", "+dataset.place=file"))


NET = """
from pathlib import Path
import torch
from torch import nn
from softtargets.ranges import Place

def net(*, weights: Place, classes: int):
    torch.manual_seed(int(Path(weights).read_text()))
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, classes))
    return model
"""


@pytest.mark.long
def test_the_store_knows_a_networks_file_by_content(run, here, monkeypatch):
    (here / "net_reader.py").write_text(NET)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("SOFTTARGETS_STORE", str(here / "store"))
    asked = (*SMALL, "~architecture.hidden", "plugins=[net_reader]", "architecture._target_=net_reader.net")
    asked = tuple(word for word in asked if not word.startswith("architecture.hidden"))
    made = []
    for name, content in (("a", "1"), ("b", "1"), ("a", "2")):
        (here / name).write_text(content)
        made.append(run(*asked, f"+architecture.weights={name}")[0])
    assert [result["cost"]["from_store"] for result in made] == [[], ["original", "retrained"], []]
    assert made[0]["hashes"]["original"] != made[2]["hashes"]["original"]


def test_other_contents_are_other_cells_and_other_paths_are_not(run, here):
    for name, numbers in (("a.txt", range(20)), ("b.txt", range(20)), ("a.txt", range(40))):
        listing(here / name, *numbers)
        run(*SMALL, "forget_set=indices", f"forget_set.path={name}")
    cells = [dict(found.cell.settings)["forget_set.path"] for found in runs.read(here)]
    first, second = (hashlib.sha256("".join(f"{n}\n" for n in range(m)).encode()).hexdigest() for m in (20, 40))
    assert sorted(cells) == sorted([f"sha256:{first[:12]}…"] * 2 + [f"sha256:{second[:12]}…"])


def test_a_task_that_is_cloned_reads_the_files_of_its_own_machine(composed, here):
    listing(here / "one.txt", 1, 2)
    task = sections(composed("forget_set=indices", "forget_set.path=one.txt"))
    assert task[CONFIG]["forget_set.path"] == "one.txt"
    assert not any(name.startswith("contents") for name in task[CONFIG])


@pytest.mark.long
@pytest.mark.parametrize("what", ["indices", "checkpoint", "folder"])
def test_a_sweep_runs_again_what_reads_another_file_and_says_so(folder, run, what):  # noqa: F811
    def write(turn):
        if what == "indices":
            listing(folder / "file.txt", *range(20 * turn))
        elif what == "checkpoint":
            _, made = run(*SMALL, f"seed={turn}", "save_models=true")
            shutil.copy(made / "original.safetensors", folder / "file.safetensors")
        else:
            tree(folder / "file", 40 - 5 * turn)

    setting, words = {
        "indices": ("forget_set.path=file.txt", ("forget_set=indices",)),
        "checkpoint": ("checkpoint=file.safetensors", ()),
        "folder": ("dataset.path=file", ("dataset=folder", "dataset.size=8", "dataset.train_size=null")),
    }[what]
    write(1)
    code, stdout, stderr = sweep(folder, *words, setting, "hydra.sweep.dir=out")
    assert code == 0, stderr
    code, stdout, _ = sweep(folder, *words, setting, "hydra.sweep.dir=out")
    assert "content has changed" not in stdout
    first = list(folder.glob("out/*/result.json"))
    assert len(first) == 1
    shutil.rmtree(folder / "file", ignore_errors=True)
    write(2)
    code, stdout, stderr = sweep(folder, *words, setting, "hydra.sweep.dir=out")
    assert code == 0, stderr
    assert f"{setting}: its content has changed since an earlier call" in stdout
    both = list(folder.glob("out/*/result.json"))
    assert len(both) == 2
    read = [json.loads(file.read_text())["hashes"] for file in both]
    assert read[0] != read[1]


@pytest.mark.long
def test_a_run_of_a_sweep_refuses_what_was_edited_since_the_plan(folder):  # noqa: F811
    listing(folder / "ed.txt", *range(20))
    words = ("~mu_algo.alpha", "mu_algo._target_=own_parts.edits_its_list", "plugins=[own_parts]", "seed=0,1")
    code, stdout, _ = sweep(folder, "forget_set=indices", "forget_set.path=ed.txt", *words)
    assert code == 1
    assert "1 of 2 runs finished, 1 failed" in stdout
    reason = r"BadInput: forget_set\.path=ed\.txt: its content has changed since the sweep was planned"
    assert re.search(rf"failed: seed=1\S*: {reason}", stdout)
    code, stdout, _ = sweep(folder, "forget_set=indices", "forget_set.path=ed.txt", *words)
    assert code == 0
    assert "2 of 2 runs finished" in stdout
