"""What a server sees of a single site looks like noise, and never opens it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from masked import Round, make_terms, small_layout, vectors
from scipy.stats import chisquare

from ra_core.masking.keys import agree
from ra_core.masking.roll import Roll
from ra_core.masking.sharing import combine
from ra_core.masking.stream import add_stream, pair_key, pair_sign, self_key

SIZE = 1 << 14


def pvalue(words):
    return chisquare(np.bincount(np.frombuffer(words.tobytes(), np.uint8), minlength=256)).pvalue


def masks(played):
    """All keys of masks of a round: the sites' own, and those of pairs."""
    states = {name: member.state for name, member in played.members.items()}
    roll = Roll.of(played.terms, played.announcements.values())
    own = [self_key(roll, states, name, state.seed) for name, state in states.items()]
    pairs = [
        pair_key(roll, states, a, b, states[a].masking, played.announcements[b].masking)
        for a, b in itertools.combinations(states, 2)
    ]
    return own + pairs


@pytest.mark.parametrize("figures", [np.zeros(SIZE, np.uint64), np.full(SIZE, 2**40, np.uint64)])
def test_a_single_masked_vector_looks_uniform(figures):
    """Also each byte of a word, where figures that are small would show first; and the sum of two vectors."""
    assert pvalue(figures) < 1e-6
    terms = make_terms(4, 3, small_layout(SIZE))
    played = Round(terms).deal().mask(dict.fromkeys(terms.sites, figures))
    seen = [vector for _, vector in played.inputs.values()]
    seen += [a + b for a, b in itertools.combinations(seen, 2)] + [a - b for a, b in itertools.combinations(seen, 2)]
    for vector in seen:
        assert pvalue(vector) > 1e-7
        for byte in range(8):
            assert pvalue(vector.view(np.uint8)[byte::8].copy()) > 1e-7


def test_the_same_figures_masked_again_look_like_others():
    terms = make_terms(3, 3, small_layout(SIZE))
    given_ = dict.fromkeys(terms.sites, np.zeros(SIZE, np.uint64))
    first, second = (Round(terms).deal().mask(given_).inputs["site00"][1] for _ in range(2))
    assert pvalue(first - second) > 1e-7
    assert np.count_nonzero(first == second) == 0


def test_no_two_masks_share_a_keystream():
    """Over rounds, runs, sites and pairs; and over two tries of one round."""
    found = []
    for terms in (make_terms(4, 3), make_terms(4, 3), make_terms(4, 3, number=2), make_terms(4, 3, run="other")):
        found += masks(Round(terms))
    assert len(set(found)) == len(found) == 4 * (4 + 6)


def test_masks_differ_in_each_word_of_their_context_with_the_same_secrets():
    """Even with the same keys and seeds run, round, announcements, dealers, purpose and pair keep masks apart."""
    played = Round(make_terms(4, 3))
    states = {name: member.state for name, member in played.members.items()}
    a, b = states["site00"], states["site01"]
    public = played.announcements["site01"].masking
    terms = [make_terms(4, 3), make_terms(4, 3, number=2), make_terms(4, 3, run="other"), make_terms(4, 3, run="run1")]
    heard = played.announcements
    fewer = {name: found for name, found in heard.items() if name != "site03"}
    rounds = [(Roll(each, heard), tuple(heard)) for each in terms]
    rounds += [(Roll(terms[0], fewer), tuple(fewer)), (Roll(terms[0], heard), tuple(fewer))]
    keys = [pair_key(*each, "site00", other, a.masking, public) for each in rounds for other in ("site01", "site02")]
    keys += [self_key(*each, name, a.seed) for each in rounds for name in ("site00", "site01")]
    keys += [agree(a.masking, public, each.context("share", "site00", "site01")) for each in terms]
    assert len(set(keys)) == len(keys)
    assert keys[0] == pair_key(*rounds[0], "site01", "site00", b.masking, played.announcements["site00"].masking)
    assert (pair_sign("site00", "site01"), pair_sign("site01", "site00")) == (1, -1)


def test_a_dropped_sites_key_opens_no_other_round():
    """Its masks of another round are of other keys, of which the recovered one tells nothing."""
    rounds = [Round(make_terms(4, 3, number=number)) for number in (1, 2)]
    for number, other in ((0, 1), (1, 0)):
        recovered = rounds[number].members["site00"].state.masking
        public = rounds[other].announcements["site01"].masking
        roll = Roll.of(rounds[other].terms, rounds[other].announcements.values())
        assert pair_key(roll, roll.terms.sites, "site00", "site01", recovered, public) not in masks(rounds[other])


def test_a_dropped_sites_figures_stay_hidden_when_its_key_is_opened():
    """Its vector has come too late: its pairwise masks can be taken off, its own stays."""
    terms = make_terms(4, 3, small_layout(SIZE))
    given_ = {name: np.zeros(SIZE, np.uint64) for name in terms.sites}
    played = Round(terms).deal().mask(given_)
    late = played.inputs["site03"][1].copy()
    key = combine({n + 1: played.members[name].state.shares["site03"][1] for n, name in enumerate(terms.sites[:3])}, 3)
    for other in terms.sites[:3]:
        shared = pair_key(played.roll, terms.sites, "site03", other, key, played.announcements[other].masking)
        add_stream(late, shared, -pair_sign("site03", other))
    assert pvalue(late) > 1e-7
    add_stream(late, self_key(played.roll, terms.sites, "site03", played.members["site03"].state.seed), -1)
    assert not late.any()


@settings(max_examples=10, deadline=None)
@given(st.sets(st.sampled_from(["site01", "site03", "site04"]), max_size=2), st.integers(0, 2**32 - 1))
def test_no_site_reveals_both_secrets_of_another(dropped, seed):
    terms = make_terms(6, 4)
    given_ = vectors(terms, np.random.default_rng(seed))
    played = Round(terms, {"dealt": dropped})
    played.total(given_)
    for message in played.reveals.values():
        assert set(message.seeds) == set(terms.sites) - dropped
        assert set(message.keys) == dropped
    for member in played.members.values():
        told = [m for m in played.reveals.values() if m.site == member.state.site]
        shares = {share for m in told for share in (*m.seeds.values(), *m.keys.values())}
        for pair in member.state.shares.values():
            assert len(shares & set(pair)) <= 1


def test_nothing_secret_stands_in_a_message():
    terms = make_terms(4, 3)
    played = Round(terms, {"dealt": {"site03"}})
    played.total(vectors(terms, np.random.default_rng(0)))
    said = [*played.announcements.values(), *played.dealings.values(), *(m for m, _ in played.inputs.values())]
    said += [*played.confirmations.values(), *played.reveals.values()]
    everything = b"".join(str(message.model_dump()).encode() for message in said)
    for member in played.members.values():
        for secret in (member.state.masking, member.state.sharing, member.state.seed):
            assert str(secret).encode() not in everything
