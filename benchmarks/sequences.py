"""Sequence models over a dataset of face crops, CK+ as a rule, subject by subject: `python -m benchmarks.sequences`.

Every clip is a test clip once: the folds are those of `split.protocol: subject`, the next fold validates, the others train. On the same
embeddings of the same CNN: the LSTM, logistic regression on the mean of a clip's embeddings, the mean of what logistic regression
says of single frames, and a linear SVM on the last frame.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.repository import HOME
from vfer import artifacts, console, env, frames, manifest, params, split
from vfer.evaluate import figures
from vfer.faces import crop
from vfer.lstm.params import LstmParams
from vfer.register.gate import compare
from vfer.session import Session
from vfer.split import SplitParams

Clips = list[NDArray[np.float32]]


def main(
    cnn: Annotated[Path, typer.Option(help="The CNN, an ONNX file.")],
    data: Annotated[Path, typer.Option(help="The dataset, as `vfer data add ckplus` fills it.")],
    out: Annotated[Path, typer.Option(help="Folder for the figures.")],
    folds: Annotated[int, typer.Option(min=3)] = 10,
    flip: Annotated[bool, typer.Option(help="Take the mean over each face and its mirror image.")] = True,
    units: Annotated[int, typer.Option(min=1)] = 128,
    epochs: Annotated[int, typer.Option(min=1)] = 60,
    seed: Annotated[int, typer.Option(min=0)] = 7,
) -> None:
    """Runs all folds and writes `sequences.json` and `sequences.md`."""
    env.prepare_tensorflow()
    with console.Stage("sequences") as stage:
        clips = manifest.read(data / "clips.csv")
        embeddings = embed(Session(cnn, threads=env.workers()), [data / clip.path for clip in clips], flip)
        names = sorted({clip.expression for clip in clips})
        truth = np.array([names.index(clip.expression) for clip in clips])
        changes = {"units": units, "epochs": epochs, "patience": epochs, "batch_size": 16, "deterministic": False}
        chosen = params.load(HOME / "params.yaml", "lstm", LstmParams).model_copy(update=changes)
        answers: dict[str, NDArray[np.int64]] = {}
        for fold in range(folds):
            rows = split.split(
                clips, [clip.expression for clip in clips], SplitParams(protocol="subject", folds=folds, fold=fold), seed, data
            )
            part = {row.clip: row.part for row in rows}
            at = {name: np.array([i for i, clip in enumerate(clips) if part[clip.clip] == name]) for name in split.PARTS}
            for method, said in one_fold(embeddings, truth, at, len(names), chosen, seed).items():
                answers.setdefault(method, np.full(len(clips), -1))[at["test"]] = said
            console.console.print(f"fold {fold + 1} of {folds}", markup=False)
        subjects = [clip.subject for clip in clips]
        result = {method: judged(truth, said, answers["LSTM"], subjects, len(names), seed) for method, said in answers.items()}
        artifacts.write_json(out / "sequences.json", result)
        artifacts.write_bytes(out / "sequences.md", table(result).encode())
        console.console.print(table(result), markup=False)
        stage.made = f"{len(clips)} clips of {len(set(subjects))} subjects in {folds} folds -> {out}"


def embed(session: Session, paths: list[Path], flip: bool) -> Clips:
    """Returns the embeddings of each clip's frames, float32 (frames, d), every frame taken as the crop."""
    found = []
    for path in paths:
        crops = np.stack([crop.resize(frame.grey) for frame in frames.sample(path, 1000, 640)])[..., np.newaxis]
        seen = session(crops)["embedding"]
        found.append((seen + session(crops[:, :, ::-1])["embedding"]) / 2 if flip else seen)
    return found


def one_fold(
    clips: Clips, truth: NDArray[np.int64], at: dict[str, NDArray[np.int64]], classes: int, chosen: LstmParams, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Returns what each method says of the test clips; all but the LSTM, which stops by them, learn from the validation clips too."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    from vfer.lstm.sequences import pad
    from vfer.lstm.train import Part, train

    def logistic() -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000, random_state=seed))

    test = [clips[i] for i in at["test"]]
    known = np.concatenate([at["train"], at["validation"]])
    mean = logistic().fit([clips[i].mean(axis=0) for i in known], truth[known])
    single = logistic().fit(np.concatenate([clips[i] for i in known]), np.repeat(truth[known], [len(clips[i]) for i in known]))
    last = make_pipeline(StandardScaler(), LinearSVC(C=0.01, random_state=seed)).fit([clips[i][-1] for i in known], truth[known])
    parts = {name: Part([clips[i] for i in at[name]], truth[at[name]]) for name in ("train", "validation")}
    model, _ = train(parts, classes, chosen, seed, None, lambda *_: None)
    return {
        "LSTM": np.asarray(model(pad(test, chosen.max_frames), training=False)["probabilities"]).argmax(axis=1),
        "mean of the embeddings, logistic regression": mean.predict([clip.mean(axis=0) for clip in test]),
        "single frames, logistic regression, mean": np.array([single.predict_proba(clip).mean(axis=0).argmax() for clip in test]),
        "last frame, linear SVM": last.predict([clip[-1] for clip in test]),
    }


def judged(
    truth: NDArray[np.int64], said: NDArray[np.int64], lstm: NDArray[np.int64], subjects: list[str], classes: int, seed: int
) -> dict[str, Any]:
    """Returns the scores with intervals over subjects, and how the method compares with the LSTM, clip by clip."""
    intervals = figures.bootstrap(truth, said, subjects, classes, resamples=1000, confidence=0.95, seed=seed)
    against = compare(said == truth, lstm == truth, 0.05).reason
    return {name: asdict(interval) for name, interval in intervals.items()} | {"against the LSTM": against}


def table(result: dict[str, dict[str, Any]]) -> str:
    """Returns the figures as Markdown."""
    lines = ["| method | accuracy | 95 % interval over subjects | UAR | macro F1 |", "|---|---|---|---|---|"]
    for method, row in result.items():
        accuracy, uar, f1 = (row[name] for name in ("accuracy", "uar", "macro_f1"))
        interval = f"{accuracy['low']:.3f} to {accuracy['high']:.3f}"
        lines.append(f"| {method} | {accuracy['value']:.3f} | {interval} | {uar['value']:.3f} | {f1['value']:.3f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    console.run(main)
