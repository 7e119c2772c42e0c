"""Renders films of several people with known truth: who is where, what each shows and how strongly, and where the cuts are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vfer.data.sample.canvas import LEFT, TOP
from vfer.data.sample.course import COURSES, blinks, draw_manner, perform, sway
from vfer.data.sample.face import draw_head
from vfer.data.sample.identity import Identity, Scene, draw_identity, draw_scene
from vfer.data.sample.render import lay
from vfer.data.sample.video import Writer

FACE = (-0.72, -0.80, 0.72, 1.08)
"""A face's box in face units, about as detectors draw it: left, top, right, bottom."""


@dataclass(frozen=True)
class Act:
    """One performance in a film: from when on, for how many seconds, and of which expression."""

    start: float
    seconds: float
    expression: str


@dataclass(frozen=True)
class Role:
    """One person in one shot: who it is, the path of the face's middle, (frames, 2) in pixels, its unit in pixels, and the acts."""

    actor: int
    path: NDArray[np.float64]
    unit: float
    acts: Sequence[Act]


@dataclass(frozen=True)
class Truth:
    """One person in one frame: the box (4,), the expression (none at rest), and how strong it is, from 0 to 1."""

    frame: int
    time: float
    shot: int
    actor: int
    box: tuple[float, float, float, float]
    expression: str
    strength: float


@dataclass(frozen=True)
class Film:
    """A film to be rendered: its size, its frames a second, and the roles of each shot."""

    size: tuple[int, int]
    fps: int
    shots: Sequence[Sequence[Role]]
    seed: int

    def render(self, path: Path) -> list[Truth]:
        """Write the film, and return the truth of every frame."""
        truth: list[Truth] = []
        frame = 0
        with Writer(path, self.size, self.fps, crf=23, sound=True) as writer:
            for shot, roles in enumerate(self.shots):
                for picture, faces in self._shot(shot, roles, frame):
                    writer.add(picture)
                    truth += faces
                    frame += 1
        return truth

    def _shot(self, shot: int, roles: Sequence[Role], first: int) -> Iterator[tuple[NDArray[np.uint8], list[Truth]]]:
        random = np.random.default_rng([self.seed, shot])
        back, scene = self._back(random), draw_scene(random)
        players = [_Player(role, scene, self.fps, np.random.default_rng([self.seed, shot, role.actor])) for role in roles]
        for number in range(len(roles[0].path)):
            picture = back.copy()
            nearest_last = sorted(players, key=lambda one: one.role.unit)
            faces = [player.draw(picture, number, shot, first + number) for player in nearest_last]
            picture += random.normal(0.5, 1.5, picture.shape[:2]).astype(np.float32)[..., None]
            yield np.clip(picture, 0, 255).astype(np.uint8), faces

    def _back(self, random: np.random.Generator) -> NDArray[np.float32]:
        import cv2

        width, height = self.size
        coarse = random.uniform(40, 200, (1, 1, 3)) + random.normal(0, 18, (6, 10, 3))
        fine = cv2.resize(coarse.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            left, top = random.uniform(0, width), random.uniform(0, height)
            corner, other = (int(left), int(top)), (int(left + random.uniform(20, 120)), int(top + random.uniform(20, 160)))
            cv2.rectangle(fine, corner, other, random.uniform(20, 230, 3).tolist(), -1)
        return np.ascontiguousarray(fine, np.float32)


class _Player:
    """One role as it is drawn, frame by frame."""

    def __init__(self, role: Role, scene: Scene, fps: int, random: np.random.Generator) -> None:
        actor = np.random.default_rng([7, role.actor])
        self.role, self.scene, self.fps = role, scene, fps
        self.who: Identity = draw_identity(actor)
        self.manner = draw_manner(actor)
        count = len(role.path)
        times = np.arange(count) / fps
        self.closed = blinks((np.arange(count) + 0.5) / count, count / fps, random)
        self.turn = np.stack([sway(times, random) for _ in range(3)], axis=1) * (0.04, 0.05, 0.03)
        self.units = [dict(self.manner.habit) for _ in range(count)]
        self.labels, self.strength = ["none"] * count, np.zeros(count)
        for act in role.acts:
            self._play(act, random)

    def _play(self, act: Act, random: np.random.Generator) -> None:
        first, count = round(act.start * self.fps), round(act.seconds * self.fps)
        part = (np.arange(count) + 0.5) / count
        strengths = np.interp(part, [key[0] for key in COURSES[act.expression]], [key[2] for key in COURSES[act.expression]])
        for number, units in enumerate(perform(act.expression, part, self.manner, random)):
            if first + number < len(self.units):
                self.units[first + number] = units
                self.strength[first + number] = strengths[number]
                if strengths[number] > 0:
                    self.labels[first + number] = act.expression

    def draw(self, picture: NDArray[np.float32], number: int, shot: int, frame: int) -> Truth:
        roll, yaw, pitch = self.turn[number]
        x, y = self.role.path[number]
        over = 2.0 if self.role.unit < 60 else 1.0
        scale = self.role.unit * over
        colours, cover = draw_head(
            self.who, self.scene, self.units[number], closed=float(self.closed[number]), scale=scale, yaw=yaw, pitch=pitch
        )
        cos, sin = np.cos(roll) / over, np.sin(roll) / over
        turn = np.array([[cos, -sin], [sin, cos]])
        middle = np.array([x, y]) + turn @ np.array([LEFT, TOP]) * scale
        height, width = picture.shape[:2]
        reach = 2 * self.role.unit
        if -reach < x < width + reach and -reach < y < height + reach:
            lay(colours, cover, picture, np.hstack([turn, middle[:, None]]))
        box = tuple(float(place + side * self.role.unit) for place, side in zip((x, y, x, y), FACE, strict=True))
        return Truth(frame, frame / self.fps, shot, self.role.actor, box, self.labels[number], float(self.strength[number]))  # type: ignore[arg-type]


def walk(
    random: np.random.Generator, frames: int, fps: int, size: tuple[int, int], unit: float, home: float, liveliness: float
) -> NDArray[np.float64]:
    """Return the path of a face that sways around a place, (frames, 2).

    Args:
        random: Draws the path.
        frames: Its length.
        fps: Frames a second.
        size: Width and height of the picture.
        unit: Pixels of a face unit.
        home: Where it is at home, as a share of the width.
        liveliness: How many face units it moves about.
    """
    times = np.arange(frames) / fps
    speed = 0.35 + 0.25 * min(liveliness, 3)
    across, down = sway(times * speed, random), sway(times * speed, random)
    x = home * size[0] + liveliness * unit * across
    y = 0.52 * size[1] + 0.3 * liveliness * unit * down
    return np.stack([x, y], axis=1)


def drama(random: np.random.Generator, seconds: float, length: float, expressions: Sequence[str]) -> list[Act]:
    """Return acts of about `length` seconds, with rests between, that fill a shot."""
    acts, at = [], random.uniform(0.2, 1.0)
    while at + length * 1.1 < seconds:
        took = length * random.uniform(0.9, 1.1)
        acts.append(Act(at, took, str(random.choice(list(expressions)))))
        at += took + random.uniform(0.3, 2.0)
    return acts
