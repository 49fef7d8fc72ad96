"""The nodes, in menu order."""

from comfy_api.latest import ComfyExtension, io

from .demo import DemoImage, LoadDemoModel
from .edit import NoiseMapEdit
from .inspection import InspectNoiseMaps, NoiseMapsToLatent, ReconstructionCheck
from .invert import EFDDPMInvert, EFDDPMInvertCustom
from .invert_ddim import DDIMInvert, DDIMInvertCustom
from .optimize import NullTextOptimize
from .sample import InvertedSampler, InvertedSamplerCustom, RecordDDPM
from .store import LoadNoiseMaps, SaveNoiseMaps

NODES: list[type[io.ComfyNode]] = [
    EFDDPMInvert,
    EFDDPMInvertCustom,
    DDIMInvert,
    DDIMInvertCustom,
    NullTextOptimize,
    NoiseMapEdit,
    InvertedSampler,
    InvertedSamplerCustom,
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
