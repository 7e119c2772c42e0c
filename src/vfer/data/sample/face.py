"""Draw one head from an identity and its action units."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from vfer.data.sample.canvas import Canvas, Floats
from vfer.data.sample.course import UNITS, Units
from vfer.data.sample.identity import Colour, Identity, Scene, tint

Points = NDArray[np.float64]
ACROSS = np.linspace(-1, 1, 17)
ARCH = 1 - ACROSS**2
DARK: Colour = (44, 22, 22)


def draw_head(who: Identity, scene: Scene, units: Units, *, closed: float, scale: float, yaw: float, pitch: float) -> tuple[Floats, Floats]:
    """Draw a head; `closed` (0 to 1) is how far a blink has shut the eyes, `scale` is pixels per face unit.

    Returns colours times cover (float32 RGB) and cover (float32, 0 to 1), both of `Canvas`'s extent.
    """
    act = {**dict.fromkeys(UNITS, 0.0), **units}
    canvas = Canvas(scale, yaw, pitch)
    _hair_behind(canvas, who)
    outline = _skin(canvas, who, scene, act)
    _relief(canvas, who, scene, act)
    _mouth(canvas, who, act)
    _nose(canvas, who, act)
    for side in (-1, 1):
        _eye(canvas, who, act, side, closed)
        _brow(canvas, who, act, side)
    _folds(canvas, who, act)
    _fringe(canvas, who, outline)
    return canvas.finish()


def _hair_behind(canvas: Canvas, who: Identity) -> None:
    width, top = who.width + who.hair_volume, 1.02 + who.hair_volume
    crown = np.sqrt((canvas.x / width) ** 2 + ((canvas.y + 0.15) / top) ** 2) - 1
    sides, ends = np.abs(canvas.x) - width + 0.12 * np.maximum(canvas.y, 0), np.maximum(canvas.y - who.hair_length, -0.2 - canvas.y)
    shape = np.minimum(np.where(canvas.y < 0.1, crown * width, 1), np.maximum(sides, ends + 0.4 * canvas.x**2 - 0.2))
    canvas.paint(canvas.edge(shape.astype(np.float32)), _strands(who, canvas.cover.shape))


@lru_cache(maxsize=2)
def _strands(who: Identity, shape: tuple[int, int]) -> Floats:
    import cv2

    noise = np.random.default_rng(who.texture).uniform(0.7, 1.25, (6, 40)).astype(np.float32)
    return np.asarray(cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_LINEAR)[..., None] * np.asarray(who.hair, np.float32))


@lru_cache(maxsize=2)
def _blotches(who: Identity, shape: tuple[int, int]) -> Floats:
    import cv2

    noise = np.random.default_rng(who.texture).normal(1, 0.035, (14, 11)).astype(np.float32)
    return np.asarray(cv2.resize(noise, shape[::-1], interpolation=cv2.INTER_CUBIC))


def _skin(canvas: Canvas, who: Identity, scene: Scene, act: Units) -> Floats:
    below = 1.0 + 0.17 * act["jaw_drop"]
    down = np.where(canvas.y > 0, canvas.y / below, canvas.y / 1.12)
    width = who.width * (1 - who.taper * np.clip(down, 0, 1) ** 2)
    across = canvas.x / width
    radius = (np.abs(across) ** 2.3 + np.abs(down) ** 2.3) ** (1 / 2.3)
    outline = canvas.edge(((radius - 1) * who.width).astype(np.float32))
    ears = np.sqrt(((np.abs(canvas.x) - who.width) / 0.1) ** 2 + (canvas.y / 0.2) ** 2) - 1
    if who.hair_length < 0.2:
        canvas.paint(canvas.edge((ears * 0.1).astype(np.float32)), tint(who.skin, 0.85))
    canvas.paint(outline, who.skin)
    depth = np.sqrt(np.maximum(1 - across**2 - down**2, 0))
    x, y, z = scene.light
    light = scene.ambient + (1.02 - scene.ambient) * np.maximum(across * x + down * y + depth * z, 0)
    inside = (outline * (radius < 1.05)).astype(np.float32)
    canvas.shade = 1 + inside * (light * _blotches(who, canvas.cover.shape) - 1)
    return outline


def _relief(canvas: Canvas, who: Identity, scene: Scene, act: Units) -> None:
    side = float(np.sign(scene.light[0]) or 1.0)
    for eye in (-who.eye_gap, who.eye_gap):
        canvas.glow(eye * 0.95, -0.06, 0.17, 0.11, -0.22)
        canvas.glow(eye * 1.15, 0.26 - 0.05 * act["lip_pull"], 0.15, 0.10, 0.07 + 0.13 * act["lip_pull"])
    canvas.glow(0, -0.5, 0.35, 0.16, 0.06)
    canvas.glow(side * 0.03, 0.10, 0.045, 0.20, 0.13)
    canvas.glow(-side * who.nose_width * 0.75, 0.12, 0.05, 0.17, -0.15)
    canvas.glow(0, who.nose_length - 0.04, 0.06, 0.05, 0.14)
    canvas.glow(0, who.nose_length + 0.075, who.nose_width, 0.035, -0.22)
    canvas.glow(0, who.mouth_height + 0.19 + 0.2 * act["jaw_drop"], 0.17, 0.045, -0.16 - 0.1 * act["lip_depress"])
    canvas.glow(0, who.mouth_height + 0.29 + 0.2 * act["jaw_drop"], 0.15, 0.06, 0.07)
    canvas.glow(0, 0.72, 0.5, 0.28, -who.stubble)
    canvas.glow(0, who.nose_length + 0.14, 0.2, 0.05, -who.stubble)


def _mouth(canvas: Canvas, who: Identity, act: Units) -> None:
    lip = tint(who.skin, 0.80, 0.56, 0.56)
    half, corner, top, bottom = _opening(who, act)
    thin = 1 - 0.75 * act["lip_press"]
    upper, lower = 0.055 * who.lip_weight * thin, 0.075 * who.lip_weight * thin
    bow = 1 - 0.25 * np.exp(-((ACROSS / 0.16) ** 2))
    round_ = ARCH ** (1 - 0.5 * act["jaw_drop"])
    high, low = corner + (top - corner) * round_, corner + (bottom - corner) * round_
    xs = ACROSS * half
    canvas.fill(_ring(xs, high - upper * ARCH**0.7 * bow, low + lower * ARCH**0.7), lip)
    gap = bottom - top
    if gap > 0.02:
        canvas.fill(_ring(xs * 0.93, high, low), DARK)
        teeth = min(0.45 * gap, 0.075)
        teeth_line = np.minimum(high + teeth * ARCH**0.4, low)
        canvas.fill(_ring(xs * 0.82, high, teeth_line), (222, 214, 204))
    canvas.stroke(np.stack([xs, high], axis=1), tint(lip, 0.45), 0.022)


def _opening(who: Identity, act: Units) -> tuple[float, float, float, float]:
    """Return half the mouth's width, and the heights of its corners and of the upper and lower edge of its opening."""
    half = who.mouth_width * (1 + 0.30 * act["lip_pull"] + 0.28 * act["lip_stretch"] - 0.26 * act["jaw_drop"] * (1 - act["lip_pull"]))
    corner = who.mouth_height - 0.13 * act["lip_pull"] + 0.12 * act["lip_depress"] + 0.05 * act["jaw_drop"] + 0.05 * act["lip_stretch"]
    top = who.mouth_height - 0.11 * act["upper_raise"] - 0.03 * act["lip_depress"] - 0.01 * act["lip_pull"] - 0.03 * act["jaw_drop"]
    gap = 0.30 * act["jaw_drop"] + 0.10 * act["upper_raise"] + 0.11 * act["lip_stretch"] + 0.05 * act["lip_pull"]
    return half, corner, top, top + gap * (1 - act["lip_press"])


def _nose(canvas: Canvas, who: Identity, act: Units) -> None:
    tip = who.nose_length - 0.06 * act["nose_wrinkle"]
    spread = who.nose_width * (1 + 0.2 * act["nose_wrinkle"])
    for side in (-1, 1):
        canvas.fill(_ellipse(side * 0.52 * spread, tip + 0.045, 0.042, 0.02), tint(who.skin, 0.38))
        canvas.fold([(side * spread, tip - 0.04), (side * spread * 1.12, tip + 0.02), (side * spread * 0.85, tip + 0.05)], 0.35)


def _eye(canvas: Canvas, who: Identity, act: Units, side: int, closed: float) -> None:
    x, size = side * who.eye_gap, who.eye_size
    open_ = (1 - closed) * (1 - 0.78 * act["lid_droop"])
    high = size * (0.46 + 0.30 * act["lid_raise"] - 0.10 * act["lid_tight"] - 0.12 * act["brow_lower"]) * open_
    low = size * (0.34 + 0.05 * act["lid_raise"] - 0.26 * act["lid_tight"] - 0.06 * act["lip_pull"]) * (1 - 0.8 * closed)
    upper = size * 0.25 * closed - high * ARCH**0.8
    lower = np.maximum(size * 0.25 * closed + low * ARCH**0.9, upper)
    xs = x + ACROSS * size
    near = canvas.window(x + canvas.yaw, canvas.pitch, 1.3 * size, size)
    canvas.inset(canvas.mask(_ring(xs, upper, lower)), _eyeball(canvas, who, x, near), near)
    canvas.stroke(np.stack([xs, upper], axis=1), tint(who.skin, 0.22), 0.032)
    canvas.stroke(np.stack([xs, lower], axis=1), tint(who.skin, 0.55), 0.012)
    lid = [(x + 0.95 * size * t, -(0.05 + 0.5 * size + 0.5 * high) * (1 - 0.5 * t * t)) for t in (-1, -0.5, 0, 0.5, 1)]
    canvas.fold(lid, 0.3 - 0.15 * act["lid_raise"], 0.02)
    canvas.fold([(x - 0.8 * size, 0.11), (x, 0.14), (x + 0.8 * size, 0.11)], 0.12 + 0.35 * act["lid_tight"], 0.025)


def _eyeball(canvas: Canvas, who: Identity, x: float, near: tuple[slice, slice]) -> NDArray[np.uint8]:
    size = who.eye_size
    ball = np.zeros_like(canvas.albedo)
    ball[near] = (232, 228, 222)
    for radius, colour in ((0.50 * size, who.iris), (0.24 * size, (14, 12, 12))):
        canvas.fill(_ellipse(x, -0.02 * size, radius, radius), colour, image=ball)
    canvas.fill(_ellipse(x - 0.15 * size, -0.2 * size, 0.1 * size, 0.1 * size), (250, 250, 250), image=ball)
    return ball


def _brow(canvas: Canvas, who: Identity, act: Units, side: int) -> None:
    inner, middle, outer = _brow_heights(who, act)
    start = 0.13 - 0.05 * act["brow_lower"]
    t = np.linspace(0, 1, 9)
    xs = side * (start + t * (who.eye_gap * 1.62 - start))
    ys = inner * (1 - t) * (1 - 2 * t) + middle * 4 * t * (1 - t) + outer * t * (2 * t - 1)
    half = 0.5 * who.brow_weight * (1.0 - 0.55 * t) * np.minimum(1, 0.55 + 3 * t)
    colour = min(tint(who.hair, 0.75), tint(who.skin, 0.45), key=sum)
    canvas.fill(_ring(xs, ys - half, ys + half), colour)


def _brow_heights(who: Identity, act: Units) -> tuple[float, float, float]:
    raised, lowered = act["inner_raise"], act["brow_lower"]
    inner = -who.brow_height - 0.15 * raised + 0.13 * lowered * (1 - 0.6 * raised)
    middle = -who.brow_height - 0.05 - 0.06 * raised - 0.13 * act["outer_raise"] + 0.07 * lowered
    outer = -who.brow_height + 0.02 - 0.13 * act["outer_raise"] + 0.06 * raised * (1 - act["outer_raise"])
    return inner, middle, outer


def _folds(canvas: Canvas, who: Identity, act: Units) -> None:
    half, corner, _, _ = _opening(who, act)
    cheek = max(act["lip_pull"], 0.9 * act["upper_raise"], 0.8 * act["nose_wrinkle"], 0.5 * act["lip_stretch"])
    for side in (-1, 1):
        start = (side * (who.nose_width + 0.03), who.nose_length - 0.02)
        bend = (side * (half + 0.02 + 0.05 * cheek), 0.5 * (who.nose_length + corner))
        canvas.fold([start, bend, (side * (half + 0.06), corner + 0.02)], 0.10 + 0.42 * cheek)
        canvas.fold([(side * half, corner), (side * (half + 0.03), corner + 0.12)], 0.5 * act["lip_depress"])
        canvas.fold([(side * 0.05, -0.38), (side * 0.04, -0.22)], 0.55 * act["brow_lower"] * (1 - 0.6 * act["inner_raise"]))
        canvas.fold([(side * 0.14, -0.08), (side * 0.05, -0.02)], 0.55 * act["nose_wrinkle"])
        canvas.fold([(side * 0.15, 0.0), (side * 0.06, 0.06)], 0.55 * act["nose_wrinkle"])
    for height in (-0.52, -0.61):
        rise = 0.05 * act["outer_raise"]
        arc = [(-0.4, height + rise), (-0.15, height), (0.15, height), (0.4, height + rise)]
        canvas.fold(arc, 0.22 * act["inner_raise"] + 0.2 * act["outer_raise"])


def _fringe(canvas: Canvas, who: Identity, outline: Floats) -> None:
    line = who.hairline + 0.85 * np.abs(canvas.x / who.width) ** 4
    cover = canvas.edge((canvas.y - line) * np.float32(0.6)) * outline * canvas.edge(canvas.y - np.float32(0.05))
    canvas.paint(cover.astype(np.float32), _strands(who, canvas.cover.shape))


def _ellipse(x: float, y: float, width: float, height: float) -> Points:
    turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    return np.stack([x + width * np.cos(turn), y + height * np.sin(turn)], axis=1)


def _ring(xs: Points, upper: Points, lower: Points) -> Points:
    """Return the polygon between two curves over the same columns."""
    return np.concatenate([np.stack([xs, upper], axis=1), np.stack([xs, lower], axis=1)[::-1]])
