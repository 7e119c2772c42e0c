"""The pictures of an evaluation."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vfer.files import replacing


def canvas(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Any, Any]:
    """Return a figure of so many inches, and its axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns)


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG file, the same bytes for the same figure."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # the tables beside it have the name
        figure.savefig(temporary, format="png", metadata={"Software": None})


def confusion(path: Path, table: NDArray[np.int64], names: Sequence[str], what: str = "test clips") -> None:
    """Draw a confusion matrix, truth in rows, shaded by the share of each row, labelled with counts."""
    figure, axes = canvas(1.2 + 0.75 * len(names), 1.0 + 0.7 * len(names))
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(table.shape):
        axes.text(column, row, table[row, column], ha="center", va="center", color="white" if shares[row, column] > 0.5 else "black")
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="predicted", ylabel="actual", title=what)
    save(figure, path)


def per_class(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw precision, recall and F1 of every class as bars."""
    figure, axes = canvas(2.5 + 0.9 * len(rows), 3.6)
    at = np.arange(len(rows))
    for offset, name in enumerate(("precision", "recall", "f1")):
        axes.bar(at + 0.27 * (offset - 1), [row[name] for row in rows], width=0.25, label=name)
    axes.set_xticks(at, [f"{row['expression']}\n(n={row['support']})" for row in rows])
    axes.set(ylim=(0, 1.02), title="by expression, test clips")
    figure.legend(loc="outside right upper")
    save(figure, path)


def reliability(path: Path, curve: Sequence[dict[str, float]], what: str = "test clips") -> None:
    """Draw accuracy against confidence, with the number of clips or stills at each point."""
    figure, axes = canvas(4.2, 4.0)
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfectly calibrated")
    axes.plot([row["confidence"] for row in curve], [row["accuracy"] for row in curve], marker="o", label="model")
    for row in curve:
        axes.annotate(f"{row['clips']:.0f}", (row["confidence"], row["accuracy"]), textcoords="offset points", xytext=(4, -10), fontsize=8)
    axes.set(xlim=(0, 1.02), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy", title=f"reliability, {what}")
    axes.legend(loc="upper left")
    save(figure, path)


def subjects(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Draw the accuracy of every test subject, the lowest first, with the number of its clips, and their mean."""
    ordered = sorted(rows, key=lambda row: (row["accuracy"], row["subject"]))
    figure, axes = canvas(max(4.2, 1.5 + 0.3 * len(rows)), 3.8)
    bars = axes.bar(range(len(ordered)), [row["accuracy"] for row in ordered], width=0.7)
    axes.bar_label(bars, [row["clips"] for row in ordered], fontsize=7)
    axes.axhline(float(np.mean([row["accuracy"] for row in ordered])), color="grey", linestyle=":", label="mean of the subjects")
    axes.set_xticks(range(len(ordered)), [row["subject"] for row in ordered], rotation=90, fontsize=7)
    axes.set(ylim=(0, 1.08), ylabel="accuracy", title="by subject, test clips")
    axes.legend(loc="lower right")
    save(figure, path)


def curves(path: Path, history: Sequence[dict[str, float]], title: str) -> None:
    """Draw accuracy and loss of training and validation over the epochs."""
    figure, both = canvas(8, 3.4, columns=2)
    for axes, name in zip(both, ("accuracy", "loss"), strict=True):
        epochs = [row["epoch"] for row in history]
        axes.plot(epochs, [row[name] for row in history], label="train")
        axes.plot(epochs, [row[f"val_{name}"] for row in history], label="validation")
        axes.set(xlabel="epoch", title=f"{title}: {name}")
        axes.legend()
    save(figure, path)


def sheet(path: Path, pictures: NDArray[np.uint8], captions: Sequence[str], title: str, columns: int = 8) -> None:
    """Draw grey pictures, uint8 (n, height, width), in rows, each above its caption; an empty sheet says so."""
    rows = max(1, -(-len(pictures) // columns))
    figure, axes = canvas(1.25 * columns, 0.5 + 1.6 * rows, columns, rows)
    for place in axes.ravel():
        place.set_axis_off()
    for place, picture, caption in zip(axes.ravel(), pictures, captions, strict=False):
        place.imshow(picture, cmap="gray", vmin=0, vmax=255)
        place.set_title(caption, fontsize=7)
    figure.suptitle(title if len(pictures) else f"{title}: none")
    save(figure, path)
