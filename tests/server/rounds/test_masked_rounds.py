"""Federations with secure aggregation, of real sites in one process."""

import numpy as np
import pytest
from federating import train_hospitals
from hospitals import model_digest, tiny_federation
from summing import NAMES, secure, secure_hospitals

from client.ledger.book import Ledger

NO_NORM = {"max_update_norm": None}


@pytest.fixture
def hospitals(site_root, tmp_path):
    return secure_hospitals(site_root, tmp_path)


def lines(tmp_path, site="anna"):
    with Ledger.of(tmp_path / "state", site).opened() as opened:
        return list(opened.lines())


def test_the_model_has_the_bits_of_plain_aggregation(hospitals, tmp_path):
    done = train_hospitals(hospitals, secure())
    plain = train_hospitals(hospitals, tiny_federation(**NO_NORM))
    assert model_digest(done.model) == model_digest(plain.model)
    assert [r.answered for r in done.records] == [NAMES] * 3
