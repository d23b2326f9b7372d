import math
from dataclasses import dataclass, fields

import numpy as np
import pytest

from client.policy import ALLOWED_FIELDS, release
from ra_core.errors import ReleaseError
from ra_core.messages import DeliveryReply, JoinReply, RoundReply


def reply(**changes):
    fields = {
        "site": "anna",
        "round": 1,
        "study_digest": "s",
        "model_hash": "m",
        "fingerprint": "f" * 64,
        "n_images": 9,
        "n_patients": 3,
        "n_val": 4,
        "n_declared": 20,
        "n_used": 19,
        "metrics": {"validation_error": 0.5},
        "update": {"encoder.w": np.zeros(2, np.int32)},
    }
    return RoundReply(**fields | changes)


def test_what_is_allowed_leaves_as_it_is():
    out = RoundReply.from_record(release(reply(), ("encoder",)))
    assert out.metrics == {"validation_error": 0.5}
    assert out.n_images == 9
    np.testing.assert_array_equal(out.update["encoder.w"], np.zeros(2, np.int32))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"update": {"decoder.w": np.zeros(2, np.int32)}}, "decoder.w"),
        ({"update": {"optimizer.m": np.zeros(2, np.int32)}}, "optimizer.m"),
        ({"metrics": {"validation_error": 0.5, "score_of_patient_7": 0.1}}, "score_of_patient_7"),
        ({"metrics": {"validation_error": math.nan}}, "not finite"),
    ],
)
def test_anything_else_stays(changes, reason):
    with pytest.raises(ReleaseError, match=reason):
        release(reply(**changes), ("encoder",))


JOIN = {
    "site": "anna",
    "study_digest": "a" * 64,
    "package_hash": "b" * 64,
    "anatomy": "brain",
    "modality": "MR",
    "n_images": 9,
    "n_patients": 3,
    "n_val": 4,
    "n_val_patients": 2,
    "n_declared": 20,
    "n_used": 19,
}


@pytest.mark.parametrize("sent", [JoinReply(**JOIN), DeliveryReply("anna", "c" * 64)])
def test_counts_and_hashes_leave_as_they_are(sent):
    assert type(sent).from_record(release(sent, ("encoder",))) == sent


def test_the_list_names_every_field_of_today():
    for kind, allowed in ALLOWED_FIELDS.items():
        assert {field.name for field in fields(kind)} == allowed


@dataclass(frozen=True)
class Talkative(JoinReply):
    patients: str = "patient seven"


def test_a_field_that_nobody_has_put_on_the_list_stays():
    with pytest.raises(ReleaseError, match="not on the list"):
        release(Talkative(**JOIN), ("encoder",))
