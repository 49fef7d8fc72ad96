"""Wrong wires and values: one sentence that names the value and says what to connect or set."""

import pytest
import torch
from comfy import model_sampling

STEPS = 10


@pytest.fixture(scope="module")
def prompts(demo):
    with torch.inference_mode():
        return demo.prompt(demo.caption), demo.prompt("")


@pytest.fixture(scope="module")
def maps(node, demo, prompts):
    with torch.inference_mode():
        return node(
            "EFDDPMInvert", demo.model, *prompts, demo.latent, 0, STEPS, 1.0, "ddim_uniform", 0
        )[0]


@pytest.fixture
def invert(node, demo, prompts):
    def run(*, model=None, latent=None, steps=STEPS, skip=0, eta=1.0):
        latent = latent or demo.latent
        return node(
            "EFDDPMInvert",
            model or demo.model,
            *prompts,
            latent,
            0,
            steps,
            1.0,
            "ddim_uniform",
            skip,
            eta,
        )

    return run


@pytest.fixture
def invert_sigmas(node, demo, prompts):
    def run(sigmas):
        from comfy.samplers import CFGGuider

        guider = CFGGuider(demo.model)
        guider.set_conds(*prompts)
        return node("EFDDPMInvertCustom", guider, torch.tensor(sigmas), demo.latent, 0, 0)

    return run


@pytest.fixture
def sample(node, demo, prompts):
    def run(maps, *, model=None, skip=0, mask=None):
        return node("InvertedSampler", model or demo.model, *prompts, maps, 1.0, skip, mask)

    return run


def patched(demo, **attributes):
    """The demo model with another model_sampling, as the host's own model patches do it."""
    base = attributes.pop("base")

    class Patched(model_sampling.ModelSamplingDiscrete, getattr(model_sampling, base)):
        pass

    sampling = Patched()
    for name, value in attributes.items():
        setattr(sampling, name, value)
    model = demo.model.clone()
    model.add_object_patch("model_sampling", sampling)
    return model


def test_empty_latent(invert):
    with pytest.raises(
        ValueError, match=r"latent is empty \(all zeros\).*connect the output of VAE Encode"
    ):
        invert(latent={"samples": torch.zeros(1, 3, 32, 32)})


def test_latent_without_elements(invert):
    with pytest.raises(ValueError, match=r"no elements \(shape \(0, 3, 32, 32\)\)"):
        invert(latent={"samples": torch.zeros(0, 3, 32, 32)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_latent_that_is_not_finite(invert, value):
    with pytest.raises(ValueError, match="holds NaN or infinite values: check the VAE"):
        invert(latent={"samples": torch.full((1, 3, 32, 32), value)})


def test_latent_with_other_channels(invert):
    with pytest.raises(
        ValueError, match="has 4 channels in 2 dimensions, the connected model works on 3 in 2"
    ):
        invert(latent={"samples": torch.ones(1, 4, 32, 32)})


def test_nested_latent(invert):
    from comfy.nested_tensor import NestedTensor

    with pytest.raises(ValueError, match="holds several tensors"):
        invert(latent={"samples": NestedTensor([torch.ones(1, 3, 32, 32)] * 2)})


@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps(invert, steps):
    with pytest.raises(ValueError, match=f"steps is {steps}, .*set steps to 1 or more"):
        invert(steps=steps)


@pytest.mark.parametrize("skip", [10, 36])
def test_skipping_every_step(invert, skip):
    with pytest.raises(
        ValueError, match=rf"skip_steps is {skip}, but there are 10 steps: set it to 4 \(36 %\)"
    ):
        invert(skip=skip)


def test_eta_0(invert):
    with pytest.raises(ValueError, match="use DDIM Invert"):
        invert(eta=0.0)


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([0.0, 1.0, 14.0], "step 0 goes from 0 to 1: connect the schedule itself, not a flipped"),
        ([14.0, 3.0, 3.0, 0.0], "step 1 goes from 3 to 3"),
        ([14.0, 3.0, 5.0, 0.0], "step 1 goes from 3 to 5"),
        ([14.0], "holds 1 sigmas"),
        ([], "holds 0 sigmas"),
    ],
)
def test_wrong_sigmas(invert_sigmas, sigmas, message):
    with pytest.raises(ValueError, match=message):
        invert_sigmas(sigmas)


def test_flow_noise_scale(invert, demo):
    with pytest.raises(
        ValueError, match=r"scales its noise by 2, .*connect a model with noise scale 1"
    ):
        invert(model=patched(demo, base="CONST", noise_scale=2.0))


# The oldest supported host has fewer of them.
@pytest.mark.parametrize(
    "base",
    [
        kind
        for kind in ("IMG_TO_IMG", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM")
        if hasattr(model_sampling, kind)
    ],
)
def test_model_samplings_of_another_kind(invert, demo, base):
    with pytest.raises(
        ValueError, match="cannot be inverted: connect an eps, v, EDM or flow model"
    ):
        invert(model=patched(demo, base=base))


def test_wrong_object_on_the_noise_maps_socket(sample, demo):
    with pytest.raises(
        ValueError, match="holds a dict: connect the noise_maps output of an Invert node"
    ):
        sample(demo.latent)


def test_maps_with_other_channels(sample, maps):
    with pytest.raises(
        ValueError,
        match=r"has 4 channels in 2 dimensions, .* works on 3 in 2 .*the maps were made with",
    ):
        sample(maps._replace(xs=maps.xs[:, :, [0, 1, 2, 0]], zs=maps.zs[:, :, [0, 1, 2, 0]]))


def test_maps_with_other_dimensions(sample, maps):
    with pytest.raises(ValueError, match="has 3 channels in 3 dimensions"):
        sample(maps._replace(xs=maps.xs.unsqueeze(3), zs=maps.zs.unsqueeze(3)))


def test_maps_of_another_latent_format(sample, maps):
    with pytest.raises(
        ValueError, match="hold SD15 latents, the connected model works on ChromaRadiance"
    ):
        sample(maps._replace(info={**maps.info, "latent_format": "SD15"}))


def test_maps_that_do_not_say_their_latent_format(sample, maps):
    with pytest.raises(
        ValueError, match="hold unknown latents, the connected model works on Chroma"
    ):
        sample(maps._replace(info={}))


def test_maps_of_another_model_family(sample, maps, demo):
    flow = patched(demo, base="CONST")
    with pytest.raises(
        ValueError, match="made with an eps, v or EDM model, the connected model is a flow model"
    ):
        sample(maps, model=flow)


def test_maps_whose_parts_differ_in_size(sample, maps):
    with pytest.raises(ValueError, match="do not belong together: invert the image again"):
        sample(maps._replace(zs=maps.zs[..., :16]))


def test_maps_with_nan(sample, maps):
    zs = maps.zs.clone()
    zs[4, 0, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match="not finite at step 4"):
        sample(maps._replace(zs=zs))


def test_sampler_that_skips_everything(sample, maps):
    with pytest.raises(
        ValueError, match="skip_steps is 10, but the noise maps hold 10 steps: set it to 0"
    ):
        sample(maps, skip=10)


def test_model_that_answers_nan(invert, demo):
    model = demo.model.clone()
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * float("nan"))
    with pytest.raises(
        ValueError, match="not finite at step 0: invert with a float32 model, or with a lower cfg"
    ):
        invert(model=model)


def test_images_of_two_sizes(node):
    with pytest.raises(
        ValueError, match="reference is 1 x 40 x 32 pixels of 3 channels and image is 2"
    ):
        node("ReconstructionCheck", torch.zeros(1, 32, 40, 3), torch.zeros(2, 32, 32, 3))


@pytest.mark.parametrize("indices", [[0], [0, 1, 2], []])
def test_batch_index_of_another_batch(invert, indices):
    latent = {"samples": torch.ones(2, 3, 32, 32), "batch_index": indices}
    with pytest.raises(ValueError, match=rf"names {len(indices)} images, but it holds 2"):
        invert(latent=latent)


def test_sampler_whose_model_answers_nan(sample, maps, demo):
    model = demo.model.clone()
    model.set_model_sampler_post_cfg_function(lambda args: args["denoised"] * float("nan"))
    with pytest.raises(ValueError, match="returned NaN or infinite values under these prompts"):
        sample(maps, model=model)


@pytest.mark.parametrize("mask", [torch.full((1, 32, 32), float("nan")), torch.zeros(0, 32, 32)])
def test_mask_that_is_no_mask(sample, maps, mask):
    with pytest.raises(ValueError, match=r"The mask \(shape .* is empty or holds NaN"):
        sample(maps, mask=mask)


def test_images_of_no_elements(node):
    with pytest.raises(ValueError, match="The images are empty"):
        node("ReconstructionCheck", torch.zeros(0, 32, 32, 3), torch.zeros(0, 32, 32, 3))
