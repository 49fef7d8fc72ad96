"""A replay under an attention control: the source call before each step, the hooks around it."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import comfy.samplers
import torch
from comfy import sampler_helpers
from torch import Tensor

from ...inversion.attention import Control, Moment
from ...inversion.noise_maps import NoiseMaps
from ...inversion.schedule import Schedule
from . import models
from .attention import Hooks
from .gradients import differentiable, run_with_gradients
from .messages import warn
from .progress import Cost
from .prompts import in_one_call, with_options_of
from .sampling import Run, run


class AttentionControl(NamedTuple):
    """What an `attention_control` socket carries: a method's rules and the source CONDITIONING."""

    rules: Control
    source: list


class Steering:
    """A `walk.Steer` for one run of a bundle, whose rules are those of a control.

    `guider` is like the given one, with the hooks in its model.
    """

    def __init__(self, guider, control: AttentionControl, maps: NoiseMaps):
        if not isinstance(control, AttentionControl):
            raise ValueError(
                f"attention_control holds a {type(control).__name__}: connect the "
                "attention_control output of Prompt-to-Prompt, Plug-and-Play, MasaCtrl or "
                "pix2pix-zero."
            )
        patcher = guider.model_patcher
        models.check_without_cache(patcher)
        self.in_one_call = in_one_call(patcher.model_options)
        self.hooks = Hooks(patcher.model.diffusion_model, control.rules)
        self.skipped, self.steps = maps.skipped, maps.skipped + len(maps.zs)
        self._check_tokens(guider.original_conds.get("positive", []), control.rules.tokens)
        self.run: Run | None = None
        patcher = differentiable(patcher) if control.rules.guidance else patcher.clone()
        patcher.remove_additional_models("multigpu")  # its threads would share the hooks
        self.hooks.install(patcher)
        self.guider = copy.copy(guider)
        self.guider.model_patcher = patcher
        self.guider.model_options = patcher.model_options
        source = with_options_of(
            guider.original_conds.get("positive", []), sampler_helpers.convert_cond(control.source)
        )
        self.guider.original_conds = {**guider.original_conds, "source": source}

    def _check_tokens(self, prompts: list[dict], tokens: int | None) -> None:
        """ValueError where the positive prompt is not the one that the control was made for."""
        for prompt in prompts:
            found = prompt["cross_attn"].shape[1] if "cross_attn" in prompt else tokens
            if tokens is not None and found != tokens:
                raise ValueError(
                    f"The positive prompt has {found} tokens, but the attention control was made "
                    f"for {tokens}: connect the target output of Prompt-to-Prompt as positive."
                )

    def sample(
        self, picture: Tensor, schedule: Schedule, loop: Callable[[Run], Tensor]
    ) -> tuple[Tensor, Cost]:
        """`sampling.run` of its guider, with gradients where the method needs them."""
        rules, steps = self.hooks.rules, range(self.steps - len(schedule.steps), self.steps)
        if not any(rules.active(Moment(i, self.steps), self.hooks.joint_network) for i in steps):
            warn(
                f"The attention control does nothing in steps {steps[0]} to {self.steps - 1} of "
                f"{self.steps}, which are sampled: change its fractions, or skip fewer steps."
            )
        try:
            if not self.hooks.rules.guidance:
                return run(self.guider, picture, schedule, loop)
            return run_with_gradients(self.guider, picture, schedule, torch.no_grad()(loop))
        finally:
            self.hooks.stop()

    def start(self, run: Run) -> "Steering":
        """Binds it to a run inside its guider, perhaps after one that ran out of memory."""
        self.hooks.stop()
        self.run, self.hooks.rules = run, self.hooks.rules.for_run(run.x_0)
        return self

    def before(self, i: int, x: Tensor, own: Tensor, sigma: Tensor) -> Tensor:
        """The latent to go on with, after the network saw the bundle's own under the source."""
        hooks, conds = self.hooks, self.guider.conds
        hooks.moment = Moment(self.skipped + i, self.steps)
        if not hooks.rules.active(hooks.moment, hooks.joint_network):
            return x
        hooks.enter("source", conds["source"])
        self._predict(own, sigma)
        hooks.enter("target", conds["positive"])
        return self._guided(x, sigma) if hooks.rules.guidance else x

    def after(self, x_next: Tensor, own: Tensor) -> Tensor:
        """The latent after a step."""
        self.hooks.stop()
        return self.hooks.rules.blend(self.hooks.moment, x_next, own)

    def _predict(self, x: Tensor, sigma: Tensor) -> None:
        """Shows the network a latent under the prompt of the phase; its answer does not count."""
        assert self.run is not None
        self.run.denoise.count(len(x))
        options = self.run.extra_args["model_options"]
        prompts = [self.hooks.conds]
        if self.in_one_call:
            prompts.append(self.guider.conds.get("negative"))
        comfy.samplers.calc_cond_batch(self.guider.inner_model, prompts, x, sigma, options)

    def _guided(self, x: Tensor, sigma: Tensor) -> Tensor:
        """The latent after a step down the gradient of the control's loss."""
        rules = self.hooks.rules
        with torch.enable_grad():
            x = x.detach().clone().requires_grad_()
            self._predict(x, sigma)
            loss = rules.taken_loss()
            if not loss.requires_grad:  # no target prompt holds at this step
                return x.detach()
            (gradient,) = torch.autograd.grad(loss, x)
        self.hooks.stop()
        return x.detach() - rules.guidance * gradient
