"""Put a drawn head into a picture: background, shoulders, motion and grain."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vfer.data.sample.canvas import LEFT, TOP, Floats, thrice
from vfer.data.sample.course import Units
from vfer.data.sample.face import draw_head
from vfer.data.sample.identity import Identity, Scene

UNIT = 0.23
"""Pixels per face unit, as a share of the picture's height: a face is about 45 px tall in 120."""


@dataclass(frozen=True)
class HeadPose:
    """How a head is held: its place in face units from the picture's middle, roll in radians, size, and its turn."""

    x: float = 0.0
    y: float = 0.0
    roll: float = 0.0
    size: float = 1.0
    yaw: float = 0.0
    pitch: float = 0.0


class Painter:
    """Paints frames of one identity in one scene; the still parts are painted once.

    `size` is (width, height) in pixels. Small pictures are painted at twice their size and reduced.
    """

    def __init__(self, who: Identity, scene: Scene, size: tuple[int, int], *, grain: float = 1.2) -> None:
        self.who, self.scene, self.size = who, scene, size
        self.over = 2 if size[1] < 400 else 1
        self.scale = UNIT * size[1] * self.over
        self.back = _backdrop(who, scene, (size[0] * self.over, size[1] * self.over), self.scale)
        self.grain = thrice(np.random.default_rng(scene.grain).normal(0.5, grain, size[::-1]).astype(np.float32))

    def frame(self, units: Units, *, closed: float = 0.0, head: HeadPose = HeadPose()) -> NDArray[np.uint8]:
        """Return one frame, uint8 RGB of shape (height, width, 3)."""
        import cv2

        colours, cover = draw_head(self.who, self.scene, units, closed=closed, scale=self.scale, yaw=head.yaw, pitch=head.pitch)
        picture: Floats = self.back.copy()
        lay(colours, cover, picture, self._placement(head))
        if self.over > 1:
            picture = np.asarray(cv2.resize(picture, self.size, interpolation=cv2.INTER_AREA), np.float32)
        return np.asarray(np.clip(picture + self.grain, 0, 255), np.uint8)

    def place(self, head: HeadPose, x: float, y: float) -> tuple[float, float]:
        """Return the pixel of a point of the face."""
        column, row = self._placement(head) @ ((x - LEFT) * self.scale, (y - TOP) * self.scale, 1.0) / self.over
        return float(column), float(row)

    def _placement(self, head: HeadPose) -> NDArray[np.float64]:
        height, width = self.back.shape[:2]
        cos, sin = head.size * np.cos(head.roll), head.size * np.sin(head.roll)
        turn = np.array([[cos, -sin], [sin, cos]])
        middle = np.array([width / 2 + head.x * self.scale, height / 2 + (head.y - 0.05) * self.scale])
        return np.hstack([turn, (middle + turn @ np.array([LEFT, TOP]) * self.scale)[:, None]])


def lay(colours: Floats, cover: Floats, picture: Floats, placement: NDArray[np.float64]) -> None:
    """Lay a patch, its colours premultiplied by its cover, over the picture, only where it reaches."""
    import cv2

    rows, columns = cover.shape
    corners = placement[:, :2] @ np.array([[0, columns, 0, columns], [0, 0, rows, rows]]) + placement[:, 2:]
    left, top = np.maximum(np.floor(corners.min(axis=1)).astype(int), 0)
    right, bottom = np.minimum(np.ceil(corners.max(axis=1)).astype(int), picture.shape[1::-1])
    local, size = placement - np.array([[0, 0, left], [0, 0, top]]), (int(right - left), int(bottom - top))
    region = picture[top:bottom, left:right]
    region *= thrice(np.asarray(1 - cv2.warpAffine(cover, local, size), np.float32))
    region += cv2.warpAffine(colours, local, size)


def _backdrop(who: Identity, scene: Scene, size: tuple[int, int], scale: float) -> Floats:
    """Return the background with neck and shoulders, float32 RGB."""
    width, height = size
    x = ((np.arange(width, dtype=np.float32) + 0.5 - width / 2) / scale)[None, :, None]
    y = ((np.arange(height, dtype=np.float32) + 0.5 - height / 2) / scale)[:, None, None]
    fade = np.clip(0.5 + y / 4 + scene.light[0] * x / 6, 0, 1)
    picture = np.asarray(scene.top, np.float32) * (1 - fade) + np.asarray(scene.bottom, np.float32) * fade
    lit = np.clip(0.75 + 0.25 * scene.light[0] * x, 0.4, 1)
    neck = np.clip(0.5 - (np.maximum(np.abs(x) - 0.40, 0.3 - y)) * scale, 0, 1)
    under = 0.62 + 0.2 * np.clip((y - 0.9) * 1.5, 0, 1)
    picture += neck * (np.asarray(who.skin, np.float32) * lit * under - picture)
    shoulders = np.sqrt((x / 1.55) ** 2 + ((y - 2.05) / 0.95) ** 2) - 1
    collar = np.sqrt((x / 0.5) ** 2 + ((y - 1.08) / 0.35) ** 2) - 1
    body = np.clip(0.5 - np.maximum(shoulders, -collar) * scale, 0, 1)
    picture += body * (np.asarray(scene.clothes, np.float32) * lit - picture)
    return np.ascontiguousarray(picture, np.float32)
