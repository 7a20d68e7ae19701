"""All that is told of a scene for detection and segmentation.

For detection every object of the scene is marked, one to four of them, by its visible pixels: class, box,
mask, area. For segmentation each pixel has the class of the object that is seen there, ``BACKGROUND`` where
none is; specks are background. There is no main object: scene and index alone decide what is painted.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vitreous.data.annotation import DrawnObjects, DrawnRegion, Objects, Regions, Rle
from vitreous.data.collection import Drawn
from vitreous.data.scenes import SHAPES, Scene, ScenesConfig, scene

BACKGROUND = "background"


class AnnotatedScene(Drawn):
    """One scene, drawn when its pixels or its truth are first asked for and kept from then on; it travels to
    another process as what it is made from. ``classes`` says what an object is called by."""

    def __init__(
        self, config: ScenesConfig, index: int, classes: Literal["shape", "colour", "pair"] = "shape"
    ) -> None:
        self.config, self.index, self.classes = config, index, classes
        self._scene: Scene | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels."""
        return 3 * self.config.size**2

    @property
    def scene(self) -> Scene:
        """The scene with all that is true of it."""
        if self._scene is None:
            self._scene = scene(self.config, self.index)
        return self._scene

    @property
    def labels(self) -> NDArray[np.int64]:
        """(n,) classes of the objects."""
        shapes, colours = self.scene.shapes, self.scene.colours
        both = colours * len(SHAPES) + shapes
        return {"shape": shapes, "colour": colours, "pair": both}[self.classes]

    def pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3)."""
        return self.scene.picture

    def digest(self) -> bytes:
        """What decides it, as bytes."""
        return repr((self.config, self.index, self.classes)).encode()

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_scene": None}


class SceneObjects(DrawnObjects):
    """The objects of a scene."""

    def __init__(self, painted: AnnotatedScene) -> None:
        self.painted = painted
        self._objects: Objects | None = None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_objects": None}

    def objects(self) -> Objects:
        """The objects in the order in which they were painted, with masks of what is seen of them."""
        if self._objects is None:
            instances = self.painted.scene.instances
            masks = [Rle.of(instances == number) for number in range(1, len(self.painted.labels) + 1)]
            self._objects = Objects.of(self.painted.scene.boxes, self.painted.labels, masks=masks)
        return self._objects

    def digest(self) -> bytes:
        """What decides them, as bytes."""
        return self.painted.digest()


class SceneRegion(DrawnRegion):
    """The class of each pixel of a scene: 0 is ``BACKGROUND``."""

    def __init__(self, painted: AnnotatedScene) -> None:
        self.painted = painted

    def region(self) -> Regions:
        """(H, W) uint8."""
        classes = np.concatenate([[0], self.painted.labels + 1]).astype(np.uint8)
        found: NDArray[np.uint8] = classes[self.painted.scene.instances]
        return found

    def digest(self) -> bytes:
        """What decides it, as bytes."""
        return self.painted.digest()
