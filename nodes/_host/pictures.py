"""Pictures on the node that runs, while it runs."""

import comfy.utils
from PIL import Image


def show_progress(done: int, whole: int, picture: Image.Image) -> None:
    """Moves the progress bar of the node that runs and shows a picture in place of a latent
    preview. The last one stays, before pictures of its outputs, until the node starts again.
    """
    comfy.utils.ProgressBar(whole).update_absolute(done, whole, ("JPEG", picture, None))
