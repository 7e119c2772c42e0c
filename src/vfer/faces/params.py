"""The `faces` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field

from vfer.params import Params

Policy = Literal["largest", "central", "constant"]
Choice = Literal["auto", "scrfd", "centerface"]


class FacesParams(Params):
    """How a face is found, followed and cut out.

    `score` is the least confidence of a detection; `det_size` (pixels, a multiple of 32) is the longer side to which a
    picture is shrunk for the detector. Of `detect_every` frames the detector sees one, and more where a face between them is in
    doubt; at 1 it sees all. `follow` says which face of a clip counts. The square crop's side is `1 + margin`
    times the box's larger side; at 0 the face is framed as in FER2013. A gap of at most `max_gap` seconds between two
    sights of a face is interpolated. The stage fails where more than the share `max_faceless` of the clips shows no face.
    """

    detector: Choice = "auto"
    score: Annotated[float, Field(gt=0, lt=1)] = 0.5
    det_size: Annotated[int, Field(ge=32, le=2048, multiple_of=32)] = 320
    detect_every: Annotated[int, Field(ge=1, le=60)] = 5
    follow: Policy = "largest"
    margin: Annotated[float, Field(ge=-0.5, le=2)] = -0.2
    max_gap: Annotated[float, Field(ge=0, le=10)] = 0.5
    max_faceless: Annotated[float, Field(ge=0, le=1)] = 0.2
