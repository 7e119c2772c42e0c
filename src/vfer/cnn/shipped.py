"""The network that comes with vfer, trained on FER2013: for who has clips and no stills. docs/model-card.md says what it is."""

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from vfer.artifacts import replacing
from vfer.digests import digest
from vfer.errors import WeightsError

FILES = ("model.keras", "model.onnx", "history.csv")
CARD = "card.json"


def install(out: Path) -> list[str]:
    """Copies the network and its training history into a folder, as a training leaves them; returns its classes.

    Raises `WeightsError` where a file is missing from the package or differs from its sha256 in the card.
    """
    with as_file(files("vfer.cnn") / "shipped") as folder:
        card = json.loads((folder / CARD).read_text())
        for name in FILES:
            source = folder / name
            if not source.is_file() or digest(source) != card["sha256"][name]:
                raise WeightsError(f"{source}: is missing or damaged; install vfer again")
            with replacing(out / name) as temporary:
                shutil.copyfile(source, temporary)
    return list(card["classes"])
