"""One vector per clip and a linear support vector machine: pooling, VLAD, and Fisher vectors of a Gaussian mixture."""

from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from vfer.compare.methods.base import FittedMethod, Method, MethodClips, Numbers, Task, Vectors
from vfer.nets.calibration import softmax

Encode = Callable[[Vectors], Vectors]
"""From a clip's embeddings, float32 (frames, d), to one vector."""
Learn = Callable[[Vectors, Task], tuple[Encode, int]]
"""Learns an encoding from frames, float32 (n, d); returns it and how many numbers it holds."""


def machine(learn: Learn, *, scaled: bool = False) -> Method:
    """Return the method that encodes each clip and fits a linear support vector machine, to numbers `scaled` to variance 1 or as they are.

    The clips to validate on only choose its strength, as they only choose the epoch of a net: all methods learn from the same clips. Its
    distances are taken for log-probabilities, so that only their order means something.
    """

    def method(train: MethodClips, validation: MethodClips, task: Task) -> FittedMethod:
        with threadpool_limits(1):  # so small a problem only loses by threads
            encode, size = learn(_some(train, task), task)
            vectors, checked = _encoded(encode, train), _encoded(encode, validation)
            models = [_fit(vectors, train.labels, strength, task, scaled) for strength in task.encodings.strengths]
            model = models[int(np.argmax([(model.predict(checked) == validation.labels).mean() for model in models]))]
        labels, classifier = model.classes_, model.steps[-1][1]
        count = size + classifier.coef_.size + classifier.intercept_.size + 2 * scaled * vectors.shape[1]

        def answer(clips: MethodClips) -> Vectors:
            decisions = model.decision_function(_encoded(encode, clips))
            scores = np.full((len(clips), task.classes), -np.inf)
            scores[:, labels] = np.stack([-decisions, decisions], axis=1) if decisions.ndim == 1 else decisions
            return softmax(scores)

        return FittedMethod(count, answer)

    return method


def _fit(vectors: Vectors, labels: Numbers, strength: float, task: Task, scaled: bool) -> Any:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    model = LinearSVC(C=strength, class_weight="balanced", max_iter=10_000, random_state=task.seed)
    return make_pipeline(*([StandardScaler()] if scaled else []), model).fit(vectors, labels)


def _encoded(encode: Encode, clips: MethodClips) -> Vectors:
    return np.stack([encode(embedding) for embedding in clips.embeddings])


def _some(clips: MethodClips, task: Task) -> Vectors:
    """Return the training clips' frames, or as many as `frames` of them, drawn by the seed."""
    frames = np.concatenate(list(clips.embeddings))
    if len(frames) <= task.encodings.frames:
        return frames
    return frames[np.sort(np.random.default_rng(task.seed).choice(len(frames), task.encodings.frames, replace=False))]


def pooled(frames: Vectors, task: Task) -> tuple[Encode, int]:  # noqa: ARG001
    """Learn nothing: mean and maximum over a clip's frames, float32 (2 d,)."""
    return lambda embedding: np.concatenate([embedding.mean(axis=0), embedding.max(axis=0)]), 0


def vlad(frames: Vectors, task: Task) -> tuple[Encode, int]:
    """Learn centres: a clip is the sums of its frames' differences to the nearest one, each of length 1, the whole too.

    Source: Jegou et al., "Aggregating Local Image Descriptors into Compact Codes", 2012; Arandjelovic and Zisserman, "All about VLAD",
    2013.
    """
    from sklearn.cluster import KMeans

    reduce, size = reduced(frames, task)
    clusters = KMeans(_most(frames, task.encodings.centres), n_init=3, random_state=task.seed).fit(reduce(frames))
    centres = np.asarray(clusters.cluster_centers_, np.float32)

    def encode(embedding: Vectors) -> Vectors:
        vectors = reduce(embedding)
        nearest = ((vectors[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, vectors - centres[nearest])
        return unit(unit(rooted(sums)).ravel())

    return encode, size + centres.size


def fisher(frames: Vectors, task: Task) -> tuple[Encode, int]:
    """Learn a Gaussian mixture: a clip is the gradient of its likelihood by means and variances.

    Source: Perronnin, Sanchez and Mensink, "Improving the Fisher Kernel for Large-Scale Image Classification", 2010.
    """
    from sklearn.mixture import GaussianMixture

    reduce, size = reduced(frames, task)
    centres = _most(frames, task.encodings.centres)
    mixture = GaussianMixture(centres, covariance_type="diag", reg_covar=1e-4, random_state=task.seed).fit(reduce(frames))
    means, deviations, weights = mixture.means_, np.sqrt(mixture.covariances_), mixture.weights_[:, None]

    def encode(embedding: Vectors) -> Vectors:
        vectors = reduce(embedding)
        shares = mixture.predict_proba(vectors).T  # (centres, frames)
        off = (vectors[None] - means[:, None]) / deviations[:, None]
        of_means = (shares[..., None] * off).mean(axis=1) / np.sqrt(weights)
        of_variances = (shares[..., None] * (off**2 - 1)).mean(axis=1) / np.sqrt(2 * weights)
        return unit(rooted(np.concatenate([of_means, of_variances]).ravel())).astype(np.float32)

    return encode, size + means.size + deviations.size + weights.size


def reduced(frames: Vectors, task: Task) -> tuple[Encode, int]:
    """Return the projection to the frames' principal components, and how many numbers it holds.

    Components of next to no variance, such as numbers that are always zero give, are left out.
    """
    from sklearn.decomposition import PCA

    pca = PCA(svd_solver="full").fit(frames)
    worthy = int((pca.explained_variance_ratio_ > 1e-6).sum())
    components = pca.components_[: max(1, min(task.encodings.components, worthy))]
    return lambda embedding: np.asarray((embedding - pca.mean_) @ components.T, np.float32), pca.mean_.size + components.size


def _most(frames: Vectors, limit: int) -> int:
    """Return as many as wanted, but no more than there are different frames."""
    return min(limit, len(np.unique(frames, axis=0)))


def rooted(values: "np.typing.NDArray[np.floating]") -> "np.typing.NDArray[np.floating]":
    """Return the square roots of the sizes, under their signs, so that a few large values do not outweigh the rest."""
    return np.asarray(np.sign(values) * np.sqrt(np.abs(values)))


def unit(values: "np.typing.NDArray[np.floating]") -> "np.typing.NDArray[np.floating]":
    """Return vectors, on the last axis, of length 1; a vector of zeros stays."""
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(values / np.where(lengths, lengths, 1))


METHODS = {"svm_pooled": machine(pooled, scaled=True), "svm_vlad": machine(vlad), "svm_fisher": machine(fisher)}
