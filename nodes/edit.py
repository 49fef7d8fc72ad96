"""Noise maps as a material: moved, turned, coloured, redrawn and mixed."""

import logging

from comfy_api.latest import io

from ..inversion import blend
from . import _checks as checks
from . import _host as host
from ._operations import OPERATIONS
from ._sockets import CATEGORY, MAX_STEPS, NoiseMapsType


class NoiseMapEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        options = [io.DynamicCombo.Option(key, op.inputs) for key, op in OPERATIONS.items()]
        return io.Schema(
            node_id="ImprintNoiseMapEdit",
            display_name="Noise Map Edit",
            category=CATEGORY,
            description="Edits an image in its noise maps: shifts, mirrors, turns, amplifies, "
            "colours, redraws or mixes them. Sample them afterwards; edits can follow edits.",
            search_aliases=[
                "shift",
                "flip",
                "rotate",
                "colour",
                "color",
                "renoise",
                "mix",
                "blend",
            ],
            inputs=[
                NoiseMapsType.Input("noise_maps", tooltip="The image as noise maps."),
                io.DynamicCombo.Input(
                    "operation",
                    options=options,
                    tooltip="shift, flip and rotate move the whole image; gain, colour and renoise "
                    "change the maps of a range of steps; mix goes between two images.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Where to edit: white is edited, black stays as it is, grey is in "
                    "between.",
                ),
                *_step_inputs(),
            ],
            outputs=[
                NoiseMapsType.Output(
                    display_name="noise_maps",
                    tooltip="The edited maps, for Inverted Sampler or another edit.",
                )
            ],
        )

    @classmethod
    def execute(
        cls, noise_maps, operation=None, mask=None, first_step=0, last_step=-1
    ) -> io.NodeOutput:
        checks.check_maps(noise_maps)
        inputs = {key: op.inputs for key, op in OPERATIONS.items()}
        name, settings = checks.chosen("Noise Map Edit", "operation", operation, inputs)
        steps = checks.step_range(first_step, last_step, len(noise_maps.zs))
        if not OPERATIONS[name].by_steps and len(steps) < len(noise_maps.zs):
            host.tell(
                f"{name} moves all steps: first_step and last_step are ignored.", logging.INFO
            )
        edited = OPERATIONS[name].edit(noise_maps, steps, **settings)
        if mask is not None:
            fitted = checks.fit_mask(mask, noise_maps.xs.shape[1:])
            edited = blend(noise_maps, edited, fitted)
        edits = [*noise_maps.info.get("edits", []), _words(name, settings, mask, steps)]
        return io.NodeOutput(edited._replace(info={**noise_maps.info, "edits": edits}))


def _words(name: str, settings: dict, mask, steps: range) -> str:
    """One edit as a line of the bundle's info."""
    values = [
        f"{key} {value}" for key, value in settings.items() if isinstance(value, (str, int, float))
    ]
    where = [] if mask is None else ["in a mask"]
    when = [f"steps {steps.start} to {steps[-1]}"] if OPERATIONS[name].by_steps else []
    return ", ".join([name, *values, *where, *when])


def _step_inputs() -> list:
    return [
        io.Int.Input(
            "first_step",
            default=0,
            min=0,
            max=MAX_STEPS,
            optional=True,
            advanced=True,
            tooltip="First step that gain, colour and renoise change; 0 is the noisiest that the "
            "inversion kept.",
        ),
        io.Int.Input(
            "last_step",
            default=-1,
            min=-1,
            max=MAX_STEPS,
            optional=True,
            advanced=True,
            tooltip="Last step that gain, colour and renoise change; -1 is the last of all. Early "
            "steps hold the layout, late ones the details.",
        ),
    ]
