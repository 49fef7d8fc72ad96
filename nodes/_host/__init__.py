"""The one door to the host's sampling, memory and models; each file answers one question.

sampling    how does a loop of `inversion` run inside a guider?
batching    how many timesteps share a model call?
models      what kind of model is this, and do these noise maps belong to it?
latents     what does a LATENT or a MASK hold, and how does it reach model space?
prompts     how do prompts guide, and how does null text take their place?
gradients   how does the host's network become differentiable for a while?
messages    what is said under a node?
progress    how far is a run, and what did it cost?
"""
