"""The network that comes with vfer, trained on FER2013, for users who have clips but no stills; see docs/model-card.md."""

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from vfer.clips.digests import digest
from vfer.errors import WeightsError
from vfer.files import replacing

FILES = ("model.keras", "model.onnx", "history.csv")
CARD = "card.json"


def install(out: Path) -> list[str]:
    """Copy the network and its training history into a folder, as a training leaves them; return its classes.

    Raises `WeightsError`, and copies nothing, where a file is missing from the package or differs from its sha256 in the card.
    """
    with as_file(files("vfer.cnn") / "shipped") as folder:
        card = _read(folder / CARD)
        for name in FILES:
            if not (folder / name).is_file() or digest(folder / name) != card["sha256"][name]:
                raise WeightsError(f"{folder / name}: is missing or damaged; install vfer again")
        for name in FILES:
            with replacing(out / name) as temporary:
                shutil.copyfile(folder / name, temporary)
    return [str(name) for name in card["classes"]]


def _read(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        return {"classes": list(card["classes"]), "sha256": {name: card["sha256"][name] for name in FILES}}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise WeightsError(f"{path}: is missing or damaged; install vfer again") from error
