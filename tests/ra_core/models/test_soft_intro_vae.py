import pytest
import torch
from pydantic import ValidationError

from ra_core.data import HeldImages
from ra_core.models.configs import RAConfig, SoftIntroVAEConfig
from ra_core.models.registry import build_method
from ra_core.rng import generator
from ra_core.training import LocalTrainer

TINY = {"channels": (4, 8, 8), "latent": 8, "warmup_steps": 2}


def trained(tiny_study, runtime, config):
    x = HeldImages(torch.rand(4, 1, 32, 32, generator=generator(0, "pictures")))
    t = LocalTrainer(build_method(config, 32, 0), x, x, tiny_study.training, runtime, 0)
    t.run(5)
    return t.method.state_dict()


def test_it_is_ra_without_the_reversed_term(tiny_study, runtime):
    ours = trained(tiny_study, runtime, SoftIntroVAEConfig(**TINY))
    without, with_it = (trained(tiny_study, runtime, RAConfig(**TINY, w_rev=w)) for w in (0.0, 0.5))
    assert all(torch.equal(ours[name], without[name]) for name in ours)
    assert not all(torch.equal(ours[name], with_it[name]) for name in ours)


def test_the_weight_of_that_term_is_no_setting():
    with pytest.raises(ValidationError, match="w_rev"):
        SoftIntroVAEConfig.model_validate({"w_rev": 0.1})


@pytest.mark.parametrize("preset", ["small", "paper"])
def test_all_else_is_as_ra_has_it(preset):
    ours, ra = SoftIntroVAEConfig(preset=preset), RAConfig(preset=preset)
    assert ours.model_dump(exclude={"name"}) == ra.model_dump(exclude={"name", "w_rev"})
    assert ours.unselectable_steps == ra.unselectable_steps


def test_no_weights_from_the_warm_up_are_chosen():
    method = build_method(SoftIntroVAEConfig(**TINY), 32, 0)
    assert [method.ready_for_selection(step) for step in (1, 2, 3)] == [False, False, True]
