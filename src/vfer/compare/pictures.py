"""The pictures of a comparison."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vfer.compare.report import Scores
from vfer.compare.table import ENTRIES
from vfer.evaluate import plots


def accuracy(path: Path, tables: Mapping[str, Mapping[str, Scores]]) -> None:
    """Draw every method's accuracy with its interval, a colour a protocol, the methods in the order of the last protocol."""
    last = list(tables)[-1]
    names = [name for name in reversed(list(tables[last])) if all(name in methods for methods in tables.values())]
    figure, axes = plots.canvas(8.5, 1.2 + 0.42 * len(names))
    step = 0.8 / len(tables)
    for number, (protocol, methods) in enumerate(tables.items()):
        at = [place - step * (number - (len(tables) - 1) / 2) for place in range(len(names))]
        scores = [methods[name]["accuracy"] for name in names]
        values = [100 * one["value"] for one in scores]
        off = [[100 * abs(one["value"] - (one["value"] if one[end] is None else one[end])) for one in scores] for end in ("low", "high")]
        axes.errorbar(values, at, xerr=off, fmt="o", markersize=4, capsize=2, label=protocol)
    axes.set_yticks(range(len(names)), [ENTRIES[name].title for name in names])
    axes.set(xlabel="accuracy, per cent", title="the same methods, split by each protocol")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=len(tables))
    plots.save(figure, path)


def cost(path: Path, tables: Mapping[str, Mapping[str, Scores]]) -> None:
    """Draw accuracy against the time of an answer, of the last protocol: a number is a method's place in the table, and a line joins
    those that no method is both faster and better than."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    protocol, methods = list(tables.items())[-1]
    points = {name: (max(figures["milliseconds"], 1e-3), 100 * figures["accuracy"]["value"]) for name, figures in methods.items()}
    best = front(points)
    figure, axes = plots.canvas(10, 5)
    axes.step(*zip(*(points[name] for name in best), strict=True), where="post", color="tab:blue", linewidth=0.8)
    for number, (name, (x, y)) in enumerate(points.items(), start=1):
        title = f"{number} {ENTRIES[name].title}: {y:.1f}, {x:.2g} ms"
        axes.plot([x], [y], linestyle="", marker="o", color="tab:blue" if name in best else "tab:gray", label=title)
        # Each of four neighbours, which often stand at one place, has its number on another side.
        aside = (6 * (-1) ** number, 6 * (-1) ** (number // 2))
        axes.annotate(str(number), (x, y), textcoords="offset points", xytext=aside, fontsize=8, ha="center", va="center")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="milliseconds a clip, from the caches", ylabel="accuracy, per cent", title=f"accuracy and cost, split by {protocol}")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=7)
    plots.save(figure, path)


def front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """Return the names of the points than which none has both less cost and more accuracy, cheapest first."""
    best: list[str] = []
    for name in sorted(points, key=lambda name: (points[name][0], -points[name][1])):
        if not best or points[name][1] > points[best[-1]][1]:
            best.append(name)
    return best


def subjects(path: Path, by_subject: Mapping[str, Sequence[Mapping[str, Any]]], protocol: str) -> None:
    """Draw each method's accuracies of single subjects, a point each, over their box."""
    names = list(by_subject)[::-1]
    figure, axes = plots.canvas(8.5, 1.2 + 0.34 * len(names))
    values = [[100 * float(row["accuracy"]) for row in by_subject[name]] for name in names]
    axes.boxplot(values, orientation="horizontal", positions=range(len(names)), widths=0.6, showfliers=False)
    for place, of_method in enumerate(values):
        axes.plot(of_method, [place] * len(of_method), linestyle="", marker="o", markersize=3, alpha=0.4, color="tab:blue")
    axes.set_yticks(range(len(names)), [ENTRIES[name].title for name in names])
    axes.set(xlim=(-2, 102), xlabel="accuracy, per cent", title=f"every subject, split by {protocol}")
    plots.save(figure, path)
