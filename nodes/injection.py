"""Plug-and-Play and MasaCtrl: edits that go on from what the network computed of the source."""

from comfy_api.latest import io

from ..inversion.injection import MasaCtrl, PlugAndPlay
from ._host import latents
from ._host.steering import AttentionControl
from .inputs import (
    CATEGORY,
    attention_control_output,
    check_source,
    fraction_input,
    mask_input,
    source_input,
)


class PlugAndPlayNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintPlugAndPlay",
            display_name="Plug-and-Play",
            category=CATEGORY,
            description="An attention control that gives the edit the source's features and "
            "self-attention: its forms stay, materials and styles change.",
            search_aliases=["pnp", "attention control", "feature injection", "structure"],
            inputs=[
                source_input(),
                fraction_input(
                    "features",
                    0.8,
                    "Until which part of all steps the features of one decoder block are the "
                    "source's. Higher keeps more. Without effect in SD 3 and Flux.",
                ),
                fraction_input(
                    "self_attention",
                    0.5,
                    "Until which part of all steps places relate to each other as in the source; "
                    "in SD 3 and Flux, until when they hold the source's values.",
                ),
            ],
            outputs=[attention_control_output()],
        )

    @classmethod
    def execute(cls, source, features, self_attention) -> io.NodeOutput:
        check_source(source)
        return io.NodeOutput(AttentionControl(PlugAndPlay(features, self_attention), source))


class MasaCtrlNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintMasaCtrl",
            display_name="MasaCtrl",
            category=CATEGORY,
            description="An attention control whose edit draws its looks from the source: the "
            "thing stays itself while its pose, place or size changes.",
            search_aliases=["mutual self-attention", "attention control", "pose", "non-rigid"],
            inputs=[
                source_input(),
                fraction_input(
                    "first_step",
                    0.1,
                    "From which part of all steps on. Higher leaves more to the target prompt; 1 "
                    "switches it off.",
                ),
                fraction_input(
                    "first_layer",
                    0.625,
                    "From which part of the network's depth on (layer 10 of SD 1.5's 16). Lower "
                    "keeps more of the source.",
                ),
                mask_input(
                    "The thing in the source, such as from Attention Map: places inside look "
                    "inside, places outside look outside."
                ),
            ],
            outputs=[attention_control_output()],
        )

    @classmethod
    def execute(cls, source, first_step, first_layer, mask=None) -> io.NodeOutput:
        check_source(source)
        rules = MasaCtrl(
            first_step, first_layer, None if mask is None else latents.checked_mask(mask)
        )
        return io.NodeOutput(AttentionControl(rules, source))
