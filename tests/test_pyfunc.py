"""The registered model `vfer` as MLflow runs it: as the recogniser on a clip, in bounded memory on a film, with the clips' framing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import toys

from benchmarks.clips import repeat
from vfer.data.catalogue.manifest import Framing
from vfer.faces import centerface
from vfer.predict.models import model as models
from vfer.predict.recogniser import Recogniser
from vfer.register.settings import DetectorFile, Settings

PREDICT = """
import json, resource, sys, types
from vfer.predict.models.pyfunc import VferModel
model = VferModel()
model.load_context(types.SimpleNamespace(artifacts=json.loads(sys.argv[1])))
for path in sys.argv[2:]:
    [answer] = model.predict([path])
    print(json.dumps([answer.model_dump(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
"""


def artifacts(folder: Path, framing: Framing) -> dict[str, str]:
    (folder / "settings.json").write_text(Settings(framing=framing, detector=DetectorFile(sha256=centerface.SHA256)).model_dump_json())
    files = {"cnn": toys.cnn(folder / "cnn.onnx"), "lstm": toys.good_lstm(folder / "lstm.onnx"), "settings": folder / "settings.json"}
    return {name: str(path) for name, path in files.items()}


def answers(files: dict[str, str], *videos: Path) -> list[tuple[dict[str, Any], float]]:
    """The answers of the registered model in a new process, each with the most MB that it has taken until then."""
    command = [sys.executable, "-W", "ignore", "-c", PREDICT, json.dumps(files), *map(str, videos)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr
    return [tuple(json.loads(line)) for line in process.stdout.splitlines() if line.startswith("[")]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toys.render(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=4)


@pytest.mark.parametrize("framing", ["scene", "face"])
def test_a_clip_is_answered_as_by_the_recogniser_to_the_last_bit(framing: Framing, clip: Path, tmp_path: Path) -> None:
    files = artifacts(tmp_path, framing)
    [(answer, _)] = answers(files, clip)
    same = Recogniser.open(models.from_artifacts({name: Path(path) for name, path in files.items()}, "m", "")).predict(clip)
    assert (answer["expression"], answer["probabilities"]) == (same.expression, same.probabilities)
    assert (answer["segments"], answer["error"]) == ([], None)
    assert ({moment["status"] for moment in answer["timeline"]} == {"given"}) == (framing == "face")


def test_a_long_film_is_answered_in_the_memory_of_a_short_one(clip: Path, tmp_path: Path) -> None:
    minute, ten = (repeat(clip, tmp_path / f"{times}.mp4", times) for times in (15, 150))
    (short, before), (long, after) = answers(artifacts(tmp_path, "face"), minute, ten)
    for film, seconds in ((short, 60), (long, 600)):
        assert (film["error"], film["expression"], film["flags"]) == (None, None, ["long"])
        assert film["segments"][0]["start"] == 0
        assert film["segments"][-1]["end"] == pytest.approx(seconds, abs=1)
        assert {segment["expression"] for segment in film["segments"]} <= set(toys.CLASSES)
    assert after - before < 20, f"{before:.0f} MB for a minute, {after:.0f} MB for ten"
