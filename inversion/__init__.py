"""The mathematics of inversion on tensors; it knows no host, makes no noise, chooses no device.

schedule         levels of noise, and the step between two of them
noise_maps       the bundle: a picture as noise maps, with all that a replay must know
file             its file format
paths            from a picture to latents at all levels
walk             along a path: noise maps out of it, and a picture out of noise maps
null_text        the unconditional embedding of each step, by the paper's loop
fast_null_text   the same with far fewer updates
edits            operations on noise maps
statistics       what noise maps tell about themselves
"""
