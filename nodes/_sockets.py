"""Socket types, the category and the inputs that several nodes share."""

from comfy.samplers import SCHEDULER_NAMES
from comfy_api.latest import io

CATEGORY = "Imprint"
MAX_SEED = 0xFFFFFFFFFFFFFFFF
MAX_STEPS = 10_000

NoiseMapsType = io.Custom("NOISE_MAPS")


def model_inputs(positive: str, negative: str) -> list:
    """MODEL with the two prompts, whose tooltips are given."""
    return [
        io.Model.Input(
            "model", tooltip="The diffusion model, with LoRAs and other patches already applied."
        ),
        io.Conditioning.Input("positive", tooltip=positive),
        io.Conditioning.Input("negative", tooltip=negative),
    ]


def latent_input() -> io.Latent.Input:
    return io.Latent.Input(
        "latent_image",
        tooltip="The image to invert, from VAE Encode. Its noise_mask is ignored: give the mask "
        "to Inverted Sampler.",
    )


def seed_input() -> io.Int.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=MAX_SEED,
        control_after_generate=io.ControlAfterGenerate.fixed,
        tooltip="Draws the noisy copies of the image. Every seed reconstructs it; each gives "
        "another edit.",
    )


def steps_input(default: int) -> io.Int.Input:
    return io.Int.Input(
        "steps",
        default=default,
        min=1,
        max=MAX_STEPS,
        tooltip="Steps of the whole schedule. Every number reconstructs the image; more steps "
        "edit finer and cost more. 50 to 100 is usual.",
    )


def cfg_input(default: float, tooltip: str) -> io.Float.Input:
    return io.Float.Input(
        "cfg", default=default, min=0.0, max=100.0, step=0.1, round=0.01, tooltip=tooltip
    )


def scheduler_input() -> io.Combo.Input:
    return io.Combo.Input(
        "scheduler",
        options=SCHEDULER_NAMES,
        default="ddim_uniform",
        tooltip="Spaces the noise levels. ddim_uniform is the paper's; for flow models simple "
        "or normal works better.",
    )


def invert_skip_input(default: int) -> io.Int.Input:
    return io.Int.Input(
        "skip_steps",
        default=default,
        min=0,
        max=MAX_STEPS,
        tooltip="First, noisiest steps to leave out (the paper's T_skip). More keeps the edit "
        "closer to the image, fewer lets it change more; 20 to 40 % of the steps is useful. "
        "They cost nothing.",
    )


def eta_input() -> io.Float.Input:
    return io.Float.Input(
        "eta",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.01,
        optional=True,
        advanced=True,
        tooltip="Share of DDPM noise in each step. 1 is the paper's; lower puts less of the "
        "image into the maps.",
    )


def path_inputs() -> list:
    """The advanced inputs of both EF-DDPM inversions."""
    return [
        eta_input(),
        io.Combo.Input(
            "path",
            options=["edit_friendly", "native"],
            default="edit_friendly",
            optional=True,
            advanced=True,
            tooltip="edit_friendly noises the image independently for each step, so that edits "
            "keep its structure. native is the sampler's own path, the paper's baseline: it "
            "reconstructs, but edits drift.",
        ),
        io.Int.Input(
            "batch_timesteps",
            default=1,
            min=0,
            max=MAX_STEPS,
            optional=True,
            advanced=True,
            tooltip="Timesteps evaluated in one model call. 1 reconstructs exactly. More is "
            "faster, 0 fills the free memory; the rounding then differs, which high cfg and "
            "half precision amplify. Prompts with time ranges and patched models always run one "
            "at a time.",
        ),
    ]


def ddim_inputs() -> list:
    """The advanced inputs of both DDIM inversions."""
    return [
        io.Combo.Input(
            "evaluate_at",
            options=["target", "current"],
            default="target",
            optional=True,
            advanced=True,
            tooltip="Where a step upwards asks the model for its direction: at the noise level it "
            "goes to (the papers' code) or at the one it comes from (Unsampler nodes). Both "
            "err by about the same; edits differ a little.",
        ),
        io.Int.Input(
            "fixed_point_steps",
            default=0,
            min=0,
            max=100,
            optional=True,
            advanced=True,
            tooltip="Repetitions of each step with the direction at its own result (AIDI, "
            "ReNoise), one model call each. 5 cut the error of a replay without residuals more "
            "than tenfold.",
        ),
    ]


def null_text_methods() -> io.DynamicCombo.Input:
    def learning_rate(default: float) -> io.Float.Input:
        return io.Float.Input(
            "learning_rate",
            default=default,
            min=0.0001,
            max=1.0,
            step=0.001,
            round=0.0001,
            tooltip="Size of each update of the embedding. Higher follows the image faster and "
            "may overshoot; it falls by half over the schedule.",
        )

    def inner_steps(default: int) -> io.Int.Input:
        return io.Int.Input(
            "inner_steps",
            default=default,
            min=1,
            max=1000,
            tooltip="Updates per step at most, each a forward and a backward pass of the network; "
            "online takes twice as many in the last steps. More reconstructs better, but edits "
            "stray further.",
        )

    return io.DynamicCombo.Input(
        "method",
        options=[
            io.DynamicCombo.Option("online", [inner_steps(1), learning_rate(0.05)]),
            io.DynamicCombo.Option(
                "null_text",
                [
                    inner_steps(10),
                    learning_rate(0.01),
                    io.Float.Input(
                        "tolerance",
                        default=1e-5,
                        min=0.0,
                        max=1.0,
                        step=1e-6,
                        round=1e-7,
                        tooltip="Stop updating a step below this error; the limit grows by 0.001 "
                        "over the schedule. Higher is faster.",
                    ),
                    io.Combo.Input(
                        "start_from",
                        options=["negative", "positive"],
                        default="negative",
                        tooltip="Which prompt the first step starts from. negative is the "
                        "paper's; positive needs fewer updates, and its edits are as strong as "
                        "with negative_prompt.",
                    ),
                ],
            ),
            io.DynamicCombo.Option("negative_prompt", []),
        ],
        tooltip="online: one or two updates per step with Adam's moments kept, the paper's quality "
        "for a fifth of its cost. null_text: the paper's, Adam anew at every step. "
        "negative_prompt: no optimisation, the source prompt is the negative one (NPI): "
        "reconstructs best, edits strongest.",
    )


def replay_settings() -> list:
    """What both inverted samplers take after the noise maps."""
    return [
        io.Int.Input(
            "skip_steps",
            default=0,
            min=0,
            max=MAX_STEPS,
            tooltip="Further first steps to leave out, beyond those that the inversion skipped. "
            "More keeps the result closer to the image.",
        ),
        io.Mask.Input(
            "mask",
            optional=True,
            tooltip="Where to edit: white is edited, black stays exactly the inverted image, "
            "grey is in between.",
        ),
        io.Float.Input(
            "residual",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            optional=True,
            advanced=True,
            tooltip="Strength of the stored residuals of steps without noise. 1 reconstructs "
            "exactly; 0 leaves out the last map of an EF-DDPM inversion as the authors' code "
            "does, or all of a DDIM inversion.",
        ),
    ]
