"""The bundle of noise maps: everything a replay must know, in one immutable value.

Invariant, for edited bundles too: xs[i + 1] = mean(xs[i], denoised_i) + scale_i zs[i] (see
`schedule.Step`), so the model's x_0 at each step, the paper's P(f_t(x_t)), can be recovered without
the model, and `xs[-1]` is the bundle's own picture. Latents are in model space, on the CPU,
contiguous, float32.

A file is a safetensors file with the tensors under their own names and everything else as strings
in its metadata. Whatever a file may hold, reading it runs no code.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from .schedule import Step, check_sigmas, plan_steps

_FORMAT, _VERSION = "imprint.noise_maps", "1"
_TENSORS = {"xs": "F32", "zs": "F32", "sigmas": "F64", "uncond": "F32", "uncond_pooled": "F32"}
_REQUIRED = {"xs", "zs", "sigmas"}
_STRINGS = "eta", "flow", "skipped", "info"
_INFO = {"cfg": float, "edits": list, "latent_format": str}  # what others read from it
_LONGEST_HEADER = 1 << 24  # bytes; parsing takes 25 times as many

Info = dict[str, str | float | int | list[str]]


class NoiseMaps(NamedTuple):
    """xs (steps + 1, batch, channels, *spatial) and zs (steps, batch, channels, *spatial); `zs[i]`
    belongs to the step from `sigmas[i]` to `sigmas[i + 1]`.

    `skipped` counts the steps that were cut off before `sigmas[0]`. `uncond` (steps, batch, tokens,
    width) and `uncond_pooled` (batch, width) are the unconditional embeddings to replay with, where
    an optimisation stored them. `info` holds what an error or a caption names: method, latent
    format, cfg, seed and the like.
    """

    xs: Tensor
    zs: Tensor
    sigmas: tuple[float, ...]
    eta: float
    flow: bool
    skipped: int
    info: Info
    uncond: Tensor | None = None
    uncond_pooled: Tensor | None = None

    @property
    def steps(self) -> list[Step]:
        return plan_steps(self.sigmas, self.eta, self.flow)


def check_noise_maps(maps: NoiseMaps) -> None:
    """ValueError unless schedule and shapes agree and every value is finite."""
    check_sigmas(maps.sigmas, maps.flow)
    if not 0 <= maps.eta <= 1:
        raise ValueError(f"The noise maps' eta is {maps.eta:g}, not in 0 to 1: invert again.")
    for values in (maps.xs, maps.zs):
        if not values.is_floating_point() or not values.numel():
            raise ValueError(
                f"The noise maps hold {values.numel()} values of {values.dtype}: invert again."
            )
    steps = len(maps.sigmas) - 1
    if (
        maps.xs.ndim < 4
        or maps.xs.shape[0] != steps + 1
        or maps.zs.shape != (steps, *maps.xs.shape[1:])
    ):
        raise ValueError(
            f"The noise maps hold latents {tuple(maps.xs.shape)} and maps {tuple(maps.zs.shape)} "
            f"for {steps} steps, which do not belong together: invert the image again."
        )
    uncond = maps.uncond
    if uncond is not None and (uncond.shape[:1] != (steps,) or not uncond.isfinite().all()):
        raise ValueError(
            f"The noise maps' unconditional embedding {tuple(uncond.shape)} is not one for each of "
            f"{steps} steps, or holds NaN: optimise again."
        )
    for name, values in (("maps", maps.zs), ("latents", maps.xs)):
        finite = values.flatten(1).isfinite().all(1)
        if not finite.all():
            raise ValueError(
                f"The noise {name} are not finite at step {int(torch.argmin(finite.int()))}: "
                "invert with a float32 model, or with a lower cfg."
            )


def write_noise_maps(maps: NoiseMaps, path: Path, beside: Mapping[str, str]) -> None:
    """A file that is there whole or not at all; the strings `beside` go into its metadata too."""
    optional = {"uncond": maps.uncond, "uncond_pooled": maps.uncond_pooled}
    tensors = {"xs": maps.xs, "zs": maps.zs}
    tensors |= {name: values for name, values in optional.items() if values is not None}
    tensors = {name: values.float().contiguous() for name, values in tensors.items()}
    tensors["sigmas"] = torch.tensor(maps.sigmas, dtype=torch.float64)
    strings = {
        "eta": repr(maps.eta),
        "flow": json.dumps(maps.flow),
        "skipped": str(maps.skipped),
        "info": json.dumps(maps.info),
    }
    checked = {"format": _FORMAT, "version": _VERSION, "crc32": _checksum(tensors, strings)}
    partial = path.with_name(f"{path.name}.partial")
    try:
        save_file(tensors, partial, {**beside, **strings, **checked})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_noise_maps(path: Path) -> NoiseMaps:
    """The bundle in a file; ValueError with the reason where there is none."""
    try:
        with path.open("rb") as start:
            size = int.from_bytes(start.read(8), "little")
        if size > _LONGEST_HEADER:
            raise ValueError(
                f"{path.name} declares a header of {size} bytes, which noise maps do not have: "
                "choose a file that Save Noise Maps has written."
            )
        with cast(Any, safe_open(path, framework="pt")) as file:  # which declares no types
            strings: dict[str, str] = file.metadata() or {}
            names: list[str] = list(file.keys())
            dtypes = {name: str(file.get_slice(name).get_dtype()) for name in names}
            _check_header(path.name, strings, dtypes)
            # Copies: the file's own pages would follow what others write into it.
            tensors: dict[str, Tensor] = {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path.name} is no whole safetensors file ({error}): copy or save it again."
        ) from error
    if strings["crc32"] != _checksum(tensors, strings):
        raise ValueError(f"{path.name} was changed after it was saved: copy or save it again.")
    maps = _bundle(path.name, strings, tensors)
    check_noise_maps(maps)
    return maps


def _check_header(name: str, strings: Mapping[str, str], dtypes: dict[str, str]) -> None:
    """ValueError unless a file declares a bundle of this version."""
    if strings.get("format") != _FORMAT:
        raise ValueError(
            f"{name} holds no noise maps: choose a file that Save Noise Maps has written."
        )
    if strings.get("version") != _VERSION:
        raise ValueError(
            f"{name} is of version {strings.get('version')} of the file format, and this Imprint "
            f"reads version {_VERSION}: update Imprint."
        )
    missing = (_REQUIRED - dtypes.keys()) | ({*_STRINGS, "crc32"} - strings.keys())
    foreign = {key for key, dtype in dtypes.items() if _TENSORS.get(key) != dtype}
    if missing or foreign:
        wrong = ", ".join(sorted(missing | foreign))
        raise ValueError(
            f"{name} lacks or declares in another way what noise maps are made of ({wrong}): save "
            "it again."
        )


def _bundle(name: str, strings: Mapping[str, str], tensors: dict[str, Tensor]) -> NoiseMaps:
    try:
        info = json.loads(strings["info"])
        if any(not isinstance(info.get(key, kind()), kind) for key, kind in _INFO.items()):
            raise ValueError
        return NoiseMaps(
            xs=tensors["xs"],
            zs=tensors["zs"],
            sigmas=tuple(cast(Any, tensors["sigmas"].flatten()).tolist()),
            eta=float(strings["eta"]),
            flow={"true": True, "false": False}[strings["flow"]],
            skipped=int(strings["skipped"]),
            info=info,
            uncond=tensors.get("uncond"),
            uncond_pooled=tensors.get("uncond_pooled"),
        )
    except (ValueError, KeyError, AttributeError, RecursionError):
        raise ValueError(
            f"{name} has settings that cannot be read: choose a file that Save Noise Maps has "
            "written."
        ) from None


def _checksum(tensors: Mapping[str, Tensor], strings: Mapping[str, str]) -> str:
    """Of all that makes the bundle; a flipped bit in a map is a valid number otherwise."""
    total = zlib.crc32(json.dumps([strings[name] for name in _STRINGS]).encode())
    for name in sorted(tensors):
        total = zlib.crc32(f"{name} {list(tensors[name].shape)}".encode(), total)
        total = zlib.crc32(cast(Any, tensors[name].numpy()), total)
    return f"{total:08x}"
