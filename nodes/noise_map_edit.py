"""Noise Map Edit: noise maps as a material, moved, turned, coloured, renoised and mixed."""

from comfy_api.latest import io

from ..inversion.edits import blend
from ..inversion.noise_maps import NoiseMaps
from ._host import latents
from ._host.messages import said, tell
from .inputs import (
    CATEGORY,
    NoiseMapsType,
    check_noise_maps,
    chosen,
    mask_input,
    noise_maps_input,
    span_inputs,
    step_span,
)
from .operations import OPERATIONS, cell_size
from .viewer import save_temp

_ALIASES = ["shift", "flip", "rotate", "colour", "color", "renoise", "mix", "blend"]
_OPERATION = io.DynamicCombo.Input(
    "operation",
    options=[io.DynamicCombo.Option(key, op.inputs) for key, op in OPERATIONS.items()],
    tooltip="shift, flip and rotate move the whole image; gain, colour and renoise "
    "change the maps of a range of steps; mix goes between two images.",
)


class NoiseMapEdit(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintNoiseMapEdit",
            display_name="Noise Map Edit",
            category=CATEGORY,
            description="Edits an image in its noise maps: shifts, mirrors, turns, amplifies, "
            "colours, renoises or mixes them. Sample them afterwards; edits can follow edits.",
            search_aliases=_ALIASES,
            has_intermediate_output=True,
            inputs=[
                noise_maps_input("The image as noise maps."),
                _OPERATION,
                mask_input(
                    "Where to edit: white is edited, black stays as it is, grey is in between."
                ),
                *span_inputs(
                    "First step that gain, colour and renoise change; 0 is the noisiest that the "
                    "inversion kept.",
                    "Last step that gain, colour and renoise change; -1 is the last of all. Early "
                    "steps hold the layout, late ones the details.",
                ),
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
        check_noise_maps(noise_maps)
        name, settings = chosen("Noise Map Edit", _OPERATION, operation)
        span = step_span(first_step, last_step, len(noise_maps.zs))
        if not OPERATIONS[name].by_steps and len(span) < len(noise_maps.zs):
            tell(f"{name} moves all steps: first_step and last_step are ignored.")
        edited = OPERATIONS[name].edit(noise_maps, span, **settings)
        if mask is not None:
            edited = blend(noise_maps, edited, latents.fit_mask(mask, noise_maps.xs.shape[1:]))
        edits = [*noise_maps.info.get("edits", []), _words(name, settings, mask, span)]
        shown = {"imprint_picture": [_thumbnail(noise_maps)]}
        return io.NodeOutput(edited.with_info(edits=edits), ui={**shown, **said()})


def _thumbnail(maps: NoiseMaps) -> dict:
    """What `js/noise_map_edit.js` shows: a small picture of the first image, and the sides of that
    image and of a latent cell in pixels.
    """
    cell, (height, width) = cell_size(maps), maps.xs.shape[-2:]
    (file,) = save_temp(latents.preview(maps, maps.xs[-1][:1]))
    return {"file": file, "size": [width * cell, height * cell], "cell": cell}


def _words(name: str, settings: dict, mask, span: range) -> str:
    """One edit in words, for the bundle's info."""
    unused = ["colour"] if "target" in settings else []
    values = [
        f"{key} {value}"
        for key, value in settings.items()
        if isinstance(value, (str, int, float)) and key not in unused
    ]
    where = [] if mask is None else ["in a mask"]
    when = [f"steps {span.start} to {span[-1]}"] if OPERATIONS[name].by_steps else []
    return ", ".join([name, *values, *where, *when])
