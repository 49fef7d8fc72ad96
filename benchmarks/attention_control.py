"""draft"""
import sys, time
import torch
from ..inversion.attention import *
from ..inversion.prompt_to_prompt import PromptToPrompt
from ..inversion.injection import PlugAndPlay, MasaCtrl
from ..inversion.cross_guidance import CrossGuidance
from ..nodes._host.steering import AttentionControl
from ..nodes.inverted_sampler import InvertedSampler
from .task import edit_task, outputs
from .measure import means, print_table
from ..demo.text import TOKENS

def p2p(cross, self_, size=16):
    return PromptToPrompt(torch.eye(TOKENS), torch.ones(TOKENS), torch.ones(TOKENS), ((0.0,cross),)*TOKENS, self_, size)

@torch.inference_mode()
def main():
    kind, worlds, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    task = edit_task(kind, worlds, 1)
    steps=50
    rows={}
    def run(name, maps, cfg, skip, rules):
        t=time.time()
        control = None if rules is None else AttentionControl(rules, task.source_prompt)
        (latent,) = outputs(InvertedSampler, **task.prompts(task.target_prompt, cfg), noise_maps=maps, skip_steps=skip, attention_control=control)
        rows[name]={**means(task.score(task.vae.decode(latent["samples"]))),"s":time.time()-t}
        print(name, {k:round(v,3) for k,v in rows[name].items()}, flush=True)
    if what=="ef":
        maps=task.invert(task.x_0, steps)
        for cfg in (2.0,4.0):
            run(f"EF {cfg}",maps,cfg,18,None)
            for c,s in ((.8,.4),(.8,.6),(.6,.2)):
                run(f"EF+p2p {cfg} {c} {s}",maps,cfg,18,p2p(c,s))
            run(f"EF+pnp {cfg}",maps,cfg,18,PlugAndPlay(.8,.5))
            run(f"EF+masa {cfg}",maps,cfg,18,MasaCtrl(.1,.625))
            run(f"EF+p2p0 {cfg}",maps,cfg,18,CrossGuidance(.1))
main()
