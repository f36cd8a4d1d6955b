import gzip
import hashlib
import multiprocessing
import os
import stat
import struct
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import pytest
import torch
from conftest import HANGS

from softtargets.readers import idx_files
from softtargets.readers.idx_files import DataUnavailable, read_images

NAMES = tuple(idx_files.MD5["MNIST"])  # training images and labels, test images and labels
SHAPES = ((6, 4, 5), (6,), (3, 4, 5), (3,))
OFFLINE = (
    "Error downloading train-images-idx3-ubyte.gz:\nTried https://one.example/mnist/, got:\n"
    "<urlopen error [Errno -2] Name or service not known>\nTried http://two.example/, got:\nHTTP Error 404\n"
)


def tensors(name: str) -> list[torch.Tensor]:
    source = torch.Generator().manual_seed(len(name))
    return [torch.randint(256, shape, dtype=torch.uint8, generator=source) for shape in SHAPES]


def contents(name: str) -> dict[str, bytes]:
    return {file: idx(tensor) for file, tensor in zip(NAMES, tensors(name), strict=True)}


def idx(tensor: torch.Tensor) -> bytes:
    header = struct.pack(f">{1 + tensor.dim()}i", 0x0800 + tensor.dim(), *tensor.shape)
    return header + tensor.numpy().tobytes()


def digests(name: str) -> dict[str, str]:
    return {file: hashlib.md5(content).hexdigest() for file, content in contents(name).items()}


def fill(folder: Path, name: str, *, compress: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents(name).items():
        path = folder / (f"{file}.gz" if compress else file)
        path.write_bytes(gzip.compress(content) if compress else content)
    return folder


def tree(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def check(name: str, found: list[torch.Tensor]) -> None:
    assert all(torch.equal(one, other) for one, other in zip(found, tensors(name), strict=True))


@pytest.fixture(autouse=True)
def small(monkeypatch, tmp_path):
    """Small synthetic files as the real ones; no Debian package, no network."""
    for name in idx_files.MD5:
        monkeypatch.setitem(idx_files.MD5, name, digests(name))
    monkeypatch.setattr(idx_files, "DEBIAN", tmp_path / "debian")
    answer_downloads(monkeypatch, raising(RuntimeError(OFFLINE)))


def answer_downloads(monkeypatch, answer) -> None:
    import torchvision

    for name in idx_files.MD5:
        stand_in = lambda root, *, download, name=name: answer(name, root)  # noqa: E731
        monkeypatch.setattr(torchvision.datasets, name, stand_in)


def raising(error: Exception):
    def answer(name, root):
        Path(root, name, "raw").mkdir(parents=True)
        Path(root, name, "raw", NAMES[0]).write_bytes(b"half")
        raise error

    return answer


def serving(name, root):
    print("Downloading", name)
    print("100%", file=sys.stderr)
    fill(Path(root, name, "raw"), name, compress=True)
    fill(Path(root, name, "raw"), name)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_a_local_copy_is_read_without_writing(tmp_path, monkeypatch, name, compress):
    raw = fill(tmp_path / name / "raw", name, compress=compress)
    monkeypatch.setattr(idx_files, "locked", None)
    before = tree(tmp_path)
    for folder in (raw, raw.parent, tmp_path):
        folder.chmod(0o555)
    try:
        check(name, read_images(name, tmp_path))
    finally:
        tmp_path.chmod(0o755)
    assert tree(tmp_path) == before
    for folder in (raw.parent, raw):
        folder.chmod(0o755)


def test_the_tensors_can_be_written_to(tmp_path):
    fill(tmp_path / "MNIST/raw", "MNIST")
    read_images("MNIST", tmp_path)[0].zero_()
    check("MNIST", read_images("MNIST", tmp_path))


def test_debians_package_becomes_a_local_copy(tmp_path):
    fill(tmp_path / "debian", "FashionMNIST", compress=True)
    check("FashionMNIST", read_images("FashionMNIST", tmp_path / "root"))
    assert sorted(path.name for path in (tmp_path / "root/FashionMNIST/raw").iterdir()) == sorted(NAMES)
    for path in (tmp_path / "debian").iterdir():
        path.unlink()
    check("FashionMNIST", read_images("FashionMNIST", tmp_path / "root"))


def test_debians_package_is_not_asked_for_mnist(tmp_path):
    fill(tmp_path / "debian", "MNIST", compress=True)
    with pytest.raises(DataUnavailable):
        read_images("MNIST", tmp_path)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def replace_by_text(path):
    path.write_bytes(b"<html>please log in</html>")


HARM = (truncate, flip, empty, replace_by_text)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_file_is_named_and_replaced(tmp_path, harm, compress):
    fill(tmp_path / "debian", "FashionMNIST", compress=True)
    raw = fill(tmp_path / "FashionMNIST/raw", "FashionMNIST", compress=compress)
    bad = raw / (f"{NAMES[2]}.gz" if compress else NAMES[2])
    harm(bad)
    content = bad.read_bytes()
    with pytest.warns(UserWarning, match=rf"{bad} is truncated or altered: .*; renamed to {bad.name}\.d"):
        check("FashionMNIST", read_images("FashionMNIST", tmp_path))
    assert bad.with_name(f"{bad.name}.damaged").read_bytes() == content
    assert (raw / NAMES[2]).read_bytes() == contents("FashionMNIST")[NAMES[2]]
    check("FashionMNIST", read_images("FashionMNIST", tmp_path))  # healed: no second warning


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_file_without_a_source_is_refused(tmp_path, harm, compress):
    raw = fill(tmp_path / "MNIST/raw", "MNIST", compress=compress)
    bad = raw / (f"{NAMES[1]}.gz" if compress else NAMES[1])
    harm(bad)
    with pytest.warns(UserWarning, match=f"{bad} is"), pytest.raises(DataUnavailable, match="3 of 4 files"):
        read_images("MNIST", tmp_path)
    assert not bad.exists()
    with pytest.raises(DataUnavailable):
        read_images("MNIST", tmp_path)


def test_a_damaged_file_gives_way_to_its_good_gzip(tmp_path):
    raw = fill(tmp_path / "MNIST/raw", "MNIST", compress=True)
    (raw / NAMES[0]).write_bytes(b"not this")
    with pytest.warns(UserWarning, match=f"{raw / NAMES[0]} is truncated or altered"):
        check("MNIST", read_images("MNIST", tmp_path))


def test_only_what_is_missing_is_written(tmp_path):
    fill(tmp_path / "debian", "FashionMNIST", compress=True)
    raw = fill(tmp_path / "FashionMNIST/raw", "FashionMNIST")
    (raw / NAMES[3]).unlink()
    before = tree(raw)
    check("FashionMNIST", read_images("FashionMNIST", tmp_path))
    assert {name: stamp for name, stamp in tree(raw).items() if name != NAMES[3]} == before


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_package_is_named_and_not_used(tmp_path, monkeypatch, harm):
    bad = fill(tmp_path / "debian", "FashionMNIST", compress=True) / f"{NAMES[0]}.gz"
    harm(bad)
    with (
        pytest.warns(UserWarning, match=f"{bad} is truncated or altered: .*; not used"),
        pytest.raises(DataUnavailable, match=r"debian \(3 of 4 files good\)"),
    ):
        read_images("FashionMNIST", tmp_path)
    assert bad.exists()
    answer_downloads(monkeypatch, serving)
    with pytest.warns(UserWarning, match=f"{bad} is"):
        check("FashionMNIST", read_images("FashionMNIST", tmp_path / "other"))


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_a_download_leaves_the_four_files_and_says_nothing(tmp_path, monkeypatch, capfd, name):
    answer_downloads(monkeypatch, serving)
    check(name, read_images(name, tmp_path))
    assert capfd.readouterr() == ("", "")
    assert sorted(tree(tmp_path)) == sorted(
        [f".{name}.lock", name, f"{name}/raw", *(f"{name}/raw/{file}" for file in NAMES)]
    )


def test_a_download_of_other_content_is_not_used(tmp_path, monkeypatch):
    def other(name, root):
        flip(fill(Path(root, name, "raw"), name) / NAMES[0])

    answer_downloads(monkeypatch, other)
    with pytest.raises(DataUnavailable, match=r"a download \(3 of 4 files good\)"):
        read_images("MNIST", tmp_path)
    assert not (tmp_path / "MNIST/raw" / NAMES[0]).exists()


def test_without_network_one_line_names_places_and_remedy(tmp_path):
    with pytest.raises(ValueError, match="is not available") as caught:
        read_images("MNIST", tmp_path)
    assert str(caught.value) == (
        f"MNIST is not available; tried {tmp_path}/MNIST/raw (0 of 4 files good), "
        "a download (<urlopen error [Errno -2] Name or service not known>): "
        "connect once and run `python run.py stage=data dataset=mnist`, "
        f"or put the files in {tmp_path}/MNIST/raw"
    )
    assert isinstance(caught.value, DataUnavailable)
    assert sorted(tree(tmp_path)) == [".MNIST.lock", "MNIST", "MNIST/raw"]


def test_without_network_fashion_names_debians_package(tmp_path):
    with pytest.raises(DataUnavailable) as caught:
        read_images("FashionMNIST", tmp_path)
    message = str(caught.value)
    assert f"Debian's package in {tmp_path / 'debian'} (0 of 4 files good)" in message
    assert "`python run.py stage=data dataset=fashion_mnist`" in message
    assert "`apt install dataset-fashion-mnist`" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionResetError(104, "Connection reset\nby peer"), "[Errno 104] Connection reset by peer"),
        (TimeoutError(), "TimeoutError"),
        (EOFError("x" * 1000), "x" * 120),
    ],
)
def test_any_failure_of_a_download_is_one_short_reason(tmp_path, monkeypatch, error, reason):
    answer_downloads(monkeypatch, raising(error))
    with pytest.raises(DataUnavailable) as caught:
        read_images("MNIST", tmp_path)
    assert f"a download ({reason})" in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataUnavailable, match=r"MNIST cannot be prepared in .*Not a directory") as caught:
        read_images("MNIST", tmp_path / "file")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_without_a_copy_is_one_sentence(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(DataUnavailable, match=r"cannot be prepared in .*Permission denied"):
        read_images("MNIST", tmp_path)
    tmp_path.chmod(0o755)


def test_a_damaged_file_in_a_read_only_folder_is_named(tmp_path, monkeypatch):
    bad = fill(tmp_path / "MNIST/raw", "MNIST") / NAMES[0]
    truncate(bad)

    def refuse(path, busy):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(idx_files, "locked", refuse)  # as for anybody but root
    with pytest.raises(DataUnavailable, match=rf"{bad} is truncated .*; \[Errno 13\] Permission denied"):
        read_images("MNIST", tmp_path)


def test_a_full_disk_leaves_nothing_under_a_final_name(tmp_path, monkeypatch):
    fill(tmp_path / "debian", "FashionMNIST", compress=True)

    def half(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(DataUnavailable, match="No space left on device"):
        read_images("FashionMNIST", tmp_path / "root")
    assert not list((tmp_path / "root/FashionMNIST/raw").iterdir())
    monkeypatch.undo()


def one_of_many(barrier, root: str, log: str) -> None:
    """A process that finds an empty folder, no package, and a slow download."""

    def download(name, folder):
        with Path(log).open("a") as file:
            file.write("download\n")
        for path, content in contents(name).items():
            time.sleep(0.1)
            target = Path(folder, name, "raw", path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)

    idx_files.MD5["MNIST"] = digests("MNIST")
    idx_files._download = download
    barrier.wait(HANGS)
    check("MNIST", read_images("MNIST", Path(root)))


@pytest.mark.long
def test_four_processes_on_one_empty_folder_download_once(tmp_path):
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["softtargets.readers.idx_files"])  # torch is imported once, not four times
    barrier, log = server.Barrier(4), tmp_path / "log"
    arguments = (barrier, str(tmp_path / "root"), str(log))
    processes = [server.Process(target=one_of_many, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(HANGS)
    assert [process.exitcode for process in processes] == [0] * 4
    assert log.read_text() == "download\n"
    left = [name for name in tree(tmp_path / "root") if not name.endswith("-ubyte")]
    assert left == [".MNIST.lock", "MNIST", "MNIST/raw"]


def test_threads_on_one_damaged_folder_all_succeed(tmp_path):
    fill(tmp_path / "debian", "FashionMNIST", compress=True)
    truncate(fill(tmp_path / "FashionMNIST/raw", "FashionMNIST") / NAMES[0])
    barrier, found = threading.Barrier(8), []

    def work():
        barrier.wait(HANGS)
        found.append(read_images("FashionMNIST", tmp_path))

    def work_at_once():
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(HANGS)

    with pytest.warns(UserWarning, match="renamed") as warned:
        work_at_once()
    assert len(found) == 8
    assert len(warned) == 1
    for each in found:
        check("FashionMNIST", each)


def prepared(root: Path, debian: Path) -> None:
    """Prepare the images as another user of group 12000 would, with the usual umask."""
    os.setgroups([12000])
    number = 12001 if not root.exists() else 12002
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
    os.umask(0o022)
    idx_files.MD5["FashionMNIST"], idx_files.DEBIAN = digests("FashionMNIST"), debian
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check("FashionMNIST", read_images("FashionMNIST", root))


def test_two_users_of_a_group_share_the_images_whatever_their_umask():
    if os.geteuid() != 0:
        pytest.skip("only root may be two users")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["softtargets.readers.idx_files"])
    with tempfile.TemporaryDirectory() as place:  # pytest's own folders are closed to other users
        os.chmod(place, 0o2775)
        os.chown(place, 0, 12000)
        root = Path(place, "data")
        debian = fill(Path(place, "debian"), "FashionMNIST", compress=True)
        for _ in range(2):  # the second mends what the first has left
            process = server.Process(target=prepared, args=(root, debian))
            process.start()
            process.join(HANGS)
            assert process.exitcode == 0
            assert all(path.stat().st_mode & stat.S_IWGRP for path in root.rglob("*"))
            truncate(root / "FashionMNIST/raw" / NAMES[0])
        names = {path.name for path in root.rglob("*")}
        assert {".FashionMNIST.lock", f"{NAMES[0]}.damaged"} <= names
