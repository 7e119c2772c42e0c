"""Inference in ONNX Runtime: one session a model, on as many threads as asked for."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from vfer.errors import WeightsError


class Session:
    """A loaded ONNX model that maps one named input to its named outputs.

    It knows the names of its classes, those of the classes of an output `votes`, and all else that its `metadata` holds.

    Raises `WeightsError` where the file is missing or is no ONNX model.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class of their own
            raise WeightsError(f"{path}: is no ONNX model that can be loaded; run the stage that makes it again") from error
        self._input = self._session.get_inputs()[0].name
        self.outputs = [output.name for output in self._session.get_outputs()]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.classes: list[str] = json.loads(self.metadata.get("classes", "[]"))
        self.votes: list[str] = json.loads(self.metadata.get("votes", "[]"))

    def __call__(self, batch: NDArray[np.generic]) -> dict[str, NDArray[np.float32]]:
        """Runs one batch, as float32; returns each output under its name."""
        values = self._session.run(self.outputs, {self._input: np.ascontiguousarray(batch, dtype=np.float32)})
        return dict(zip(self.outputs, values, strict=True))
