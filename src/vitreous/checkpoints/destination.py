"""Writing a checkpoint in any layout: ours, or a directory that another library loads."""

import json
import os

from vitreous.checkpoints import file
from vitreous.checkpoints.directory import Prove, to_json, write_directory
from vitreous.checkpoints.file import Checkpoint
from vitreous.checkpoints.foreign.class_names import PROBLEM, SEVERAL
from vitreous.checkpoints.foreign.writers import WRITERS
from vitreous.checkpoints.foreign.writing import Writer
from vitreous.errors import CheckpointError, nearest
from vitreous.models.config import ModelConfig, family_of

OURS = "vitreous"
LAYOUTS = (OURS, *WRITERS)


def write_any(
    directory: str | os.PathLike[str],
    checkpoint: Checkpoint,
    layout: str = OURS,
    *,
    prove: Prove | None = None,
) -> None:
    """Write a checkpoint as a directory, whole or not at all, in the place of one that we wrote. ``prove``
    is ``write_directory``'s.

    Raises:
        CheckpointError: an unknown layout, or one that has no place for a part of the model.
        StorageError: the disk is full, a permission is missing, or something else stands there.
    """
    if layout == OURS:
        file.save(directory, checkpoint, prove=prove)
        return
    if layout not in WRITERS:
        raise CheckpointError(
            f"unknown layout {layout!r}; wanted one of {', '.join(LAYOUTS)}{nearest(layout, LAYOUTS)}"
        )
    files = writer_for(checkpoint.model.config, layout).write(checkpoint)
    check_sayable(checkpoint.answers, layout)
    config = files.get(file.CONFIG)
    if checkpoint.answers == "several" and isinstance(config, bytes):
        files = {**files, file.CONFIG: to_json({**json.loads(config), PROBLEM: SEVERAL})}
    write_directory(directory, files, prove=prove)


def check_sayable(answers: str, layout: str) -> None:
    """CheckpointError for a model of whose classes a picture may show several, in a layout that has no word
    for it: whoever read it would take a softmax."""
    if answers == "several" and layout not in (OURS, "transformers"):
        raise CheckpointError(
            f"{layout} cannot say that a picture may show several of the classes (a sigmoid for each);"
            " write transformers, which can, or keep it as it is"
        )


def writer_for(config: ModelConfig, layout: str) -> Writer:
    """The class of another library that has a place for every part of a model.

    Raises:
        CheckpointError: it has none for this family, or a part of this model has no place there.
    """
    family = family_of(config)
    able = [writer for writer in WRITERS[layout] if family in writer.families]
    if not able:
        holds = sorted({name for writer in WRITERS[layout] for name in writer.families})
        raise CheckpointError(
            f"{layout} has no class for a model of family {family!r}; it has for {', '.join(holds)}"
        )
    refusals = [(writer, writer.reasons(config)) for writer in able]
    for writer, reasons in refusals:
        if not reasons:
            return writer
    writer, reasons = min(refusals, key=lambda refusal: len(refusal[1]))
    raise CheckpointError(f"{writer.library} cannot hold this model: {'; '.join(reasons)}")
