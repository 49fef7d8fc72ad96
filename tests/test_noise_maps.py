import pytest
import torch
from imprint_pack.inversion import NoiseMaps, check_noise_maps, recover_denoised
from problems import FALLING, FLOW, STEPS, RandomNetwork, normal
from test_ddpm import IMAGE, invert


@pytest.mark.parametrize(("prediction", "sigmas"), [("eps", FALLING), ("flow", FLOW)])
def test_denoised_is_recovered_without_the_model(prediction, sigmas):
    denoise = RandomNetwork(prediction)
    maps = invert(denoise, normal(*IMAGE), sigmas, flow=prediction == "flow")
    found = recover_denoised(maps)
    for i, sigma in enumerate(sigmas[:-1]):
        assert (
            found[i] - denoise(maps.xs[i], torch.full((2,), sigma, dtype=torch.float64))
        ).abs().max() < 1e-8


def test_every_step_of_a_bundle_keeps_the_invariant():
    maps = invert(RandomNetwork("v"), normal(*IMAGE), FALLING, eta=0.5)
    for i, (step, denoised) in enumerate(zip(maps.steps, recover_denoised(maps), strict=True)):
        assert (
            step.mean(maps.xs[i], denoised) + step.scale * maps.zs[i] - maps.xs[i + 1]
        ).abs().max() < 1e-9


def bundle(**changes) -> NoiseMaps:
    return invert(RandomNetwork("eps"), normal(*IMAGE), FALLING)._replace(**changes)


def test_sound_bundle_passes():
    check_noise_maps(bundle())


@pytest.mark.parametrize("eta", [-1.0, 2.0, float("nan")])
def test_eta_outside_its_range_is_named(eta):
    with pytest.raises(ValueError, match=r"eta is (-1|2|nan), not in 0 to 1: invert again"):
        check_noise_maps(bundle(eta=eta))


def test_maps_that_are_no_numbers_of_latents_are_named():
    with pytest.raises(ValueError, match=r"values of torch.int64: invert again"):
        check_noise_maps(bundle(zs=bundle().zs.long()))


def test_maps_of_another_size_are_named():
    with pytest.raises(
        ValueError, match=r"latents \(13, 2, 4, 6, 5\) and maps \(12, 2, 4, 6, 6\) for 12 steps"
    ):
        check_noise_maps(bundle(zs=torch.zeros(STEPS, 2, 4, 6, 6)))


def test_maps_for_another_schedule_are_named():
    with pytest.raises(ValueError, match="for 11 steps, which do not belong together"):
        check_noise_maps(bundle(sigmas=tuple(FALLING[1:])))


@pytest.mark.parametrize("field", ["xs", "zs"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_named_with_their_step(field, value):
    damaged = getattr(bundle(), field).clone()
    damaged[3, 0, 0, 0, 0] = value
    with pytest.raises(ValueError, match="not finite at step 3: invert with a float32 model"):
        check_noise_maps(bundle(**{field: damaged}))
