"""The file format of noise maps, version 1.

A safetensors file with the tensors under their own names and everything else as strings in its
metadata, with a checksum: a flipped bit in a map would be a valid number otherwise. Whatever a file
may hold, reading it runs no code.
"""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from .noise_maps import NoiseMaps
from .schedule import Schedule

_FORMAT, _VERSION = "imprint.noise_maps", "1"
_TENSORS = {"xs": "F32", "zs": "F32", "sigmas": "F64", "uncond": "F32", "uncond_pooled": "F32"}
_REQUIRED = {"xs", "zs", "sigmas"}
_STRINGS = "eta", "flow", "skipped", "latent_format", "cfg", "info", "unit_roundoff"
_LONGEST_HEADER = 1 << 24  # bytes; parsing takes 25 times as many


def write_noise_maps(maps: NoiseMaps, path: Path, beside: Mapping[str, str]) -> None:
    """A file that is there whole or not at all; the strings `beside` go into its metadata too."""
    optional = {"uncond": maps.uncond, "uncond_pooled": maps.uncond_pooled}
    tensors = {"xs": maps.xs, "zs": maps.zs}
    tensors |= {name: values for name, values in optional.items() if values is not None}
    tensors = {name: values.float().contiguous() for name, values in tensors.items()}
    tensors["sigmas"] = torch.tensor(maps.schedule.sigmas, dtype=torch.float64)
    strings = {
        "eta": repr(maps.schedule.eta),
        "flow": json.dumps(maps.schedule.flow),
        "skipped": str(maps.skipped),
        "latent_format": maps.latent_format,
        "cfg": json.dumps(maps.cfg),
        "info": json.dumps(maps.info),
        "unit_roundoff": repr(maps.unit_roundoff),
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
                f"{path.name} claims to have a header of {size} bytes, which is too long for noise "
                "maps: choose a file that Save Noise Maps has written."
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
            f"{path.name} is not a complete safetensors file ({error}): copy or save it again."
        ) from error
    if strings["crc32"] != _checksum(tensors, strings):
        raise ValueError(f"{path.name} was changed after it was saved: copy or save it again.")
    settings = _settings(path.name, strings)
    sigmas = tuple(cast(list[float], cast(Any, tensors.pop("sigmas")).flatten().tolist()))
    schedule = Schedule(sigmas, flow=settings.pop("flow"), eta=settings.pop("eta"))
    return NoiseMaps(**tensors, schedule=schedule, **settings)


def _check_header(name: str, strings: Mapping[str, str], dtypes: dict[str, str]) -> None:
    """ValueError unless a file declares a bundle of this version."""
    if strings.get("format") != _FORMAT:
        raise ValueError(
            f"{name} does not hold noise maps: choose a file that Save Noise Maps has written."
        )
    if strings.get("version") != _VERSION:
        raise ValueError(
            f"{name} has version {strings.get('version')} of the file format, but this Imprint "
            f"reads version {_VERSION}: update Imprint."
        )
    missing = (_REQUIRED - dtypes.keys()) | ({*_STRINGS, "crc32"} - strings.keys())
    foreign = {key for key, dtype in dtypes.items() if _TENSORS.get(key) != dtype}
    if missing or foreign:
        wrong = ", ".join(sorted(missing | foreign))
        raise ValueError(
            f"{name} does not have the parts that noise maps consist of (missing or of another "
            f"type: {wrong}): save it again with Save Noise Maps."
        )


def _settings(name: str, strings: Mapping[str, str]) -> dict[str, Any]:
    """What a bundle holds beside its tensors."""
    try:
        cfg, info = json.loads(strings["cfg"]), json.loads(strings["info"])
        fitting = cfg is None or (type(cfg) in (int, float) and math.isfinite(cfg))
        if not fitting or not isinstance(info, dict) or int(strings["skipped"]) < 0:
            raise ValueError
        if not isinstance(cast(Any, info).get("edits", []), list):
            raise ValueError
        return {
            "eta": float(strings["eta"]),
            "flow": {"true": True, "false": False}[strings["flow"]],
            "skipped": int(strings["skipped"]),
            "latent_format": strings["latent_format"],
            "cfg": cfg,
            "info": cast(Any, info),
            "unit_roundoff": float(strings["unit_roundoff"]),
        }
    except (ValueError, KeyError, RecursionError):
        raise ValueError(
            f"{name} has settings that cannot be read: choose a file that Save Noise Maps has "
            "written."
        ) from None


def _checksum(tensors: Mapping[str, Tensor], strings: Mapping[str, str]) -> str:
    """A checksum of all that decides a replay: tensors and settings."""
    total = zlib.crc32(json.dumps([strings[name] for name in _STRINGS if name in strings]).encode())
    for name in sorted(tensors):
        total = zlib.crc32(f"{name} {list(tensors[name].shape)}".encode(), total)
        total = zlib.crc32(cast(Any, tensors[name].numpy()), total)
    return f"{total:08x}"
