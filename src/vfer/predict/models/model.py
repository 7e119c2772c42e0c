"""Open a model for use: a registered version, a folder, or the network that comes with vfer."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from pydantic import ValidationError

from vfer.data.catalogue.manifest import SAMPLE
from vfer.errors import TrackingError, WeightsError
from vfer.faces import centerface, weights
from vfer.faces.weights import ChosenDetector
from vfer.predict.models import registry
from vfer.register.settings import Settings

log = logging.getLogger(__name__)

SHIPPED = "shipped"
SHIPPED_TITLE = "the network that comes with vfer, mean of its frames"


@dataclass(frozen=True)
class Model:
    """The files of a model, and its title.

    Without a sequence model (`lstm` is None) a clip's answer is the mean of the CNN's answers to its frames. A model on feature tables has
    neither a CNN nor a detector.
    """

    title: str
    cnn: Path | None
    lstm: Path | None
    detector: ChosenDetector | None
    settings: Settings
    run_id: str = ""

    @property
    def digest(self) -> str:
        """The hash of all that decides its answers."""
        parts = [path.read_bytes() for path in (self.cnn, self.lstm) if path] + [self.settings.model_dump_json(exclude_none=True).encode()]
        parts += [self.detector.sha256.encode()] if self.detector else []
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def find(reference: str | None = None, start: Path | None = None) -> Model:
    """Find a model's files, fetching them from a server where needed.

    Args:
        reference: `models:/NAME@ALIAS`, `models:/NAME/VERSION`, a model folder, or `shipped`. None: the champion of the MLflow store
            that `MLFLOW_TRACKING_URI` or the repository around `start` gives, or the network that comes with vfer where there is none.
        start: The folder in whose repository the store and the detector's weights are looked for; by default the current one.

    Raises:
        TrackingError: The store cannot be asked, or has no such model.
        WeightsError: The folder is not a model of vfer's, or is damaged.
    """
    start = (start or Path()).resolve()
    if reference == SHIPPED:
        return shipped(start)
    if reference is not None and not reference.startswith("models:"):
        return from_folder(Path(reference), reference)
    address = registry.store(start)
    if address is None and reference is None:
        return shipped(start)
    name = reference or f"models:/{registry.project_name(start)}@{registry.CHAMPION}"
    if address is None:
        raise TrackingError(f"{name}: there is no MLflow store here; set MLFLOW_TRACKING_URI, or run this in the repository")
    version = registry.find(name, address)
    if version is None and reference is None:
        return shipped(start)
    if version is None:
        raise TrackingError(f"{name}: {address} has no such model; look for one with `make ui`")
    return from_folder(registry.folder(version, address), str(version), version.run_id)


def shipped(start: Path) -> Model:
    """Return the network that comes with vfer, with the detector of the repository around `start`."""
    folder = Path(str(files("vfer.cnn"))) / "shipped"
    card = _json(folder / "card.json", "install vfer again")
    settings = Settings.model_validate(card.get("settings", {}))
    root = next((parent for parent in (start, *start.parents) if (parent / "dvc.yaml").is_file()), start)
    return Model(SHIPPED_TITLE, folder / "model.onnx", None, weights.choose(settings.faces, root / "weights"), settings)


def from_folder(folder: Path, title: str, run_id: str = "") -> Model:
    """Return the model in a folder that MLflow has written.

    Raises:
        WeightsError: If it is none of vfer's.
    """
    import yaml

    remedy = "give the folder that holds MLmodel"
    try:
        description = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))
        artifacts = description["flavors"]["python_function"]["artifacts"]
        paths = {name: folder / artifact["path"] for name, artifact in artifacts.items()}
        model = from_artifacts(paths, title, run_id or str(description.get("run_id") or ""))
    except (OSError, yaml.YAMLError) as error:
        raise WeightsError(f"{folder}: is not a model folder ({getattr(error, 'strerror', None) or 'damaged'}); {remedy}") from error
    except (KeyError, TypeError) as error:
        raise WeightsError(f"{folder}: holds no model of vfer's; {remedy}") from error
    if model.settings.sources == (SAMPLE,):
        log.warning(f"{title}: knows only the rendered faces of the embedded sample; for real faces, use --model {SHIPPED}")
    return model


def from_artifacts(paths: Mapping[str, Path], title: str, run_id: str) -> Model:
    """Return the model whose files are `cnn`, `lstm`, `settings`, and `detector` where it is not CenterFace; on tables, no `cnn`.

    Raises:
        KeyError: If one is not named, and `WeightsError` if the settings are damaged or of another version.
    """
    try:
        settings = Settings.model_validate(_json(paths["settings"], "register the model again"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WeightsError(f"{paths['settings']}: {where}: {first['msg'].lower()}; register the model again with this version") from error
    if settings.tables:
        return Model(title, None, paths["lstm"], None, settings, run_id)
    name, sha256 = settings.detector.name, settings.detector.sha256
    detector = ChosenDetector(
        name, paths["detector"] if name != centerface.CenterFace.name else centerface.path(), sha256, "the model was trained with it"
    )
    return Model(title, paths["cnn"], paths["lstm"], detector, settings, run_id)


def _json(path: Path, remedy: str) -> dict[str, object]:
    try:
        content: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
        return content
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: is missing or damaged; {remedy}") from error
