"""Inference in ONNX Runtime: one session per model, on a given number of threads."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vfer.errors import WeightsError


class Network(Protocol):
    """What maps named inputs to named outputs, and knows its classes and other `metadata`: a `Session`, or a Keras model like it."""

    inputs: list[str]
    classes: list[str]
    metadata: dict[str, str]

    def __call__(self, batch: Mapping[str, NDArray[np.float32]], /) -> Mapping[str, NDArray[np.float32]]:
        """Run one batch."""
        ...


class Session:
    """A loaded ONNX model that maps named inputs to named outputs.

    It knows the names of its classes, those of the classes of an output `votes`, and all else that its `metadata` holds.

    Raises `WeightsError` if the file is missing or is not an ONNX model.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise WeightsError(f"{path}: is not a valid ONNX model; run the stage that makes it again") from error
        self.inputs = [value.name for value in self._session.get_inputs()]
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.classes: list[str] = json.loads(self.metadata.get("classes", "[]"))
        self.votes: list[str] = json.loads(self.metadata.get("votes", "[]"))

    def __call__(self, batch: NDArray[np.generic] | Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.float32]]:
        """Run one batch, as float32: an array for the first input, or one for each by name; return each output under its name."""
        inputs = batch if isinstance(batch, Mapping) else {self.inputs[0]: batch}
        values = self._session.run(self.outputs, {name: np.ascontiguousarray(inputs[name], dtype=np.float32) for name in self.inputs})
        return dict(zip(self.outputs, values, strict=True))
