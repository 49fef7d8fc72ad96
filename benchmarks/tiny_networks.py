"""Tiny sizes of the host's networks, for text 32 wide and a pooled text of POOLED."""

import torch
from comfy.model_patcher import ModelPatcher

POOLED = 1280  # which SDXL fixes

# fmt: off
UNET = {
    "image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 32,
    "num_res_blocks": [1, 1], "channel_mult": [1, 2], "transformer_depth": [0, 1],
    "transformer_depth_output": [0, 0, 1, 1], "transformer_depth_middle": 1, "context_dim": 32,
    "num_head_channels": 16, "use_spatial_transformer": True, "use_linear_in_transformer": True,
    "legacy": False,
}
LABELLED = {**UNET, "num_classes": "sequential"}
SDXL = {**LABELLED, "adm_in_channels": 2816}
VIDEO_UNET = {
    **LABELLED, "in_channels": 8, "extra_ff_mix_layer": True, "use_spatial_context": True,
    "merge_factor": 0.0, "merge_strategy": "learned_with_images", "video_kernel_size": [3, 1, 1],
    "use_temporal_resblock": True, "use_temporal_attention": True,
    "disable_temporal_crossattention": False,
}
UPSCALER = {**UNET, "in_channels": 7, "disable_self_attentions": [True, False]}
CASCADE_C = {
    "stable_cascade_stage": "c", "c_cond": 64, "c_hidden": [32, 64], "nhead": [2, 2],
    "blocks": [[1, 1], [1, 1]], "c_clip_text": 32, "c_clip_text_pooled": POOLED,
}
CASCADE_B = {
    "stable_cascade_stage": "b", "c_cond": 32, "c_hidden": [16, 16, 32, 32],
    "nhead": [-1, -1, 2, 2], "blocks": [[1] * 4] * 2, "block_repeat": [[1] * 4] * 2,
    "c_clip": POOLED,
}
SD3 = {
    "in_channels": 16, "out_channels": 16, "patch_size": 2, "depth": 1, "input_size": None,
    "adm_in_channels": POOLED, "num_patches": 64, "pos_embed_max_size": 8, "qk_norm": "rms",
    "pos_embed_scaling_factor": None, "context_embedder_config": {
        "target": "torch.nn.Linear", "params": {"in_features": 32, "out_features": 64},
    },
}
AURA = {
    "dim": 64, "n_layers": 2, "n_double_layers": 1, "n_heads": 2, "global_conddim": 64,
    "cond_seq_dim": 32, "max_seq": 64,
}
PIXART = {
    "image_model": "pixart_alpha", "num_heads": 2, "hidden_size": 96, "depth": 1,
    "model_max_length": 8, "input_size": 8, "caption_channels": 32, "micro_condition": True,
}
HYDIT = {
    "image_model": "hydit", "hidden_size": 64, "depth": 4, "num_heads": 2, "text_states_dim": 32,
    "text_states_dim_t5": 32, "text_len": 8, "text_len_t5": 8,
}
HYDIT_1 = {**HYDIT, "image_model": "hydit1", "size_cond": True, "use_style_cond": True}
FLUX = {
    "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": POOLED,
    "context_in_dim": 32, "hidden_size": 64, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1,
    "depth_single_blocks": 1, "axes_dim": [8, 12, 12], "theta": 10000, "patch_size": 2,
    "qkv_bias": True, "guidance_embed": True, "txt_ids_dims": [],
}
LONGCAT = {**FLUX, "guidance_embed": False, "vec_in_dim": None, "txt_ids_dims": [1, 2]}
FLUX_2 = {
    **FLUX, "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None,
    "patch_size": 1, "axes_dim": [8] * 4, "global_modulation": True, "mlp_silu_act": True,
    "qkv_bias": False, "ops_bias": False, "txt_ids_dims": [3],
}
CHROMA = {
    **FLUX, "image_model": "chroma", "in_channels": 64, "out_channels": 64, "in_dim": 64,
    "out_dim": 64, "hidden_dim": 64, "n_layers": 1, "vec_in_dim": None,
}
del CHROMA["guidance_embed"]
RADIANCE = {
    **CHROMA, "image_model": "chroma_radiance", "in_channels": 3, "out_channels": 3,
    "patch_size": 4, "nerf_hidden_size": 16, "nerf_mlp_ratio": 2, "nerf_depth": 1,
    "nerf_max_freqs": 4, "nerf_tile_size": 0, "nerf_final_head_type": "conv",
    "nerf_embedder_dtype": torch.float32, "use_x0": False, "use_sequential_txt_ids": False,
}
HUNYUAN = {
    "image_model": "hunyuan_video", "in_channels": 16, "out_channels": 16, "vec_in_dim": POOLED,
    "context_in_dim": 32, "hidden_size": 64, "mlp_ratio": 2.0, "num_heads": 2, "depth": 1,
    "depth_single_blocks": 1, "axes_dim": [8, 12, 12], "theta": 256, "patch_size": [1, 2, 2],
    "qkv_bias": True, "guidance_embed": True, "byt5": False, "meanflow": False,
    "use_cond_type_embedding": False, "vision_in_dim": None, "meanflow_sum": False,
}
HUNYUAN_15 = {
    **HUNYUAN, "in_channels": 65, "out_channels": 32, "vision_in_dim": 16, "meanflow_sum": True,
    "vec_in_dim": None, "use_cond_type_embedding": True, "guidance_embed": False,
}
HUNYUAN_IMAGE = {
    **HUNYUAN, "in_channels": 64, "out_channels": 64, "vec_in_dim": None, "patch_size": [1, 1],
    "axes_dim": [16, 16], "meanflow": True,
}
MOCHI = {  # the host asserts that the first two make 1536 * 8
    "hidden_size_x": 64, "mlp_ratio_x": 192.0, "image_model": "mochi_preview", "depth": 2,
    "num_heads": 2, "hidden_size_y": 32, "mlp_ratio_y": 2.0, "learn_sigma": False,
    "in_channels": 12, "qk_norm": True, "qkv_bias": False, "posenc_preserve_area": True,
    "timestep_scale": 1000.0, "use_t5": True, "t5_feat_dim": 32, "t5_token_length": 8,
}
LTXV = {
    "image_model": "ltxv", "cross_attention_dim": 64, "attention_head_dim": 32,
    "num_attention_heads": 2, "caption_channels": 32, "num_layers": 1,
}
WAN = {
    "image_model": "wan2.1", "model_type": "t2v", "dim": 48, "ffn_dim": 64, "num_heads": 2,
    "num_layers": 1, "text_dim": 32, "freq_dim": 32, "in_dim": 16, "out_dim": 16,
}
VACE = {**WAN, "model_type": "vace", "vace_layers": 1, "vace_in_dim": 96}
WAN_S2V = {
    **WAN, "model_type": "s2v", "audio_dim": 16, "num_audio_token": 1, "audio_inject_layers": [0],
}
COSMOS = {
    "image_model": "cosmos", "max_img_h": 16, "max_img_w": 16, "max_frames": 8, "in_channels": 16,
    "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "model_channels": 64,
    "pos_emb_cls": "rope3d", "block_x_format": "THWBD", "affline_emb_norm": True, "num_blocks": 1,
    "num_heads": 2, "crossattn_emb_channels": 32, "use_adaln_lora": True, "adaln_lora_dim": 16,
    "extra_per_block_abs_pos_emb": True, "extra_per_block_abs_pos_emb_type": "learnable",
}
PREDICT_2 = {
    "image_model": "cosmos_predict2", "max_img_h": 16, "max_img_w": 16, "max_frames": 8,
    "in_channels": 16, "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1,
    "model_channels": 64, "pos_emb_cls": "rope3d", "pos_emb_learnable": True, "num_blocks": 1,
    "num_heads": 2, "crossattn_emb_channels": 32, "use_adaln_lora": True, "adaln_lora_dim": 16,
    "rope_enable_fps_modulation": False,
}
LUMINA = {
    "image_model": "lumina2", "in_channels": 16, "dim": 64, "cap_feat_dim": 32, "n_layers": 1,
    "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 1, "qk_norm": True,
    "axes_dims": [8, 12, 12], "axes_lens": [32] * 3, "ffn_dim_multiplier": 0.25, "multiple_of": 32,
}
Z_IMAGE = {
    **LUMINA, "dim": 256, "n_heads": 8, "n_kv_heads": 8, "z_image_modulation": True,
    "time_scale": 1000.0, "pad_tokens_multiple": 32,
}
Z_IMAGE_PIXELS = {
    **Z_IMAGE, "image_model": "zimage_pixel", "in_channels": 3, "patch_size": 4,
    "decoder_in_channels": 48, "decoder_hidden_size": 32, "decoder_num_res_blocks": 1,
    "decoder_max_freqs": 4,
}
PIXELDIT = {
    "image_model": "pixeldit_t2i", "num_groups": 2, "hidden_size": 64, "pixel_hidden_size": 4,
    "pixel_attn_hidden_size": 64, "pixel_num_groups": 2, "patch_depth": 1, "pixel_depth": 1,
    "txt_embed_dim": 32, "txt_max_length": 8,
}
HIDREAM = {
    "image_model": "hidream", "attention_head_dim": 32, "axes_dims_rope": [16, 8, 8],
    "caption_channels": [32, 32], "max_resolution": [16, 16], "in_channels": 16,
    "out_channels": 16, "llama_layers": [0, 1], "num_attention_heads": 2, "num_layers": 1,
    "num_single_layers": 1, "patch_size": 2, "text_emb_dim": POOLED,
}
OMNIGEN_2 = {
    "image_model": "omnigen2", "hidden_size": 64, "num_layers": 1, "num_refiner_layers": 1,
    "num_attention_heads": 2, "num_kv_heads": 1, "multiple_of": 32, "axes_dim_rope": [8, 12, 12],
    "axes_lens": [32] * 3, "text_feat_dim": 32, "timestep_scale": 1000.0,
}
BOOGU = {
    **OMNIGEN_2, "image_model": "boogu", "num_double_stream_layers": 1, "instruction_feat_dim": 32,
}
del BOOGU["text_feat_dim"]
QWEN = {
    "image_model": "qwen_image", "num_layers": 1, "attention_head_dim": 32,
    "num_attention_heads": 2, "joint_attention_dim": 32, "axes_dims_rope": (8, 12, 12),
}
JOY = {
    "image_model": "joyimage", "hidden_size": 64, "num_attention_heads": 2, "text_dim": 32,
    "num_layers": 1, "mlp_width_ratio": 1.0, "rope_dim_list": [8, 12, 12],
}
IDEOGRAM = {
    "image_model": "ideogram4", "num_layers": 1, "num_attention_heads": 2,
    "attention_head_dim": 32, "intermediate_size": 64, "adaln_dim": 32, "llm_features_dim": 32,
    "mrope_section": [6, 5, 5],
}
KREA_2 = {
    "image_model": "krea2", "features": 128, "tdim": 32, "txtdim": 32, "heads": 1, "kvheads": 1,
    "multiplier": 1, "layers": 1, "txtlayers": 1, "txtheads": 1, "txtkvheads": 1,
}
LENS = {
    "image_model": "lens", "num_layers": 1, "num_attention_heads": 1, "enc_hidden_dim": 32,
    "multi_layer_encoder_feature": False, "selected_layer_index": (0,),
}
KANDINSKY_5 = {
    "image_model": "kandinsky5", "model_dim": 64, "ff_dim": 64, "time_dim": 32, "in_text_dim": 32,
    "in_text_dim2": POOLED, "num_text_blocks": 1, "num_visual_blocks": 1, "axes_dims": (8, 12, 12),
}
ERNIE = {
    "image_model": "ernie", "hidden_size": 128, "num_attention_heads": 1, "num_layers": 1,
    "ffn_hidden_size": 64, "text_in_dim": 32,
}
SEEDVR = {
    "image_model": "seedvr2", "norm_eps": 1e-5, "num_layers": 2, "mlp_type": "swiglu",
    "vid_dim": 64, "txt_in_dim": 32, "heads": 2, "head_dim": 32, "mm_layers": 1, "rope_dim": 16,
    "expand_ratio": 2,
}
HUNYUAN_3D = {
    "image_model": "hunyuan3d2", "context_in_dim": 32, "hidden_size": 64, "num_heads": 2,
    "depth": 1, "depth_single_blocks": 1,
}
AUDIO = {
    "audio_model": "dit1.0", "embed_dim": 64, "depth": 1, "num_heads": 2, "cond_token_dim": 768,
    "project_cond_tokens": True,
}
COG = {
    "image_model": "cogvideox", "num_attention_heads": 2, "attention_head_dim": 32,
    "time_embed_dim": 32, "text_embed_dim": 32, "num_layers": 1,
    "use_rotary_positional_embeddings": True,
}
HIDREAM_O1 = {
    "image_model": "hidream_o1",
    "text_config_overrides": {
        "vocab_size": 8, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1,
        "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 32,
    },
    "vision_config_overrides": {
        "hidden_size": 32, "num_heads": 1, "intermediate_size": 32, "depth": 1,
    },
}
# fmt: on


def draw_weights(network: torch.nn.Module) -> None:
    """Arbitrary weights that keep activations of unit size."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in sorted(network.state_dict().items()):
        value = torch.randn(tensor.shape, generator=generator)
        if tensor.ndim == 1 and not name.endswith("bias"):
            tensor.copy_(1 + 0.1 * value)  # what scales the output of a norm
        else:
            tensor.copy_(value / max(tensor.shape[1:].numel(), 1) ** 0.5)


def patcher(model) -> ModelPatcher:
    return ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))
