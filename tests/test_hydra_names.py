"""What is used of Hydra that is not its public interface."""

import logging
import re

import pytest
from conftest import ROOT
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf
from torch import nn

from softtargets.compat import hydra_names


def test_no_other_module_imports_private_names_of_hydra():
    private = re.compile(r"^\s*(from|import) (hydra|omegaconf)\S*\._|\b(node|config|cfg)\._[a-z]", re.MULTILINE)
    sources = [file for place in ("softtargets", "hydra_plugins") for file in (ROOT / place).rglob("*.py")]
    found = {file.name for file in sources if private.search(file.read_text())}
    assert found - {"softtargets_sweeper.py", "sweep.py"} == {"hydra_names.py"}


def test_what_a_target_stands_for_is_said_by_an_exception_alone(caplog):
    assert hydra_names.located("torch.nn.Linear") is nn.Linear
    with pytest.raises(ImportError, match="no_such"):
        hydra_names.located("torch.no_such")
    assert caplog.records == []
    logging.getLogger("hydra.utils").error("heard")
    assert [record.message for record in caplog.records] == ["heard"]


def test_checking_ends_with_its_block(monkeypatch):
    monkeypatch.setattr(Hydra, "compose_config", before := lambda self, name: OmegaConf.create({"name": name}))
    seen = []
    with hydra_names.checking(seen.append):
        assert Hydra.compose_config(None, "one") == {"name": "one"}
    assert seen == [{"name": "one"}]
    assert Hydra.compose_config is before
