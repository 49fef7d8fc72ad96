"""The nodes, in menu order."""

from comfy_api.latest import ComfyExtension, io

from .attention_map import AttentionMap
from .ddim import DDIMInvert, DDIMInvertCustom
from .demo import DemoImage, LoadDemoModel
from .ef_ddpm import EFDDPMInvert, EFDDPMInvertCustom
from .files import LoadNoiseMaps, SaveNoiseMaps
from .injection import MasaCtrlNode, PlugAndPlayNode
from .inspection import InspectNoiseMaps, NoiseMapsToLatent
from .inverted_sampler import InvertedSampler, InvertedSamplerCustom
from .noise_map_edit import NoiseMapEdit
from .null_text import NullTextOptimize
from .pix2pix_zero import Pix2PixZero
from .prompt_to_prompt import PromptToPromptNode
from .reconstruction_check import ReconstructionCheck
from .record import RecordDDPM

NODES: list[type[io.ComfyNode]] = [
    EFDDPMInvert,
    EFDDPMInvertCustom,
    DDIMInvert,
    DDIMInvertCustom,
    NullTextOptimize,
    NoiseMapEdit,
    InvertedSampler,
    InvertedSamplerCustom,
    PromptToPromptNode,
    PlugAndPlayNode,
    MasaCtrlNode,
    Pix2PixZero,
    AttentionMap,
    RecordDDPM,
    SaveNoiseMaps,
    LoadNoiseMaps,
    InspectNoiseMaps,
    NoiseMapsToLatent,
    ReconstructionCheck,
    LoadDemoModel,
    DemoImage,
]


class ImprintExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return NODES
