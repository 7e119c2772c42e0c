"""A patch to paint a head on: albedo, shading and cover, addressed in face units."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vfer.data.sample.identity import Colour

LEFT, TOP, WIDTH, HEIGHT = -1.15, -1.45, 2.3, 2.85
Floats = NDArray[np.float32]
SHIFT = 5


def thrice(plane: Floats) -> Floats:
    """Return the plane as three equal channels (numpy is slow at spreading one over three)."""
    import cv2

    return np.asarray(cv2.merge([plane, plane, plane]), np.float32)


class Canvas:
    """Albedo (uint8 RGB), shade, crease and cover (float32 planes), all of one size; `scale` is pixels per face unit.

    `yaw` and `pitch` move what lies in front against the outline, as a turned head does.
    """

    def __init__(self, scale: float, yaw: float, pitch: float) -> None:
        self.scale, self.yaw, self.pitch = scale, yaw, pitch
        columns, rows = round(WIDTH * scale), round(HEIGHT * scale)
        self.x: Floats = ((np.arange(columns, dtype=np.float32) + 0.5) / scale + LEFT)[None, :]
        self.y: Floats = ((np.arange(rows, dtype=np.float32) + 0.5) / scale + TOP)[:, None]
        self.albedo = np.zeros((rows, columns, 3), np.uint8)
        self.crease = np.zeros((rows, columns), np.uint8)
        self.shade: Floats = np.ones((rows, columns), np.float32)
        self.cover: Floats = np.zeros((rows, columns), np.float32)

    def front(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Move points of the face's front by the head's turn; points near the outline stay."""
        depth = np.sqrt(np.clip(1 - (points[:, 0] / 0.8) ** 2 - (points[:, 1] / 1.2) ** 2, 0, 1))
        return np.asarray(points + depth[:, None] * np.array([self.yaw, self.pitch]))

    def fill(self, points: NDArray[np.float64], colour: Colour, *, image: NDArray[np.uint8] | None = None) -> None:
        """Fill a polygon on the face's front with a colour, anti-aliased."""
        import cv2

        cv2.fillPoly(self.albedo if image is None else image, [self._pixels(points)], colour, cv2.LINE_AA, SHIFT)

    def stroke(self, points: NDArray[np.float64], colour: Colour, width: float) -> None:
        """Draw an open line on the face's front."""
        import cv2

        thickness = max(1, round(width * self.scale))
        cv2.polylines(self.albedo, [self._pixels(points)], False, colour, thickness, cv2.LINE_AA, SHIFT)

    def fold(self, points: Sequence[tuple[float, float]], depth: float, width: float = 0.035) -> None:
        """Draw a fold of the skin; `depth` (0 to 1) is how much light it loses."""
        import cv2

        if depth > 0.02:
            line = self._pixels(np.asarray(points))
            cv2.polylines(self.crease, [line], False, 255 * min(depth, 1.0), max(1, round(width * self.scale)), cv2.LINE_AA, SHIFT)

    def mask(self, points: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return a plane that is 255 inside the polygon."""
        plane = np.zeros(self.cover.shape, np.uint8)
        self.fill(points, (255, 255, 255), image=plane)
        return plane

    def glow(self, x: float, y: float, width: float, height: float, amount: float) -> None:
        """Brighten (or darkens) the front by `amount` around a point, as a Gaussian."""
        if amount:
            x, y = self.front(np.array([[x, y]]))[0]
            near = self.window(x, y, 3 * width, 3 * height)
            across = np.exp(-0.5 * ((self.x[:, near[1]] - x) / width) ** 2)
            down = amount * np.exp(-0.5 * ((self.y[near[0]] - y) / height) ** 2)
            self.shade[near] *= 1 + down * across

    def window(self, x: float, y: float, width: float, height: float) -> tuple[slice, slice]:
        """Return the rows and columns within a distance of a point."""
        column, row = (x - LEFT) * self.scale, (y - TOP) * self.scale
        spans = ((row, height * self.scale), (column, width * self.scale))
        rows, columns = (slice(max(0, int(middle - reach)), max(0, int(middle + reach) + 1)) for middle, reach in spans)
        return rows, columns

    def edge(self, distance: Floats) -> Floats:
        """Return a cover that passes from 1 to 0 over a pixel where a distance in face units crosses 0."""
        return np.asarray(np.clip(0.5 - distance * np.float32(self.scale), 0, 1), np.float32)

    def paint(self, cover: Floats, colour: Colour | Floats) -> None:
        """Paint a colour over the albedo where the cover is, and adds it to the canvas's own cover."""
        difference = np.asarray(colour, np.float32) - self.albedo
        difference *= thrice(cover)
        difference += self.albedo
        difference += 0.5
        self.albedo = difference.astype(np.uint8)
        np.maximum(self.cover, cover, out=self.cover)

    def inset(self, mask: NDArray[np.uint8], image: NDArray[np.uint8], near: tuple[slice, slice]) -> None:
        """Show another image through a mask, within a window."""
        cover = mask[near][..., None].astype(np.float32) / 255
        self.albedo[near] = self.albedo[near] * (1 - cover) + image[near] * cover + 0.5

    def finish(self) -> tuple[Floats, Floats]:
        """Return the shaded colours times the cover (float32 RGB, 0 to 255), and the cover (0 to 1)."""
        import cv2

        crease = np.asarray(cv2.GaussianBlur(self.crease, (0, 0), 0.022 * self.scale), np.float32)
        light: Floats = self.shade * (1 - crease * np.float32(0.75 / 255))
        colours: Floats = np.minimum(self.albedo * thrice(light), np.float32(255))
        colours *= thrice(self.cover)
        return colours, self.cover

    def _pixels(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        pixels = (self.front(points) - (LEFT, TOP)) * self.scale - 0.5
        return np.asarray(np.round(pixels * 2**SHIFT), np.int32)
