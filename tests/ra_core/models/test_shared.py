import pytest
import torch

from ra_core.config import FederationConfig, TrainingConfig
from ra_core.data import HeldImages
from ra_core.models.configs import CONFIGS, RAConfig
from ra_core.models.registry import build_method
from ra_core.models.shared import NORMS, load_shared, shared_tensors
from ra_core.rng import generator
from ra_core.training import LocalTrainer

NORM = ["group", "frozen_batch", "batch"]
ALL = FederationConfig()


def pictures(n=4):
    return torch.rand(n, 1, 32, 32, generator=generator(0, "pictures"))


def new_method(norm="group", seed=0):
    return build_method(RAConfig(channels=(4, 8), latent=4, norm=norm), 32, seed)


def seen(norm, seed=1):
    """A method whose running statistics, where it has any, have seen images."""
    method = new_method(norm, seed).train()
    method.reconstruct(pictures())
    return method.eval()


@pytest.mark.parametrize("norm", NORM)
def test_parameters_and_running_statistics_are_shared_and_counts_are_not(norm):
    method = new_method(norm)
    names = set(shared_tensors(method, ALL))
    assert names == set(shared_tensors(method))
    assert {name for name, _ in method.named_parameters()} <= names
    assert any("running_var" in name for name in names) == (norm != "group")
    assert set(method.state_dict()) - names == {n for n in method.state_dict() if n.endswith("num_batches_tracked")}
    assert all(tensor.dtype == torch.float32 for tensor in shared_tensors(method).values())


@pytest.mark.parametrize("norm", NORM)
def test_local_norms_keep_all_tensors_of_norm_layers(norm):
    method = new_method(norm)
    shared = shared_tensors(method, ALL.model_copy(update={"local_norms": True}))
    layers = {name for name, module in method.named_modules() if isinstance(module, NORMS)}
    assert layers
    kept = {f"{name}.{tensor}" for name in layers for tensor in method.get_submodule(name).state_dict()}
    assert kept
    assert set(shared) == set(method.state_dict()) - kept


def test_tensors_are_live():
    method = new_method("batch")
    for tensor in shared_tensors(method).values():
        tensor.fill_(2)
    assert all((parameter == 2).all() for parameter in method.parameters())
    assert (method.encoder.stem[1].running_mean == 2).all()


def test_only_the_parts_named_are_shared_and_unknown_ones_refused():
    method = new_method()
    found = shared_tensors(method, ALL.model_copy(update={"parts": ("encoder",)}))
    assert found
    assert all(name.startswith("encoder.") for name in found)
    with pytest.raises(ValueError, match="no part 'head', only encoder, decoder"):
        shared_tensors(method, ALL.model_copy(update={"parts": ("encoder", "head")}))


@pytest.mark.parametrize("norm", NORM)
def test_loading_gives_equal_reconstructions(norm):
    source, target = seen(norm), new_method(norm, seed=2).eval()
    with torch.inference_mode():
        assert not torch.equal(source.reconstruct(pictures()), target.reconstruct(pictures()))
        load_shared(target, ALL, {name: tensor.clone() for name, tensor in shared_tensors(source, ALL).items()})
        assert torch.equal(source.reconstruct(pictures()), target.reconstruct(pictures()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: {n: v for n, v in t.items() if n != "encoder.head.bias"}, "'encoder.head.bias' is missing"),
        (lambda t: t | {"encoder.extra": torch.zeros(1)}, "'encoder.extra' is not part of the model"),
        (lambda t: t | {"decoder.head.bias": torch.zeros(2)}, r"'decoder.head.bias' is torch.float32 \(2,\), not"),
        (
            lambda t: t | {"decoder.head.bias": torch.zeros(1).half()},
            r"'decoder.head.bias' is torch.float16 \(1,\), not",
        ),
        (lambda t: t | {"decoder.head.bias": torch.full((1,), torch.inf)}, "'decoder.head.bias' is not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_before_any_is_copied(change, reason):
    source, target = seen("batch"), new_method("batch")
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(ValueError, match=reason):
        load_shared(target, ALL, change(dict(shared_tensors(source, ALL))))
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


@pytest.mark.parametrize("norm", NORM)
def test_fedprox_pulls_parameters_alone(runtime, norm):
    method = new_method(norm)
    images, config = HeldImages(pictures()), TrainingConfig(steps=2, batch_size=4)
    trainer = LocalTrainer(method, images, images, config, runtime, 0, proximal_mu=1.0)
    assert set(trainer.anchors) == set(method.parameters())
    trainer.run(2)
    statistics = [name for name in shared_tensors(method) if "running" in name]
    moved = [name for name in statistics if "mean" in name and method.get_buffer(name).abs().max() > 0]
    assert bool(moved) == (norm == "batch")


@pytest.mark.parametrize("name", CONFIGS)
def test_settings_know_whether_there_are_norm_layers_to_stay_at_a_site(name):
    config = CONFIGS[name]()
    method = build_method(config, 64, 0)
    private = shared_tensors(method).keys() - shared_tensors(method, FederationConfig(local_norms=True)).keys()
    assert config.has_norms == bool(private)
