"""Wrong wires and values: one sentence that names the value and says what to connect or set."""

import pytest
import torch
from comfy import model_sampling
from comfy.nested_tensor import NestedTensor
from imprint_pack.inversion.noise_maps import NoiseMaps
from tiny_models import cfg_guider, with_sampling

STEPS = 10


@pytest.fixture(scope="module")
def invert(node, demo):
    def run(**settings):
        given = {**demo.source, "latent_image": demo.latent, "steps": STEPS, "skip_steps": 0}
        return node("EFDDPMInvert", **given | {"cfg": 1.0} | settings)[0]

    return run


@pytest.fixture(scope="module")
def maps(invert):
    with torch.inference_mode():
        return invert()


@pytest.fixture
def sample(node, demo):
    def run(maps, **settings):
        given = {**demo.source, "noise_maps": maps, "cfg": 1.0}
        return node("InvertedSampler", **given | settings)

    return run


def samples(*shape, value=1.0, **more):
    return {"samples": torch.full(shape, value), **more}


NESTED = {"samples": NestedTensor([torch.ones(1, 3, 32, 32)] * 2)}
LATENTS = {
    "empty": (samples(1, 3, 32, 32, value=0.0), r"is empty \(all zeros\).*: connect the output of"),
    "no elements": (samples(0, 3, 32, 32), r"no elements \(shape \(0, 3, 32, 32\)\): connect the"),
    "nan": (samples(1, 3, 32, 32, value=float("nan")), "holds NaN or infinite values: check the V"),
    "inf": (samples(1, 3, 32, 32, value=float("inf")), "holds NaN or infinite values: check the V"),
    "channels": (
        samples(1, 4, 32, 32),
        "has 4 channels in 2 dimensions, .* works on 3 in 2 .*Enco",
    ),
    "nested": (NESTED, "holds several tensors .*: connect a latent without sound"),
    "one index": (samples(2, 3, 32, 32, batch_index=[0]), "names 1 images, but it holds 2: connec"),
    "3 indices": (samples(2, 3, 32, 32, batch_index=[0, 1, 2]), "names 3 images, but it holds 2"),
    "no index": (samples(2, 3, 32, 32, batch_index=[]), "names 0 images, but it holds 2"),
}


@pytest.mark.parametrize("name", LATENTS)
@pytest.mark.parametrize("method", ["EFDDPMInvert", "DDIMInvert"])
def test_latents_that_are_no_image(node, demo, name, method):
    latent, message = LATENTS[name]
    with pytest.raises(ValueError, match=message):
        node(method, **demo.source, latent_image=latent)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0, but inversion needs at least one step: set steps to 1 or more"),
        ({"steps": -1}, "steps is -1, .*set steps to 1 or more"),
        ({"skip_steps": 10}, r"skip_steps is 10, but of the 10 steps .* between 0 and 9; 4 .36 %"),
        (
            {"skip_steps": 36},
            "skip_steps is 36, but of the 10 steps here at least one must be left",
        ),
        ({"eta": 0.0}, "eta is 0, where steps add no noise .*: use DDIM Invert, or set eta to 1"),
        (
            {"noise_shift": 200, "path": "native"},
            "noise_shift is 200, but the native path has .*: set path to edit_friendly, or noise_",
        ),
        ({"eta": 1.5}, "eta is 1.5, but must lie between 0 and 1: set it to 1"),
    ],
)
def test_settings_of_an_inversion(invert, settings, message):
    with pytest.raises(ValueError, match=message):
        invert(**settings)


def test_recording_without_noise(node, demo):
    with pytest.raises(ValueError, match="eta is 0, where steps add no noise"):
        node("RecordDDPM", **demo.source, latent_image=demo.latent, steps=STEPS, eta=0.0)


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([0.0, 1.0, 14.0], "step 0 goes from 0 to 1: connect the schedule itself, not a flipped"),
        ([14.0, 3.0, 3.0, 0.0], "step 1 goes from 3 to 3"),
        ([14.0, 3.0, 5.0, 0.0], "step 1 goes from 3 to 5"),
        ([14.0], "too short for a step, with 1 of at least 2 sigmas"),
        ([], "too short for a step, with 0 of at least 2 sigmas"),
    ],
)
@pytest.mark.parametrize("method", ["EFDDPMInvertCustom", "DDIMInvertCustom"])
def test_wrong_sigmas(node, demo, method, sigmas, message):
    wires = {"guider": cfg_guider(demo.source), "sigmas": torch.tensor(sigmas)}
    with pytest.raises(ValueError, match=message):
        node(method, **wires, latent_image=demo.latent)


def test_flow_noise_scale(invert, demo):
    model = with_sampling(demo.model, "CONST", noise_scale=2.0)
    with pytest.raises(ValueError, match=r"scales its noise by 2, .*connect a model with noise sc"):
        invert(model=model)


# The oldest supported host has fewer of them.
KINDS = ("IMG_TO_IMG", "IMG_TO_IMG_FLOW", "V_PREDICTION_DDPM")
OTHER_SAMPLINGS = [kind for kind in KINDS if hasattr(model_sampling, kind)]


@pytest.mark.parametrize("base", OTHER_SAMPLINGS)
def test_model_samplings_of_another_kind(invert, demo, base):
    message = rf"sampling of this model \({base}\) cannot be inverted: connect an eps, v, EDM or f"
    with pytest.raises(ValueError, match=message):
        invert(model=with_sampling(demo.model, base))


@pytest.mark.parametrize("node_id", ["InvertedSampler", "NullTextOptimize"])
def test_wrong_object_on_the_noise_maps_socket(node, demo, node_id):
    with pytest.raises(ValueError, match="noise_maps holds a dict: connect the noise_maps output"):
        node(node_id, **demo.source, noise_maps=demo.latent)


@pytest.mark.parametrize(
    "node_id", ["NoiseMapEdit", "SaveNoiseMaps", "InspectNoiseMaps", "NoiseMapsToLatent"]
)
def test_wrong_object_on_the_noise_maps_socket_of_a_tool(node, demo, node_id):
    with pytest.raises(ValueError, match="noise_maps holds a dict: connect the noise_maps output"):
        node(node_id, noise_maps=demo.latent)


def of_channels(maps: NoiseMaps, channels) -> NoiseMaps:
    return maps.replace(xs=maps.xs[:, :, channels], zs=maps.zs[:, :, channels])


REMEDY = r"\. Connect the model that the maps were made with"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda maps: of_channels(maps, [0, 1, 2, 0]),
            "has 4 channels in 2 dimensions, the connected model works on 3 in 2 .*" + REMEDY,
        ),
        (
            lambda maps: maps.replace(xs=maps.xs.unsqueeze(3), zs=maps.zs.unsqueeze(3)),
            "has 3 channels in 3 dimensions",
        ),
        (
            lambda maps: maps.replace(latent_format="SD15"),
            "hold SD15 latents, the connected model works on ChromaRadiance" + REMEDY,
        ),
    ],
    ids=["channels", "dimensions", "format"],
)
def test_maps_of_another_model(sample, maps, change, message):
    with pytest.raises(ValueError, match=message):
        sample(change(maps))


def test_maps_of_another_model_family(sample, maps, demo):
    flow = with_sampling(demo.model, "CONST")
    kinds = "made with an eps, v or EDM model, the connected model is a flow model"
    with pytest.raises(ValueError, match=kinds + REMEDY):
        sample(maps, model=flow)


def test_sampler_that_skips_everything(sample, maps):
    with pytest.raises(ValueError, match="skip_steps is 10, but of the 10 steps here at least one"):
        sample(maps, skip_steps=10)


@pytest.fixture
def broken(demo, maps):
    """A model that answers NaN from the fourth step on."""
    model, highest = demo.model.clone(), maps.schedule.sigmas[3]

    def spoil(args):
        return args["denoised"].where(args["sigma"] > highest, torch.nan)

    model.set_model_sampler_post_cfg_function(spoil)
    return model


def test_model_that_answers_nan(invert, broken, maps):
    level = f"{maps.schedule.sigmas[3]:.3g}"
    with pytest.raises(
        ValueError, match=rf"values at step 3 of the maps \(sigma {level}\): invert"
    ):
        invert(model=broken)


def test_sampler_whose_model_answers_nan(sample, maps, broken):
    level = f"{maps.schedule.sigmas[3]:.3g}"
    message = (
        rf"infinite values at step 3 of 10 \(sigma {level}\) under these prompts: use a float32"
    )
    with pytest.raises(ValueError, match=message):
        sample(maps, model=broken)


@pytest.mark.parametrize("mask", [torch.full((1, 32, 32), float("nan")), torch.zeros(0, 32, 32)])
def test_mask_that_is_no_mask(node, sample, maps, mask):
    message = r"The mask \(shape .* is empty or holds NaN: connect a mask of the image"
    with pytest.raises(ValueError, match=message):
        sample(maps, mask=mask)
    with pytest.raises(ValueError, match=message):
        node("NoiseMapEdit", noise_maps=maps, operation="flip", mask=mask)


@pytest.mark.parametrize(
    ("reference", "image", "message"),
    [
        ((1, 32, 40, 3), (2, 32, 32, 3), "is 1 x 40 x 32 pixels of 3 channels and image is 2 x 32"),
        ((0, 32, 32, 3), (0, 32, 32, 3), "The images are empty: connect at least one image each"),
    ],
)
def test_images_that_cannot_be_compared(node, reference, image, message):
    pair = {"reference": torch.zeros(reference), "image": torch.zeros(image)}
    with pytest.raises(ValueError, match=message):
        node("ReconstructionCheck", **pair)


def test_images_that_hold_nan(node):
    pair = {"reference": torch.zeros(1, 4, 4, 3), "image": torch.full((1, 4, 4, 3), float("nan"))}
    with pytest.raises(ValueError, match="The images hold NaN or infinite values: check the VAE"):
        node("ReconstructionCheck", **pair)
