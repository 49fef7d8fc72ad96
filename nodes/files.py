"""Noise maps on disk, inside the host's own folders."""

import json
import os
from pathlib import Path

import folder_paths
from comfy.cli_args import args
from comfy_api.latest import io, ui

from ..inversion.file import read_noise_maps, write_noise_maps
from ._host.messages import tell
from .inputs import CATEGORY, NoiseMapsType, check_noise_maps, noise_maps_input

_SUFFIX = ".safetensors"


class SaveNoiseMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintSaveNoiseMaps",
            display_name="Save Noise Maps",
            category=CATEGORY,
            description="Saves noise maps with everything that a replay must know, and the "
            "workflow, as a .safetensors file in the output folder.",
            search_aliases=["export noise maps", "store", "share"],
            is_output_node=True,
            inputs=[
                noise_maps_input("What to save, edits included."),
                io.String.Input(
                    "filename_prefix",
                    default="noise_maps/imprint",
                    tooltip="Folder and beginning of the file's name, as in Save Image; %year% and "
                    "the like are filled in, and a number follows.",
                ),
            ],
        )

    @classmethod
    def execute(cls, noise_maps, filename_prefix) -> io.NodeOutput:
        check_noise_maps(noise_maps)
        path, subfolder = _free_path(filename_prefix)
        write_noise_maps(noise_maps, path, _workflow(cls.hidden))
        tell(f"Saved {Path(subfolder, path.name)}.")
        saved = ui.SavedResult(path.name, subfolder, io.FolderType.output)
        return io.NodeOutput(ui={"noise_maps": [saved]})


class LoadNoiseMaps(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ImprintLoadNoiseMaps",
            display_name="Load Noise Maps",
            category=CATEGORY,
            description="Loads noise maps that Save Noise Maps has written, bit for bit.",
            search_aliases=["import noise maps", "open"],
            inputs=[
                io.Combo.Input(
                    "noise_maps_file",
                    options=_files(),
                    tooltip="A file in the output folder (marked) or in the input folder. Replay "
                    "it with the model it was made with.",
                )
            ],
            outputs=[
                NoiseMapsType.Output(
                    display_name="noise_maps", tooltip="The noise maps as they were saved."
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, noise_maps_file) -> bool:
        """In place of the host's check of the list, which does not know a fresh upload. What is
        wrong is said by `execute`: of refusals the browser shows no reason.
        """
        return True

    @classmethod
    def fingerprint_inputs(cls, noise_maps_file) -> tuple:
        status = _path_of(noise_maps_file).stat()
        return status.st_mtime_ns, status.st_size

    @classmethod
    def execute(cls, noise_maps_file) -> io.NodeOutput:
        return io.NodeOutput(read_noise_maps(_path_of(noise_maps_file)))


def _free_path(prefix: str) -> tuple[Path, str]:
    """Where the next file of this prefix goes, and its folder inside the output folder."""
    output = Path(folder_paths.get_output_directory())
    try:
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, str(output))
        return Path(folder, f"{name}_{counter:05}_{_SUFFIX}").resolve(), subfolder
    except Exception as error:  # the host raises nothing narrower
        raise ValueError(
            f"filename_prefix is {prefix!r}, which lies outside of the output folder or cannot "
            "be created: use a name such as noise_maps/imprint."
        ) from error


def _workflow(hidden) -> dict[str, str]:
    """What the host's own files carry in their metadata."""
    if args.disable_metadata or hidden is None:
        return {}
    found = {"prompt": hidden.prompt, **(hidden.extra_pnginfo or {})}
    return {key: json.dumps(value) for key, value in found.items() if value is not None}


def _files() -> list[str]:
    """What the list offers: saved files, the last number first, then uploaded ones."""
    saved = reversed(_names(folder_paths.get_output_directory()))
    return [*(f"{name} [output]" for name in saved), *_names(folder_paths.get_input_directory())]


def _names(folder: str) -> list[str]:
    return sorted(
        Path(place, name).relative_to(folder).as_posix()
        for place, _, names in os.walk(folder)
        for name in names
        if name.endswith(_SUFFIX)
    )


def _path_of(name: str) -> Path:
    """The file behind a name of the list; ValueError if there is none inside the host's folders."""
    plain, folder = folder_paths.annotated_filepath(name)
    base = Path(folder or folder_paths.get_input_directory()).resolve()
    try:
        path = (base / plain).resolve()
        if path.is_relative_to(base) and path.suffix == _SUFFIX and path.is_file():
            return path
    except (OSError, ValueError):  # names that no file can have
        pass
    raise ValueError(
        f"noise_maps_file is {name!r}, which is not a {_SUFFIX} file in the input or output "
        "folder: choose one from the list, or upload it."
    )
