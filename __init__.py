"""Nodes for editing real images by inverting them into the noise maps of a diffusion sampler."""

WEB_DIRECTORY = "./js"


async def comfy_entrypoint():
    from .nodes import ImprintExtension  # here, so that `inversion` imports without ComfyUI

    return ImprintExtension()
