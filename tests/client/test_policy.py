import math
from dataclasses import dataclass, fields

import numpy as np
import pytest
from replies import join_reply, round_reply

from client.policy import ALLOWED_FIELDS, release
from ra_core.errors import ReleaseError
from ra_core.messages import DeliveryReply, JoinReply, RoundReply


def test_what_is_allowed_leaves_as_it_is():
    out = RoundReply.from_record(release(round_reply(), ("encoder",)))
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
        release(round_reply(**changes), ("encoder",))


@pytest.mark.parametrize("sent", [join_reply(), DeliveryReply("anna", "c" * 64)])
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
        release(Talkative(**vars(join_reply())), ("encoder",))
