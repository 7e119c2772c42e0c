"""The movement of a face: action units, the looks they make, and the course of each expression through its looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Units = Mapping[str, float]

UNITS = (
    "inner_raise", "outer_raise", "brow_lower", "lid_raise", "lid_tight", "lid_droop", "nose_wrinkle",
    "lip_pull", "lip_depress", "lip_stretch", "upper_raise", "jaw_drop", "lip_press",
)  # fmt: skip
"""Action units, each from 0 (at rest) to 1; FACS numbers: 1 2 4 5 7 43 9 12 15 20 10 26 24."""

LOOKS: Mapping[str, Units] = MappingProxyType({
    "neutral": {},
    "calm": {"lid_droop": 1.0, "lip_pull": 0.5, "lip_press": 0.5},
    "happy": {"lip_pull": 1.0, "lid_tight": 0.6, "upper_raise": 0.45, "jaw_drop": 0.4},
    "sad": {"inner_raise": 1.0, "brow_lower": 0.3, "lid_droop": 0.3, "lip_depress": 1.0},
    "angry": {"brow_lower": 1.0, "lid_raise": 0.5, "lid_tight": 0.3, "lip_press": 1.0},
    "fear": {"inner_raise": 1.0, "outer_raise": 0.4, "brow_lower": 0.4, "lid_raise": 1.0, "lip_stretch": 1.0, "jaw_drop": 0.2},
    "disgust": {"nose_wrinkle": 1.0, "upper_raise": 1.0, "brow_lower": 0.5, "lid_tight": 0.9, "lip_depress": 0.35},
    "surprise": {"inner_raise": 1.0, "outer_raise": 1.0, "lid_raise": 0.8, "jaw_drop": 0.85},
})  # fmt: skip
"""The apex look of each expression."""

Key = tuple[float, str, float]

REST = "neutral", 0.0
SURPRISE: tuple[Key, ...] = ((0.10, *REST), (0.20, "surprise", 1.0), (0.32, "surprise", 1.0), (0.60, "fear", 0.9), (0.92, *REST))
ANGRY: tuple[Key, ...] = ((0.10, *REST), (0.20, "angry", 1.0), (0.42, "angry", 1.0), (0.62, "disgust", 1.0), (0.92, *REST))


def reverse(keys: tuple[Key, ...]) -> tuple[Key, ...]:
    """Return the same course, run backwards."""
    return tuple((1 - time, look, weight) for time, look, weight in reversed(keys))


COURSES: Mapping[str, tuple[Key, ...]] = MappingProxyType({
    "calm": ((0.12, *REST), (0.28, "calm", 1.0), (0.78, "calm", 1.0), (0.92, *REST)),
    "happy": ((0.10, *REST), (0.26, "happy", 1.0), (0.76, "happy", 0.95), (0.92, *REST)),
    "sad": ((0.10, *REST), (0.32, "sad", 1.0), (0.78, "sad", 1.0), (0.94, *REST)),
    "angry": ANGRY,
    "fear": reverse(SURPRISE),
    "disgust": reverse(ANGRY),
    "surprise": SURPRISE,
})  # fmt: skip
"""Keys (time from 0 to 1, look, weight) of each expression's onset, apex and offset.

`surprise` and `fear` pass through the same looks in opposite order, and so do `angry` and `disgust`:
no single frame tells the two of a pair apart, only their course does.
"""


@dataclass(frozen=True)
class Manner:
    """How one actor performs: strength of the looks, when the course sits in the clip, and how much of the clip it fills."""

    strength: float
    shift: float
    tempo: float
    habit: Units


def draw_manner(random: np.random.Generator) -> Manner:
    """Draw how one actor performs; `habit` is the look of the actor's face at rest."""
    units = random.choice(len(UNITS), 4, replace=False)
    return Manner(
        strength=random.uniform(0.55, 0.9),
        shift=random.uniform(-0.03, 0.03),
        tempo=random.uniform(0.90, 1.05),
        habit={UNITS[unit]: random.uniform(0.0, 0.25) for unit in sorted(units)},
    )


def perform(expression: str, times: NDArray[np.float64], manner: Manner, random: np.random.Generator) -> list[dict[str, float]]:
    """Return the action units at each time (0 to 1) of one performance of the expression.

    Every performance differs a little in strength and timing; the differences are drawn alike for all expressions.
    """
    keys = COURSES[expression]
    shift, tempo = manner.shift + random.uniform(-0.02, 0.02), manner.tempo * random.uniform(0.96, 1.04)
    strength = manner.strength * random.uniform(0.75, 1.0)
    when = np.clip((times - 0.5 - shift) / tempo + 0.5, 0.0, 1.0)
    tracks = {unit: [weight * strength * LOOKS[look].get(unit, 0.0) for _, look, weight in keys] for unit in UNITS}
    curves = {unit: _ease(when, [time for time, _, _ in keys], track) for unit, track in tracks.items()}
    return [{unit: float(min(1.0, curves[unit][i] + manner.habit.get(unit, 0.0))) for unit in UNITS} for i in range(len(times))]


def blinks(times: NDArray[np.float64], seconds: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Return how far the lids are closed by blinking (0 to 1) at each time; one blink in about three seconds, 0.2 s long."""
    count = int(random.poisson(0.3 * seconds))
    starts = random.uniform(0.0, seconds, count)
    closed = [np.clip(1.6 * (1 - np.abs(times * seconds - start) / 0.12), 0.0, 1.0) for start in starts]
    return np.asarray(np.max([np.zeros(len(times)), *closed], axis=0))


def sway(times: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return a slow, smooth drift, mostly within -1 to 1, at each time."""
    phases, speeds = random.uniform(0, 2 * np.pi, 2), random.uniform(0.3, 1.1, 2)
    return np.asarray(0.65 * np.sin(2 * np.pi * speeds[0] * times + phases[0]) + 0.35 * np.sin(2 * np.pi * speeds[1] * times + phases[1]))


def _ease(when: NDArray[np.float64], times: list[float], values: list[float]) -> NDArray[np.float64]:
    place = np.interp(when, times, np.arange(len(times)))
    index = np.minimum(place.astype(int), len(times) - 2)
    part = place - index
    track = np.asarray(values)
    return np.asarray(track[index] + (track[index + 1] - track[index]) * part * part * (3 - 2 * part))
