"""Images of samples that leak, on a report's page: from the dataset by index, and none that are not sure."""

import base64
import io
import re
import shutil

import numpy
import PIL.Image
import pytest
from conftest import SMALL

from softtargets.datasets import mnist_5k
from softtargets.readers import downloads, idx_files
from softtargets.report import leaks
from softtargets.report.__main__ import main
from softtargets.report.images import forget_images
from softtargets.report.runs import read
from softtargets.system.files import read_json, write_json


@pytest.fixture(scope="module")
def place(composed, tmp_path_factory):
    """A folder with one real run on digits."""
    from softtargets.console import Console
    from softtargets.execution import pipeline

    folder = tmp_path_factory.mktemp("images")
    pipeline.run_experiment(composed(*SMALL, "mu_algo=none"), folder / "run0", Console())
    return folder


def decoded(address: str) -> numpy.ndarray:
    head, _, content = address.partition(",")
    assert head == "data:image/png;base64"
    return numpy.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(content))))


def test_images_are_those_of_the_dataset_at_their_index(place):
    digits = mnist_5k()
    shown = forget_images(read(place)[0], [3, 0, 7])
    assert len({one.index for one in shown}) == 3
    for one in shown:
        numpy.testing.assert_array_equal(decoded(one.address), digits.train_pixels[one.index, 0].numpy())
        assert one.class_name == f"class {digits.train_labels[one.index]}"


def test_other_data_or_code_of_the_users_give_no_images(place, tmp_path):
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    result = read_json(tmp_path / "run0/result.json")
    write_json(tmp_path / "run0/result.json", result | {"hashes": result["hashes"] | {"forget_set": "another"}})
    assert forget_images(read(tmp_path)[0], [0]) == ()
    write_json(tmp_path / "run0/result.json", result)
    file = tmp_path / "run0/config.yaml"
    file.write_text(file.read_text().replace("softtargets.datasets.mnist_5k", "own_parts.images"))
    assert forget_images(read(tmp_path)[0], [0]) == ()


def test_a_report_neither_downloads_nor_leaves_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(idx_files, "_prepare", lambda *given: pytest.fail("nothing may be prepared"))
    with downloads.switched_off(), pytest.raises(idx_files.DataUnavailable, match="MNIST is not complete"):
        idx_files.read_images("MNIST", tmp_path / "data")
    assert list(tmp_path.iterdir()) == []
    assert downloads.are_allowed()


@pytest.mark.long
def test_the_page_shows_the_worst_samples_with_their_images(place, tmp_path, monkeypatch):
    monkeypatch.setattr(leaks, "DRAWS", dict.fromkeys(leaks.DRAWS, 1))
    first = read_json(place / "run0/result.json")
    for seed in range(10):
        folder = tmp_path / "runs" / f"run{seed}"
        shutil.copytree(place / "run0", folder)
        hashes = first["hashes"] | {"original": f"original{seed}", "retrained": f"retrained{seed}"}
        write_json(
            folder / "result.json",
            first | {"choices": first["choices"] | {"seed": seed}, "hashes": hashes},
        )
        with numpy.load(folder / "margins.npz") as left:
            draw = numpy.random.default_rng(seed)
            arrays = {
                name: left[name] if "probs" in name else left[name] + draw.normal(size=left[name].shape)
                for name in left.files
            }
        numpy.savez(folder / "margins.npz", **arrays)
    assert main([str(tmp_path / "runs")]) == 0
    text = (tmp_path / "runs/report.html").read_text()
    images = re.findall(r'<img src="([^"]+)" alt="training image (\d+), class (\d)"', text)
    assert len(images) == 20
    digits = mnist_5k()
    for address, index, label in images:
        numpy.testing.assert_array_equal(decoded(address), digits.train_pixels[int(index), 0].numpy())
        assert int(label) == digits.train_labels[int(index)]
    assert str(place) not in text
