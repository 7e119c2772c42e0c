"""What every method takes and returns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vfer.compare.methods.params import EncodingParams, NetParams
from vfer.lstm.params import LstmParams

Numbers = NDArray[np.int64]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class MethodClips:
    """n clips that show a face, frames without one left out.

    `labels`, int64 (n,), numbers the classes; a clip's `embeddings` are float32 (frames, d), their `times` float64 (frames,), in seconds,
    its `crops` uint8 (frames, 48, 48), and its `motion`, where the codec tells any, float32 (frames, 48, 48, 2), pixels of the crop since
    the frame before, right and down.
    """

    labels: Numbers
    embeddings: Sequence[Vectors]
    times: Sequence[NDArray[np.float64]] = field(default_factory=list)
    crops: Sequence[NDArray[np.uint8]] = field(default_factory=list)
    motion: Sequence[Vectors] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Task:
    """How to train: the number of classes, the seed, and the settings of the sequence models, of other nets and of the encodings."""

    classes: int
    seed: int
    lstm: LstmParams
    nets: NetParams
    encodings: EncodingParams


@dataclass(frozen=True)
class FittedMethod:
    """A trained method: `answer` maps n clips to probabilities, float32 (n, classes); `parameters` counts the numbers that it learned."""

    parameters: int
    answer: Callable[[MethodClips], Vectors]


Method = Callable[[MethodClips, MethodClips, Task], FittedMethod]
"""Makes one of the clips to train on and of those to validate on."""
