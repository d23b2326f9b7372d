"""Epsilon, held against another accountant by another method."""

import pytest
from opacus.accountants import PRVAccountant
from pydantic import ValidationError

from ra_core.config import PolicyConfig, PrivacyConfig
from ra_core.errors import ConfigError
from ra_core.privacy.accounting import Releases, epsilon_of, noise_for

DELTA = 1e-5


def test_of_encoder_and_decoder_on_one_batch_one_accountant_knows_too_little():
    own = epsilon_of([Releases(0.1, 1.0, 200), Releases(0.1, 1.0, 200)], 1e-3)
    shared = epsilon_of([Releases(0.1, 2**-0.5, 200)], 1e-3)
    assert (own, shared) == (pytest.approx(12.2, abs=0.05), pytest.approx(17.0, abs=0.05))


@pytest.mark.parametrize(
    "rounds",
    [
        [Releases(0.05, 1.2, 100)] * 3,
        [Releases(0.05, 1.0, 60), Releases(0.05, 1.0, 120), Releases(0.02, 2.0, 200)],
    ],
)
def test_over_rounds_it_is_what_privacy_loss_distributions_give_and_a_little_more(rounds):
    other = PRVAccountant()
    other.history = [(r.noise_multiplier, r.sampling_rate, r.times) for r in rounds]
    exact = other.get_epsilon(DELTA)
    assert exact <= epsilon_of(rounds, DELTA) <= 1.25 * exact


def test_releases_add_up_in_any_order_and_none_costs_nothing():
    one, other = Releases(0.1, 1.0, 10), Releases(0.2, 2.0, 5)
    assert epsilon_of([one, other, one], DELTA) == epsilon_of([other, Releases(0.1, 1.0, 20)], DELTA)
    assert epsilon_of([], DELTA) == 0


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_noise_for_an_epsilon_is_enough_and_hardly_more(epsilon):
    noise = noise_for(epsilon, DELTA, 0.05, 300)
    assert epsilon_of([Releases(0.05, noise, 300)], DELTA) <= epsilon
    assert epsilon_of([Releases(0.05, noise * 0.98, 300)], DELTA) > epsilon


def test_epsilon_is_never_negative():
    assert epsilon_of([Releases(0.05, 1e4, 100)], 0.9) == 0


@pytest.mark.parametrize(("kind", "key"), [(PrivacyConfig, "noise_multiplier"), (PolicyConfig, "dp_noise_multiplier")])
def test_more_noise_than_the_accountant_can_count_is_refused(kind, key):
    assert getattr(kind(**{key: 1e4}), key) == 1e4
    with pytest.raises(ValidationError, match="less than or equal to 10000"):
        kind(**{key: 1.1e4})


@pytest.mark.parametrize(("kind", "key"), [(PrivacyConfig, "noise_multiplier"), (PolicyConfig, "dp_noise_multiplier")])
def test_noise_so_faint_that_the_accountant_never_ends_is_refused(kind, key):
    """A study with 1e-160 would keep a site's ledger locked for ever."""
    assert epsilon_of([Releases(0.05, getattr(kind(**{key: 1e-9}), key), 10**6)], DELTA) > 1e18
    for faint in (9e-10, 1e-160, 5e-324):
        with pytest.raises(ValidationError, match="greater than or equal to"):
            kind(**{key: faint})


def test_an_epsilon_that_no_noise_gives_is_refused():
    with pytest.raises(ConfigError, match=r"dp\.epsilon: no noise keeps 300 releases"):
        noise_for(1e-9, DELTA, 0.05, 300)  # near one half the series take half a minute
