"""The random traits of a face and of the picture around it."""

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

SKINS: tuple[Colour, ...] = ((232, 192, 166), (226, 182, 152), (208, 160, 126), (184, 134, 100), (156, 108, 80), (132, 92, 70))
HAIRS: tuple[Colour, ...] = ((32, 26, 24), (62, 42, 30), (98, 66, 40), (74, 68, 66), (120, 58, 34), (150, 110, 66))
IRISES: tuple[Colour, ...] = ((70, 44, 28), (92, 66, 40), (70, 92, 110), (74, 96, 70))


@dataclass(frozen=True)
class Identity:
    """Traits of one face; lengths in face units (the distance from the eyes' line to the chin is about 1), colours in RGB."""

    skin: Colour
    hair: Colour
    iris: Colour
    width: float
    taper: float
    eye_gap: float
    eye_size: float
    brow_height: float
    brow_weight: float
    nose_width: float
    nose_length: float
    mouth_height: float
    mouth_width: float
    lip_weight: float
    hairline: float
    hair_volume: float
    hair_length: float
    stubble: float
    texture: int


@dataclass(frozen=True)
class Scene:
    """The picture around a face: light (a direction towards it), background, clothes, and the seed of the sensor's grain."""

    light: tuple[float, float, float]
    ambient: float
    top: Colour
    bottom: Colour
    clothes: Colour
    grain: int


def draw_identity(random: np.random.Generator) -> Identity:
    """Draw the traits of one face."""
    uniform = random.uniform
    tone = int(random.integers(len(SKINS)))
    return Identity(
        skin=_vary(SKINS[tone], random, 6),
        hair=_vary(HAIRS[random.integers(len(HAIRS) - tone)], random, 8),
        iris=IRISES[random.integers(len(IRISES))],
        width=uniform(0.71, 0.78),
        taper=uniform(0.18, 0.30),
        eye_gap=uniform(0.325, 0.36),
        eye_size=uniform(0.16, 0.185),
        brow_height=uniform(0.265, 0.295),
        brow_weight=uniform(0.05, 0.08),
        nose_width=uniform(0.12, 0.17),
        nose_length=uniform(0.26, 0.31),
        mouth_height=uniform(0.545, 0.58),
        mouth_width=uniform(0.265, 0.30),
        lip_weight=uniform(0.8, 1.15),
        hairline=uniform(-0.78, -0.62),
        hair_volume=uniform(0.05, 0.20),
        hair_length=float(random.choice([-0.1, 0.1, 0.5, 0.9])),
        stubble=float(random.choice([0.0, 0.0, 0.12, 0.2])),
        texture=int(random.integers(2**31)),
    )


def draw_scene(random: np.random.Generator) -> Scene:
    """Draw light, background and clothes."""
    side, height = random.uniform(-0.4, 0.4), random.uniform(-0.55, -0.1)
    length = float(np.sqrt(side**2 + height**2 + 0.8))
    grey = random.uniform(95, 215)
    return Scene(
        light=(side / length, height / length, float(np.sqrt(0.8)) / length),
        ambient=random.uniform(0.45, 0.58),
        top=_vary((grey, grey, grey), random, 14),
        bottom=_vary((grey * 0.8, grey * 0.8, grey * 0.8), random, 14),
        clothes=_vary((80, 80, 90), random, 60),
        grain=int(random.integers(2**31)),
    )


def tint(colour: Colour, *factors: float) -> Colour:
    """Return the colour times a factor, or times one factor a channel."""
    red, green, blue = (value * factor for value, factor in zip(colour, factors * 3 if len(factors) == 1 else factors, strict=True))
    return red, green, blue


def _vary(colour: Colour, random: np.random.Generator, spread: float) -> Colour:
    red, green, blue = (float(np.clip(value + random.uniform(-spread, spread), 0, 255)) for value in colour)
    return red, green, blue
