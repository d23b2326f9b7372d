"""Who does not keep to the protocol is found out before anything is opened, and named where that can be told."""

import os

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from masked import IDENTITIES, Round, make_terms, names, small_layout, vectors

from ra_core.errors import MaskingError
from ra_core.masking import Confirmation, Member, Roll, Tally, Terms, check_announcement
from ra_core.masking.dealing import deal

KEYS = dict(zip(names(len(IDENTITIES)), IDENTITIES, strict=True))
TERMS = make_terms(4, 3)
GIVEN = vectors(TERMS, np.random.default_rng(0))


def changed(message, **fields):
    """Altered by who relays it."""
    return message.model_copy(update=fields)


def resigned(message, **fields):
    """Altered by the site itself."""
    return message.model_copy(update=fields).signed(KEYS[message.site])


def replaced(messages, message):
    return [*(found for found in messages.values() if found.site != message.site), message]


def refused(culprit, match, what, *arguments):
    with pytest.raises(MaskingError, match=match) as error:
        what(*arguments)
    assert error.value.culprit == culprit


@pytest.mark.parametrize(
    ("count", "threshold", "why"),
    [
        (2, 2, "too few to hide"),
        (3, 2, "from 3 to 3"),
        (6, 3, "from 4 to 6"),
        (4, 5, "from 3 to 4"),
        (9, 4, "from 5 to 9"),
    ],
)
def test_sums_of_too_few_are_no_terms(count, threshold, why):
    with pytest.raises(MaskingError, match=why):
        make_terms(count, threshold)


def test_terms_under_which_a_sum_could_wrap_are_refused():
    make_terms(4, 3, small_layout(most=2**61 - 1))
    with pytest.raises(MaskingError, match="may not fit"):
        make_terms(4, 3, small_layout(most=2**61))


def test_a_key_pinned_for_two_sites_is_refused():
    pins = dict(TERMS.pins) | {"site03": TERMS.pins["site00"]}
    with pytest.raises(MaskingError, match="same key"):
        Terms("run", 1, pins, 3, TERMS.layout)


# Announcements


def announced():
    return Round(TERMS).announcements


def test_a_site_that_is_not_pinned_or_has_another_key_is_refused():
    message = announced()["site01"]
    check_announcement(TERMS, message)
    refused("stranger", "none of the agreed", check_announcement, TERMS, changed(message, site="stranger"))
    other = Ed25519PrivateKey.generate()
    posed = changed(message, identity=other.public_key().public_bytes_raw()).signed(other)
    refused("site01", "not the pinned one", check_announcement, TERMS, posed)
    with pytest.raises(MaskingError, match="not the pinned one"):
        Member.announce(TERMS, "site01", other)


def test_the_server_cannot_put_keys_of_its_own_in():
    for name in ("masking", "sharing"):
        posed = changed(announced()["site01"], **{name: os.urandom(32)})
        refused("site01", "is not signed by it", check_announcement, TERMS, posed)


@pytest.mark.parametrize("other", [make_terms(4, 3, run="other"), make_terms(4, 3, number=2)])
def test_keys_of_another_run_or_round_are_refused(other):
    replayed = Round(other).announcements["site01"]
    refused("site01", "another run or round", check_announcement, TERMS, replayed)
    disguised = changed(replayed, run=TERMS.run, round=TERMS.round, terms=TERMS.digest)
    refused("site01", "is not signed by it", check_announcement, TERMS, disguised)


@pytest.mark.parametrize(
    "other",
    [make_terms(4, 4), make_terms(5, 3), make_terms(4, 3, small_layout(5)), make_terms(4, 3, small_layout(most=9))],
)
def test_a_site_with_other_terms_is_named(other):
    refused("site01", "has other terms", check_announcement, TERMS, Round(other).announcements["site01"])


def test_a_key_stands_once():
    found = announced()
    copy = resigned(found["site02"], masking=found["site01"].masking)
    refused("site02", "stands elsewhere", Roll.of, TERMS, replaced(found, copy))
    twice = resigned(found["site02"], masking=found["site02"].sharing)
    refused("site02", "stands elsewhere", Roll.of, TERMS, replaced(found, twice))
    refused("site01", "two messages", Roll.of, TERMS, [*found.values(), found["site01"]])


def test_a_site_sees_when_its_own_keys_are_not_told():
    played = Round(TERMS)
    left_out = [message for site, message in played.announcements.items() if site != "site00"]
    refused("", "left out", played.members["site00"].deal, left_out)
    older = replaced(played.announcements, announced()["site00"])
    refused("", "left out or replaced", played.members["site00"].deal, older)


def test_a_key_that_agrees_on_zero_with_all_is_refused():
    played = Round(TERMS)
    for name in ("masking", "sharing"):
        bad = resigned(played.announcements["site01"], **{name: bytes(32)})
        refused("site01", "every agreement", played.members["site00"].deal, replaced(played.announcements, bad))


# Dealings


def test_an_altered_dealing_is_refused():
    played = Round(TERMS).deal()
    message = played.dealings["site01"]
    altered = dict.fromkeys(message.sealed, b"\x00" * 92)
    refused(
        "site01",
        "is not signed",
        played.members["site00"].mask,
        replaced(played.dealings, changed(message, sealed=altered)),
        GIVEN["site00"],
    )
    missing = resigned(message, sealed={name: sealed for name, sealed in message.sealed.items() if name != "site03"})
    refused("site01", "has not dealt", played.roll.check_dealing, missing)


def test_a_dealer_whose_shares_cannot_be_opened_is_named():
    played = Round(TERMS).deal()
    message = played.dealings["site01"]
    swapped = message.sealed | {"site00": message.sealed["site02"]}
    bad = replaced(played.dealings, resigned(message, sealed=swapped))
    refused("site01", "can't be opened", played.members["site00"].mask, bad, GIVEN["site00"])


def test_a_dealer_whose_shares_are_not_those_committed_to_is_named():
    played = Round(TERMS).deal()
    message = played.dealings["site01"]
    for kind in ("seed_shares", "key_shares"):
        other = getattr(message, kind) | {"site00": os.urandom(32)}
        bad = replaced(played.dealings, resigned(message, **{kind: other}))
        refused("site01", "not the one committed", played.members["site00"].mask, bad, GIVEN["site00"])
    assert played.members["site00"].state.stage == "dealt"


@pytest.mark.parametrize("gone", [(), ("site01",)])
def test_a_dealer_whose_shares_give_another_secret_is_named(gone):
    """Each share is the one committed to, and yet they are of another seed and key than the dealer's."""
    played = Round(TERMS, {"dealt": set(gone)}).deal()
    state = played.members["site01"].state
    bad, own = deal(played.roll, "site01", os.urandom(32), os.urandom(32), state.sharing)
    played.dealings["site01"] = resigned(bad, seed=played.dealings["site01"].seed)
    played.members["site01"].state = state.model_copy(update={"shares": {"site01": own}})
    tally = played.mask(GIVEN).tally()
    played.confirm(tally.close()).reveal()
    for message in played.reveals.values():
        tally.reveal(message)
    refused("site01", "don't give its secret", tally.unmask)


def test_messages_of_an_earlier_try_of_the_round_are_refused():
    played, earlier = Round(TERMS).deal(), Round(TERMS).deal()
    bad = replaced(played.dealings, earlier.dealings["site01"])
    refused("site01", "other announcements", played.members["site00"].mask, bad, GIVEN["site00"])


def test_a_server_that_tells_sites_different_announcements_is_found_out():
    """Site 3 is kept from sites 0 and 1, so that their masks would be of fewer."""
    played = Round(make_terms(5, 3))
    everyone = list(played.announcements.values())
    few = [message for message in everyone if message.site != "site03"]
    dealings = [
        played.members[name].deal(few if name < "site02" else everyone) for name in played.members if name != "site03"
    ]
    with pytest.raises(MaskingError, match="other announcements"):
        played.members["site04"].mask(dealings, np.zeros(4, np.uint64))


# Masked figures


def test_altered_figures_are_refused():
    played = Round(TERMS).deal().mask(GIVEN)
    tally = Tally(played.roll, played.dealings.values())
    message, vector = played.inputs["site02"]
    refused("site02", "not those that it has signed", tally.add, message, vector + np.uint64(1))
    refused("site02", "not those that it has signed", tally.add, message, vector[:-1])
    refused("site02", "not those that it has signed", tally.add, message, vector.view(np.int64))
    refused("site02", "is not signed by it", tally.add, changed(message, vector=os.urandom(32)), vector)
    tally.add(message, vector)
    refused("site02", "twice", tally.add, message, vector)


def test_figures_masked_for_other_dealers_would_leave_masks_in_the_sum():
    played = Round(make_terms(5, 3)).deal()
    few = [message for message in played.dealings.values() if message.site != "site04"]
    tally = Tally(played.roll, played.dealings.values())
    refused("site00", "for other sites", tally.add, *played.members["site00"].mask(few, np.zeros(4, np.uint64)))


def test_figures_of_who_has_not_dealt_or_comes_too_late_are_refused():
    played = Round(TERMS).deal().mask(GIVEN)
    tally = Tally(played.roll, [message for site, message in played.dealings.items() if site != "site03"])
    refused("site03", "has not dealt", tally.add, *played.inputs["site03"])
    tally = Tally(played.roll, played.dealings.values())
    for name in names(3):
        tally.add(*played.inputs[name])
    tally.close()
    refused("site03", "too late", tally.add, *played.inputs["site03"])


def test_a_vector_that_is_not_of_the_layout_is_not_masked():
    member = Round(TERMS).deal().members["site00"]
    for bad in (np.zeros(3, np.uint64), np.zeros(4, np.int64), np.zeros((2, 2), np.uint64)):
        refused("", "not of the round's layout", member.mask, [], bad)


# The end


def to_the_end(terms=TERMS, gone=("site03",)):
    given_ = vectors(terms, np.random.default_rng(0))
    played = Round(terms, {"dealt": set(gone)}).deal().mask(given_)
    return played, played.tally()


@pytest.mark.parametrize(
    "told",
    [
        ["site01", "site02", "site03"],
        ["site00", "site01", "site02", "site02"],
        ["site00", "site01", "stranger"],
    ],
)
def test_a_list_of_survivors_that_cannot_be_is_not_signed(told):
    played, _ = to_the_end()
    refused("", "list of survivors", played.members["site00"].confirm, told)


def test_a_sum_of_fewer_than_the_threshold_is_not_confirmed():
    played, _ = to_the_end()
    refused("", "2 of 4 sites", played.members["site00"].confirm, ["site00", "site01"])


def test_a_server_that_asks_different_questions_gets_no_share():
    """Half of the sites are told that site 5 is lost, the others that it isn't: its seed and its key would be open."""
    terms = make_terms(6, 4)
    played, tally = to_the_end(terms, ())
    everyone = tally.close()
    without = [name for name in everyone if name != "site05"]
    said = [m.confirm(without if name < "site03" else everyone) for name, m in played.members.items()]
    for name in everyone:
        with pytest.raises(MaskingError, match="other survivors") as error:
            played.members[name].reveal(said)
        assert error.value.culprit in terms.sites
        mine = [message for message in said if (message.survivors == everyone) == (name >= "site03")]
        refused("", "3 of 6 sites have confirmed", played.members[name].reveal, mine)
    assert {member.state.stage for member in played.members.values()} == {"confirmed"}
    refused("site00", "other survivors", tally.confirm, said[0])


def test_forged_confirmations_are_refused():
    played, tally = to_the_end()
    played.confirm(tally.close())
    member, message = played.members["site00"], played.confirmations["site01"]
    altered = changed(message, survivors=("site00", "site01", "site02", "site03"), dropped=())
    refused("site01", "is not signed", member.reveal, replaced(played.confirmations, altered))
    unsigned = changed(message, site="site03")
    refused("site03", "is not signed", member.reveal, replaced(played.confirmations, unsigned))
    refused("site01", "two messages", member.reveal, [*played.confirmations.values(), message])
    lost = Confirmation(**message.model_dump() | {"site": "site03"}).signed(KEYS["site03"])
    refused("site03", "other survivors", member.reveal, [*played.confirmations.values(), lost])


def test_wrong_shares_name_their_holder():
    played, tally = to_the_end()
    survivors = tally.close()
    played.confirm(survivors).reveal()
    message = played.reveals["site01"]
    for kind in ("seeds", "keys"):
        wrong = getattr(message, kind) | {sorted(getattr(message, kind))[0]: os.urandom(32)}
        refused("site01", "not the one committed", tally.reveal, resigned(message, **{kind: wrong}))
        refused("site01", "is not signed", tally.reveal, changed(message, **{kind: wrong}))
    refused("site01", "other shares than it was asked", tally.reveal, resigned(message, keys={}))
    both = message.seeds | {"site03": message.keys["site03"]}
    refused("site01", "other shares than it was asked", tally.reveal, resigned(message, seeds=both))
    for name in survivors:
        tally.reveal(played.reveals[name])
    tally.unmask()


def test_nothing_is_opened_before_the_sum_is_closed():
    played, tally = to_the_end()
    played.confirm(["site00", "site01", "site02"]).reveal()
    for what in (
        tally.unmask,
        lambda: tally.reveal(played.reveals["site00"]),
        lambda: tally.confirm(played.confirmations["site00"]),
    ):
        refused("", "before the sum is closed", what)


def test_each_question_is_answered_once_and_in_its_turn():
    played = Round(TERMS)
    member, turns = played.members["site00"], ("deal", "mask", "confirm", "reveal")
    steps = (played.deal, lambda: played.mask(GIVEN), lambda: played.confirm(TERMS.sites), played.reveal)
    for turn, step in enumerate(steps):
        for name in turns[:turn] + turns[turn + 1 :]:
            arguments = ([], GIVEN["site00"]) if name == "mask" else ([],)
            refused("", "can't be asked that now", getattr(member, name), *arguments)
        step()
    for name in turns:
        arguments = ([], GIVEN["site00"]) if name == "mask" else ([],)
        refused("", "has revealed .* can't be asked that now", getattr(member, name), *arguments)


def test_a_server_that_relays_other_dealings_to_some_is_found_out():
    """The survivors are the same to all, but to some site 4 has dropped out and to others it has never dealt."""
    terms = make_terms(5, 3)
    played, given_ = Round(terms, {"dealt": {"site04"}}).deal(), vectors(terms, np.random.default_rng(0))
    dealings = list(played.dealings.values())
    few = [message for message in dealings if message.site != "site04"]
    for name in names(4):
        played.members[name].mask(few if name < "site02" else dealings, given_[name])
    played.confirm(names(4))
    said = played.confirmations.values()
    assert len({message.survivors for message in said}) == 1
    for name in names(4):
        with pytest.raises(MaskingError, match="other survivors"):
            played.members[name].reveal(said)


def test_shares_of_an_earlier_try_do_not_open_even_where_their_dealer_says_so():
    """Both sites have the same keys in the two tries; a third has others."""
    played = Round(TERMS)
    other = replaced(played.announcements, announced()["site02"])
    dealing = played.members["site01"].deal(played.announcements.values())
    holder = played.members["site00"]
    own = holder.deal(other)
    moved = resigned(dealing, heard=own.heard)
    third = changed(moved, site="site03", sealed=dict.fromkeys(names(3), bytes(92))).signed(KEYS["site03"])
    refused("site01", "can't be opened", holder.mask, [own, moved, third], GIVEN["site00"])


def test_a_signature_counts_for_one_kind_of_message():
    class Promise(Confirmation):
        """With the fields of the other."""

    played, tally = to_the_end()
    message = played.confirm(tally.close()).confirmations["site01"]
    promise = Promise(**message.model_dump() | {"signature": b""}).signed(KEYS["site01"])
    tally.confirm(message)
    refused("site01", "is not signed", tally.confirm, changed(message, signature=promise.signature))
