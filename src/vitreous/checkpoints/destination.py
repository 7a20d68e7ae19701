"""Writing a checkpoint in any layout: ours, or a directory that another library loads."""

import os
from collections.abc import Callable, Mapping

from vitreous.checkpoints import file
from vitreous.checkpoints.directory import FileContent, write_directory
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign import timm_writer, torchvision, transformers
from vitreous.errors import CheckpointError, nearest

OURS = "vitreous"
WRITERS: Mapping[str, Callable[[Checkpoint], dict[str, FileContent]]] = {
    "transformers": transformers.write,
    "timm": timm_writer.write,
    "torchvision": torchvision.write,
}
LAYOUTS = (OURS, *WRITERS)


def write_any(directory: str | os.PathLike[str], checkpoint: Checkpoint, layout: str = OURS) -> None:
    """Write a checkpoint as a directory, whole or not at all, in the place of one that we wrote.

    Raises:
        CheckpointError: an unknown layout, or one that has no place for a part of the model.
        StorageError: the disk is full, a permission is missing, or something else stands there.
    """
    if layout == OURS:
        file.save(directory, checkpoint)
        return
    if layout not in WRITERS:
        raise CheckpointError(
            f"unknown layout {layout!r}; wanted one of {', '.join(LAYOUTS)}{nearest(layout, LAYOUTS)}"
        )
    write_directory(directory, WRITERS[layout](checkpoint))
