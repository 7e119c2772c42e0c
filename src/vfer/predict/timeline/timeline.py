"""The timeline of a video: its frames with their predictions, the segments, the people, and its provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfer.predict.timeline.observe import Observation
from vfer.predict.timeline.people import Person, PersonEntry
from vfer.predict.timeline.segments import Segment
from vfer.predict.timeline.spool import Spool
from vfer.video.decode import Video

SCHEMA = 1
"""Version of the tables; docs/schema.md describes them."""
NOTICE = (
    "A recognised expression is not an emotion, and no basis for decisions about people. In the EU, emotion recognition at work and in "
    "education is prohibited (AI Act, Article 5), people must be informed of it elsewhere (Article 50), and biometric data that identify "
    "a person are a special category of personal data (GDPR, Article 9)."
)


@dataclass(frozen=True)
class TimelineRow:
    """One sampled frame and one person in it; `person` is None in a frame without anybody.

    `box` is float32 (4,) in pixels of the upright source; `raw` and `smooth` are probabilities, float32 (classes,), and `best` is the
    most probable class of the latter. All are None if the person is not seen. `plain` holds both without the person's baseline,
    where one was used.
    """

    frame: int
    time: float
    shot: int
    person: str | None = None
    track: int | None = None
    status: str = "none"
    box: NDArray[np.float32] | None = None
    raw: NDArray[np.float32] | None = None
    smooth: NDArray[np.float32] | None = None
    best: int | None = None
    flags: tuple[str, ...] = ()
    plain: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None


@dataclass
class Timeline:
    """What a video shows.

    `rows` may be read as often as needed. `faces` are all that were seen, also those of people who are ignored or of tracks that are
    taken for false alarms; `owner` names the person of a track. `shots` are the times at which shots begin. `about` says how the video
    is shown, `seconds` up to where it was looked at, and `decoded` how many frames that were. `unseen` are those of the list of people
    who were not found, and `with_baseline` names the people whose answers are relative to a baseline of their own. `provenance` says
    what the timeline was made from and with.
    """

    video: Path
    about: Video
    classes: list[str]
    rows: Spool[TimelineRow]
    faces: Spool[Observation]
    owner: Mapping[int, str]
    shots: Sequence[float]
    people: Sequence[Person]
    unseen: Sequence[PersonEntry]
    with_baseline: Sequence[str]
    segments: Sequence[Segment]
    seconds: float
    decoded: int
    provenance: dict[str, Any]
