"""Tables of runs hold what the runs left."""

import json
import sys

import pytest
from conftest import SMALL
from results_by_hand import result

import softtargets
from softtargets.errors import BadInput


def test_a_row_holds_what_result_json_holds(run):
    left, folder = run(*SMALL)
    table = softtargets.results(folder.parent)
    assert len(table) == 1
    (row,) = json.loads(table.to_json(orient="records", double_precision=15))
    assert row["folder"] == str(folder)
    assert row["config_hash"] == left["provenance"]["config_hash"]
    assert {name: row[name] for name in left["choices"]} == left["choices"]
    for model, metrics in left["metrics"].items():
        for name, value in metrics.items():
            if not isinstance(value, list):
                assert table[f"{model}.{name}"][0] == value, (model, name)
    for part in ("distance", "baseline", "change", "cost"):
        for name, value in left[part].items():
            if not isinstance(value, list):
                assert table[f"{part}.{name}"][0] == value, (part, name)
    assert table["faces.js_t_forget.unlearned"][0] == left["faces"]["js_t_forget"]["unlearned"]
    assert table["faces.references"][0] == 1
    assert not [name for name in table if isinstance(table[name][0], list | tuple)]


def test_a_trajectory_has_a_row_for_every_look(run):
    left, folder = run(*SMALL)
    table = softtargets.trajectories(folder.parent)
    for name, column in left["trajectory"].items():
        assert table[name].tolist() == column
    assert set(table["folder"]) == {str(folder)}
    assert set(table["targets"]) == {"hard"}


def test_runs_of_several_choices_share_a_table(folder):
    table = softtargets.results(folder(result(0), result(0, "soft"), result(1, "soft")))
    assert table.groupby("targets")["distance.js_forget"].count().to_dict() == {"hard": 1, "soft": 2}


def test_where_pandas_is_missing_one_sentence_names_it(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(BadInput, match=r"softtargets\[pandas\]"):
        softtargets.results(folder(result(0)))


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no finished run"):
        softtargets.results(tmp_path)
