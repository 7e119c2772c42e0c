"""Verification: whether two faces are of one subject, by the cosine of their embeddings."""

import numpy as np
from numpy.typing import NDArray

PAIRS = 10_000


def verification(embeddings: NDArray[np.float32], labels: NDArray[np.int64], seed: int) -> float:
    """Return the area under the ROC curve of the cosine, for 10,000 drawn pairs of one subject and as many of two.

    `embeddings` is float32 (n, d), `labels` int64 (n,), with two faces a subject at least and two subjects. 0.5 is a guess, 1 always right.
    """
    from sklearn.metrics import roc_auc_score

    order = np.argsort(labels, kind="stable")
    first, same, other = pairs(labels[order], PAIRS, np.random.default_rng([seed, 1]))
    unit = embeddings[order] / np.maximum(np.linalg.norm(embeddings[order], axis=1, keepdims=True), 1e-12)
    cosines = np.concatenate([np.einsum("nd,nd->n", unit[first], unit[second]) for second in (same, other)])
    return float(roc_auc_score(np.repeat([1, 0], PAIRS), cosines))


def pairs(
    labels: NDArray[np.int64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return places in the sorted labels: of a face, of another one of its subject, and of one of another subject, int64 (count,) each."""
    _, starts, counts = np.unique(labels, return_index=True, return_counts=True)
    first = rng.integers(len(labels), size=count)
    subject = np.searchsorted(starts, first, side="right") - 1
    start, size = starts[subject], counts[subject]
    same = start + (first - start + rng.integers(1, size)) % size
    other = (start + size + rng.integers(0, len(labels) - size)) % len(labels)
    return first, same, other
