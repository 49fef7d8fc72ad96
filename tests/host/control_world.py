"""The demo image, its inversions, and its edits under attention controls."""

import torch

STEPS, CFG = 8, 3.5
EXACT = 1e-5
TARGET = "a blue circle on grass"
NODES = {"pnp": "PlugAndPlay", "masactrl": "MasaCtrl"}
ALL = ["p2p", "p2p, blended", "pnp", "masactrl", "pix2pix-zero"]


class ControlWorld:
    """Inputs that are not given are the demo's: `control` wires a target text, `invert` makes noise
    maps, `sample` replays them.
    """

    def __init__(self, node, demo, trained):
        self.node, self.demo, self.trained = node, demo, trained
        with torch.inference_mode():
            self.clip = node("LoadDemoModel")[1]
        self.made = {}

    def control(self, name: str, target: str, **settings) -> tuple:
        """The target's prompt and the control of one of ALL methods."""
        if name == "p2p, blended":
            name, settings = "p2p", {"blend_words": "circle", **settings}
        if name == "p2p":
            texts = {"source_prompt": self.demo.caption, "target_prompt": target}
            return self.node("PromptToPrompt", clip=self.clip, **texts, **settings)[1:]
        source = {"source": self.demo.source["positive"]}
        if name == "pix2pix-zero":
            words = {"before": self.demo.caption, "after": target, "clip": self.clip}
            words = {f"direction.{key}": value for key, value in words.items()}
            return self.node("Pix2PixZero", direction="sentences", **source, **words, **settings)
        return self.demo.prompt(target), *self.node(NODES[name], **source, **settings)

    def invert(self, family: str = "v", **settings):
        if not settings and family in self.made:
            return self.made[family]
        model, scheduler = self.trained[family]
        given = {**self.demo.source, "model": model, "scheduler": scheduler, "cfg": CFG}
        given |= {"latent_image": self.demo.latent, "steps": STEPS, "skip_steps": 0}
        (maps,) = self.node("EFDDPMInvert", **given | settings)
        if not settings:
            self.made[family] = maps
        return maps

    def sample(self, maps, positive, control=None, model=None, family="v", **settings):
        model = model or self.trained[family][0]
        given = {"model": model, "positive": positive, "negative": self.demo.source["negative"]}
        given |= {"noise_maps": maps, "cfg": CFG, "attention_control": control}
        return self.node("InvertedSampler", **given | settings)[0]["samples"]

    def error(self, found) -> float:
        """How far a latent is from the demo image's."""
        return (found - self.demo.latent["samples"]).abs().max().item()
