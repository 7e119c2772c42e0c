"""Ways to tell a clip's expression from what the CNN makes of its frames; `benchmarks.sequences` compares them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfer import env
from vfer.cli import console
from vfer.features import Embeddings
from vfer.lstm.params import LstmParams

LSTM = "LSTM"
STRENGTHS = (0.001, 0.01, 0.1, 1.0, 10.0)
"""The inverse strengths of regularisation that are tried; of those that do equally well on validation the first is taken."""
Numbers = NDArray[np.int64]
Vectors = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Clips:
    """n clips that show a face: what the CNN makes of their frames, its probabilities, float32 (frames, classes) each, and class numbers,
    int64 (n,)."""

    embeddings: list[Embeddings]
    shares: Vectors
    labels: Numbers


@dataclass(frozen=True)
class Task:
    """What the methods are told beside the clips: the clips' expressions, those that the CNN knows, and how to train."""

    names: list[str]
    known: list[str]
    lstm: LstmParams
    repeats: int
    seed: int


Answer = Callable[[Clips], Numbers]
"""A trained method: from n clips to their class numbers, (n,)."""
Method = Callable[[Clips, Clips, Task], Answer]
"""Makes one from the clips to train on and those to validate on."""


def lstm(train: Clips, validation: Clips, task: Task) -> Answer:
    """Train the product's sequence model, or several of seeds that follow each other, whose probabilities are averaged."""
    env.prepare_tensorflow()
    with console.hushed():
        import keras

        from vfer.lstm import train as training
        from vfer.lstm.learn import KerasNetwork
        from vfer.lstm.sequences import predict

    keras.backend.clear_session()
    parts = {name: training.ClipPart(clips.embeddings, clips.labels) for name, clips in (("train", train), ("validation", validation))}
    classes, seeds = len(task.names), range(task.seed, task.seed + task.repeats)
    models = [training.train(parts, classes, task.lstm, seed, None, lambda *_: None)[0] for seed in seeds]

    networks = [KerasNetwork(model, task.names, {}) for model in models]

    def answer(clips: Clips) -> Numbers:
        answers = [predict(network, clips.embeddings, task.lstm.max_frames) for network in networks]
        return np.asarray(np.mean(answers, axis=0).argmax(axis=1))

    return answer


def of_vectors(vector: Callable[[NDArray[np.float32]], NDArray[np.float32]], model: Callable[[float, int], Any]) -> Method:
    """Return the method that makes one vector of a clip's embeddings and fit a model, given strength and seed, to those."""

    def inputs(clips: Clips) -> NDArray[np.float32]:
        return np.stack([vector(clip.values) for clip in clips.embeddings])

    def method(train: Clips, validation: Clips, task: Task) -> Answer:
        def fitted(clips: Clips, strength: float) -> Answer:
            found = scaled(model(strength, task.seed)).fit(inputs(clips), clips.labels)
            return lambda others: np.asarray(found.predict(inputs(others)))

        return tuned(fitted, train, validation)

    return method


def mean_answer(train: Clips, validation: Clips, task: Task) -> Answer:
    """Fit a logistic regression to single frames; its probabilities are averaged over a clip's frames."""

    def fitted(clips: Clips, strength: float) -> Answer:
        labels = np.repeat(clips.labels, [len(clip) for clip in clips.embeddings])
        found = scaled(logistic(strength, task.seed)).fit(np.concatenate([clip.values for clip in clips.embeddings]), labels)
        return lambda others: np.array(
            [found.classes_[found.predict_proba(clip.values).mean(axis=0).argmax()] for clip in others.embeddings]
        )

    return tuned(fitted, train, validation)


def cnn_alone(train: Clips, validation: Clips, task: Task) -> Answer:  # noqa: ARG001
    """Average the CNN's answers to a clip's frames, over the expressions that the clips have too; it learns from none of them."""
    common = [name for name in task.known if name in task.names]
    columns = [task.known.index(name) for name in common]
    numbers = np.array([task.names.index(name) for name in common])
    return lambda clips: numbers[np.array([shares[:, columns].mean(axis=0).argmax() for shares in clips.shares])]


def tuned(fitted: Callable[[Clips, float], Answer], train: Clips, validation: Clips) -> Answer:
    """Fit to the training clips, with the strength that does best on validation, so that all methods learn from the same clips."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # so small a problem only loses by threads
        models = [fitted(train, strength) for strength in STRENGTHS]
        right = [float((model(validation) == validation.labels).mean()) for model in models]
        return models[int(np.argmax(right))]


def logistic(strength: float, seed: int) -> Any:
    """Return an untrained logistic regression."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=strength, max_iter=2000, random_state=seed)


def support(strength: float, seed: int) -> Any:
    """Return an untrained linear support vector machine."""
    from sklearn.svm import SVC

    return SVC(kernel="linear", C=strength, random_state=seed)


def scaled(model: Any) -> Any:
    """Return the model behind a standardisation of its inputs."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), model)


def methods(task: Task) -> dict[str, Method]:
    """Return the methods by name; the CNN alone is among them where it knows two of the clips' expressions."""
    found: dict[str, Method] = {
        LSTM: lstm,
        "mean embedding, logistic regression": of_vectors(lambda embedding: embedding.mean(axis=0), logistic),
        "single frames, logistic regression, mean answer": mean_answer,
        "last frame, linear SVM": of_vectors(lambda embedding: embedding[-1], support),
    }
    return found | ({"the CNN alone, mean answer": cnn_alone} if len({*task.known} & {*task.names}) > 1 else {})
