"""What is used of Hydra that is not its public interface."""

import logging

import pytest
from hydra._internal.hydra import Hydra
from omegaconf import OmegaConf
from torch import nn

from softtargets.compat import hydra_names


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
