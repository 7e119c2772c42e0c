"""Predict videos with a registered model as in use: in its own process, with the code and the settings stored with it."""

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from vfer.clips.fingerprint import fingerprint
from vfer.clips.store import Recipe, Store
from vfer.files import write_json

log = logging.getLogger(__name__)

CHILD = """
import json, sys, warnings
warnings.filterwarnings("ignore")
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
for line in sys.stdin:
    [answer] = model.predict([json.loads(line)])
    print("answer", json.dumps(answer.expression), flush=True)
"""


def replay(folder: Path, videos: Mapping[str, Path], store: Store, recipe: Recipe) -> dict[str, str | None]:
    """Return the model's answers by the videos' digests, None for none; where it fails, those that it gave until then.

    Args:
        folder: The model, as MLflow stores it.
        videos: The files by their sha256.
        store: Keeps the answers, so that a model is asked once about a clip.
        recipe: Names the model in the store.
    """
    answers: dict[str, str | None] = {}
    keys = {digest: fingerprint({"recipe": recipe.digest}, inputs=[digest]) for digest in videos}
    with tempfile.TemporaryDirectory() as scratch:
        paths = {digest: Path(scratch) / f"{digest}.json" for digest in videos}
        for digest, path in paths.items():
            if store.take(recipe, keys[digest], path):
                answers[digest] = json.loads(path.read_bytes())
        unanswered = [digest for digest in videos if digest not in answers]
        for digest, answer in zip(unanswered, _answers(folder, [videos[digest] for digest in unanswered]), strict=False):
            answers[digest] = answer
            write_json(paths[digest], answer)
            store.keep(recipe, keys[digest], paths[digest])
    return answers


def _answers(folder: Path, videos: Sequence[Path]) -> list[str | None]:
    if not videos:
        return []
    lines = "".join(f"{json.dumps(str(path.resolve()))}\n" for path in videos)
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    with tempfile.TemporaryDirectory() as elsewhere:  # where no other vfer lies
        command = [sys.executable, "-c", CHILD, str(folder.resolve())]
        process = subprocess.run(command, cwd=elsewhere, env=environment, input=lines, capture_output=True, text=True, check=False)
    answers = [json.loads(line.removeprefix("answer ")) for line in process.stdout.splitlines() if line.startswith("answer ")]
    if process.returncode:
        reason = process.stderr.strip().splitlines()[-1:] or ["no message"]
        log.warning(f"{folder}: the registered model answered {len(answers)} of {len(videos)} clips, then failed: {reason[0][:160]}")
    return answers
