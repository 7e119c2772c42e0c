"""What a CNN says of stills: of each alone, and on average over it and its mirror image."""

from dataclasses import replace

import numpy as np

from vfer.cnn import predictions
from vfer.cnn.data import Part
from vfer.cnn.predictions import Predictions
from vfer.nets.session import Session


def answers(session: Session, usage: str, part: Part) -> dict[str, Predictions]:
    """Returns the answers `plain` and `flip_average` to the stills of a usage, one at least."""
    plain, flipped = (
        predictions.predict(session, usage, seen, session.classes) for seen in (part, replace(part, pixels=part.pixels[:, :, ::-1]))
    )
    mean = np.asarray((plain.probabilities + flipped.probabilities) / 2, np.float32)
    return {"plain": plain, "flip_average": replace(plain, probabilities=mean)}
