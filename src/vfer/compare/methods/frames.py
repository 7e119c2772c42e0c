"""Methods without time: a linear classifier of the embedding of each frame, whose probabilities are averaged or whose classes vote."""

from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from vfer.compare.methods.base import FittedMethod, MethodClips, Task, Vectors
from vfer.evaluate.vote import fit_frames


def averaged(train: MethodClips, validation: MethodClips, task: Task) -> FittedMethod:
    """Answer with the mean of the frames' probabilities."""
    return _method(train, validation, task, lambda shares: shares)


def voted(train: MethodClips, validation: MethodClips, task: Task) -> FittedMethod:
    """Answer with the shares of the frames that each class wins."""
    return _method(train, validation, task, lambda shares: np.eye(shares.shape[1], dtype=np.float32)[shares.argmax(axis=1)])


def _method(train: MethodClips, validation: MethodClips, task: Task, count: Callable[[Vectors], Vectors]) -> FittedMethod:
    """Fit to the training clips; those to validate on only choose the strength, as they only choose the epoch of a net."""
    with threadpool_limits(1):  # so small a problem only loses by threads
        models = [_fit(train, strength, task) for strength in task.encodings.strengths]
        right = []
        for one in models:
            answers = [count(_shares(one, embedding, task)).mean(axis=0).argmax() for embedding in validation.embeddings]
            right.append(float((np.array(answers) == validation.labels).mean()))
        model = models[int(np.argmax(right))]
    scaler, classifier = model.steps[0][1], model.steps[1][1]
    size = scaler.mean_.size + scaler.scale_.size + classifier.coef_.size + classifier.intercept_.size
    return FittedMethod(size, lambda clips: np.stack([count(_shares(model, one, task)).mean(axis=0) for one in clips.embeddings]))


def _fit(clips: MethodClips, strength: float, task: Task) -> Any:
    most = max(1, task.encodings.frames // len(clips))
    return fit_frames(clips.embeddings, clips.labels, most, task.seed, strength=strength, steps=1000, balanced=True)


def _shares(model: Any, embedding: Vectors, task: Task) -> Vectors:
    shares = np.zeros((len(embedding), task.classes), np.float32)
    shares[:, model.classes_] = model.predict_proba(embedding)
    return shares


METHODS = {"frames_mean": averaged, "frames_vote": voted}
