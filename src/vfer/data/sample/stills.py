"""Render face stills as the `faces` stage would crop them: tight, grey, 48x48."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vfer.data.catalogue.stills import SCHEMA, SIDE, USAGES
from vfer.data.sample.course import LOOKS, UNITS
from vfer.data.sample.identity import draw_identity, draw_scene
from vfer.data.sample.render import HeadPose, Painter

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""FER2013's seven classes."""
FACE_MIDDLE, FACE_SIDE = 0.165, 1.62
"""Middle (down the face's axis) and larger side, in face units, of the box that CenterFace reports; measured on 320 renderings."""
FRAMING = 0.8
"""Side of the crop, as a share of that box: 1 plus the default `faces.margin`."""


@dataclass(frozen=True)
class StillName:
    """Names one still: its class, its usage, and its number among those; an identity shows each class once or twice."""

    expression: str
    usage: str
    number: int

    @property
    def name(self) -> str:
        """The still's unique name."""
        return f"sample/{self.usage}-{self.expression}-{self.number:03d}"

    @property
    def identity(self) -> int:
        """The number of the face among those of the usage."""
        return self.number // 2 if self.usage == "train" else self.number


def table(stills: int, seed: int, advance: Callable[[], None]) -> pa.Table:
    """Return the stills' table: `stills` of each class to train on, and a sixth as many to validate and to test.

    The identities of train, validation and test, and of the clips, are all different.
    """
    rows = []
    for still in plan(stills):
        subject = f"sample/{still.usage}-{still.identity:03d}"
        rows.append((still.name, still.expression, still.usage, "sample", subject, _encode(crop(still, seed)), None))
        advance()
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA)


def plan(stills: int) -> Iterator[StillName]:
    """Yield every still of the sample, in the order of the table's rows."""
    for usage in USAGES:
        for expression in EXPRESSIONS:
            for number in range(stills if usage == "train" else max(1, stills // 6)):
                yield StillName(expression, usage, number)


def crop(still: StillName, seed: int) -> NDArray[np.uint8]:
    """Render one still, uint8 grey of shape (48, 48); strength, pose, light and resolution vary."""
    import cv2

    usage = USAGES.index(still.usage)
    who = draw_identity(np.random.default_rng([seed, 2, usage, still.identity]))
    random = np.random.default_rng([seed, 3, usage, EXPRESSIONS.index(still.expression), still.number])
    zoom = random.uniform(0.85, 1.6)
    painter = Painter(who, draw_scene(random), (round(160 * zoom), round(120 * zoom)))
    roll, yaw, pitch = random.uniform(-1, 1, 3) * (0.06, 0.08, 0.04)
    head = HeadPose(roll=roll, yaw=yaw, pitch=pitch)
    strength, noise = random.uniform(0.4, 1.0), random.uniform(-0.2, 0.2, len(UNITS))
    look = LOOKS[still.expression]
    units = {unit: float(np.clip(strength * look.get(unit, 0.0) + extra, 0, 1)) for unit, extra in zip(UNITS, noise, strict=True)}
    picture = cv2.cvtColor(painter.frame(units, closed=random.uniform(0, 0.15), head=head), cv2.COLOR_RGB2GRAY)
    middle = painter.place(head, random.uniform(-0.05, 0.05), FACE_MIDDLE + random.uniform(-0.06, 0.06))
    half = 0.5 * FRAMING * FACE_SIDE * painter.scale / painter.over * random.uniform(0.94, 1.06)
    top, bottom, left, right = (round(value) for value in (middle[1] - half, middle[1] + half, middle[0] - half, middle[0] + half))
    return np.asarray(cv2.resize(picture[max(top, 0) : bottom, max(left, 0) : right], (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def _encode(image: NDArray[np.uint8]) -> bytes:
    import cv2

    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()
