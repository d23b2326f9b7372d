"""Whole rounds: whoever drops out at whatever stage, the sum is that of the survivors, or nothing is opened."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masked import IDENTITIES, STAGES, Round, make_terms, names, plain_sum, small_layout, vectors

from ra_core.errors import MaskingError
from ra_core.masking import Announcement, Dealing, Member, MemberState, Roll, Tally


@st.composite
def patterns(draw):
    """Sites, a threshold that is allowed, and for each site the stage after which it is gone, or none."""
    count = draw(st.integers(3, 8))
    threshold = draw(st.integers(max(3, count // 2 + 1), count))
    after = draw(st.lists(st.sampled_from([None, None, None, *STAGES]), min_size=count, max_size=count))
    return count, threshold, dict(zip(names(count), after, strict=True))


@settings(max_examples=60, deadline=None)
@given(patterns(), st.integers(0, 2**32 - 1))
def test_the_sum_is_the_plain_one_bit_for_bit_or_nothing_is_opened(pattern, seed):
    count, threshold, after = pattern
    terms = make_terms(count, threshold, small_layout(5, (2**63 - 1) // count))
    given_ = vectors(terms, np.random.default_rng(seed))
    gone = {stage: {name for name, last in after.items() if last == stage} for stage in STAGES}
    played = Round(terms, gone)
    if sum(last is None for last in after.values()) < threshold:
        with pytest.raises(MaskingError, match=rf"of {count} sites .*, {threshold} are needed"):
            played.total(given_)
        return
    total, survivors = played.total(given_)
    assert survivors == tuple(sorted(name for name, last in after.items() if last not in STAGES[:2]))
    assert total.view(np.int64).tolist() == plain_sum(given_, survivors).tolist()


@pytest.mark.parametrize("stage", STAGES)
def test_one_site_too_many_lost_at_any_stage_is_told(stage):
    terms = make_terms(5, 4)
    words = {"announced": "dealt", "dealt": "sent masked", "masked": "confirmed", "confirmed": "revealed"}[stage]
    given_ = vectors(terms, np.random.default_rng(0))
    Round(terms, {stage: {"site03"}}).total(given_)
    with pytest.raises(MaskingError, match=f"3 of 5 sites have {words}.*4 are needed"):
        Round(terms, {stage: {"site03", "site01"}}).total(given_)


def test_sites_that_never_announce_are_no_part_of_it():
    terms = make_terms(6, 4)
    given_ = vectors(terms, np.random.default_rng(1))
    played = Round(terms)
    for gone in ("site00", "site04"):
        del played.members[gone], played.announcements[gone]
    total, survivors = played.total(given_)
    assert survivors == ("site01", "site02", "site03", "site05")
    assert (total.view(np.int64) == plain_sum(given_, survivors)).all()
    left = Round(terms)
    with pytest.raises(MaskingError, match="3 of 6 sites have announced"):
        left.members["site00"].deal(list(left.announcements.values())[:3])


def test_below_the_threshold_the_server_has_only_noise():
    """With one reveal too few, what the server holds of the sum has nothing of it: all figures are zero here."""
    terms = make_terms(4, 3, small_layout(2048))
    given_ = {name: np.zeros(2048, np.uint64) for name in terms.sites}
    played = Round(terms).deal().mask(given_)
    tally = played.tally()
    played.confirm(tally.close()).reveal()
    for message in list(played.reveals.values())[:2]:
        tally.reveal(message)
    with pytest.raises(MaskingError, match="2 of 4 sites have revealed"):
        tally.unmask()
    left_over = sum(vector for _, vector in played.inputs.values())
    assert np.unique(left_over).size == 2048


def test_all_messages_and_states_survive_being_written_down():
    """As between two messages of a site, which is another process each time."""
    terms = make_terms(3, 3)
    given_ = vectors(terms, np.random.default_rng(2))

    def again(member, number):
        text = member.state.model_dump_json()
        json.loads(text)
        state = MemberState.model_validate_json(text)
        assert state == member.state
        return Member(state, IDENTITIES[number])

    def sent(message):
        return type(message).from_bytes(message.to_bytes())

    members, heard = {}, []
    for number, name in enumerate(terms.sites):
        members[name], message = Member.announce(terms, name, IDENTITIES[number])
        heard.append(sent(message))
    steps = {"members": members}

    def each(what):
        members.update({name: again(member, number) for number, (name, member) in enumerate(members.items())})
        return [what(name, member) for name, member in steps["members"].items()]

    dealings = each(lambda _, member: sent(member.deal(heard)))
    tally = Tally(Roll.of(terms, heard), dealings)
    for message, vector in each(lambda name, member: member.mask(dealings, given_[name])):
        tally.add(sent(message), vector)
    survivors = tally.close()
    confirmations = each(lambda _, member: sent(member.confirm(survivors)))
    for message in each(lambda _, member: sent(member.reveal(confirmations))):
        tally.reveal(message)
    assert (tally.unmask().view(np.int64) == plain_sum(given_, terms.sites)).all()
    assert {member.state.stage for member in members.values()} == {"revealed"}


def test_the_order_of_arrival_changes_nothing():
    terms = make_terms(4, 3)
    given_ = vectors(terms, np.random.default_rng(3))
    played = Round(terms, {"dealt": {"site02"}})
    played.announcements = dict(reversed(played.announcements.items()))
    played.deal()
    played.dealings = dict(reversed(played.dealings.items()))
    played.mask(given_)
    played.inputs = dict(reversed(played.inputs.items()))
    tally = played.tally()
    played.confirm(tally.close()[::-1]).reveal()
    for message in reversed(played.reveals.values()):
        tally.reveal(message)
    assert (tally.unmask().view(np.int64) == plain_sum(given_, ("site00", "site01", "site03"))).all()


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[1]", b"\xff\xfe", b"[" * 100_000, b'{"run": "r", "round": "1"}', b"x" * (2**20 + 1)]
)
@pytest.mark.parametrize("kind", [Announcement, Dealing])
def test_what_is_no_message_is_refused(kind, data):
    with pytest.raises(MaskingError, match=rf"{kind.__name__} (can't be read|of more than)"):
        kind.from_bytes(data)
