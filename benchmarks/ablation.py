"""What each part of the CNN's recipe is worth: the recipe, and the recipe with one part changed at a time.

    python -m benchmarks.ablation --stills data/stills.parquet
    python -m benchmarks.ablation --stills data/stills.parquet --seeds 5 --only "the recipe"

Each training is a process of its own (benchmarks/recipe.py), on the same stratified share of the training stills, for the same epochs
whether they help or not, and is scored on the validation stills with the weights of its highest validation accuracy; test is never
looked at. Training accuracy is that of the last epoch, of stills as they are trained on: augmented, erased and mixed. Seconds are of the
training alone. A finished training is kept in the JSON file, and is not run again with the same settings, so that a run that was
killed goes on. Differences are of the accuracy in points, over the seeds that a variant and the recipe both have; the spread of the
recipe over its seeds says how large one must be to mean anything.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import Annotated, Any

import typer

from benchmarks import machine, processes
from benchmarks.repository import HOME
from vfer import files, params
from vfer.cli import console
from vfer.clips.digests import digest
from vfer.cnn.params import CnnParams
from vfer.data import stills
from vfer.errors import VferError

RECIPE = "the recipe"
BASE: dict[str, object] = {
    "weights": "trained",
    "architecture": "resnet",
    "embedding": 128,
    "dropout": 0.4,
    "flip_average": False,
    "monitor": "accuracy",
    "batch_size": 128,
    "learning_rate": 0.002,
    "warmup": 0.05,
    "weight_decay": 0.15,
    "averaging": 0.998,
    "label_smoothing": 0.1,
    "augmentation": 0.6,
    "erasing": 0.3,
    "mixup": 0,
    "class_balance": 0.3,
    "drop_duplicates": False,
    "precision": "auto",
    "deterministic": False,
}
VARIANTS: dict[str, dict[str, object]] = {
    RECIPE: {},
    "with mixup": {"mixup": 0.2},
    "without erasing": {"erasing": 0},
    "without augmentation": {"augmentation": 0},
    "strongest augmentation": {"augmentation": 1},
    "without label smoothing": {"label_smoothing": 0},
    "without averaging": {"averaging": 0},
    "without dropout": {"dropout": 0},
    "without weight decay": {"weight_decay": 0},
    "without class balance": {"class_balance": 0},
    "class balance 1": {"class_balance": 1},
    "without warm-up": {"warmup": 0},
    "duplicates dropped": {"drop_duplicates": True},
    "float32": {"precision": "float32"},
    "mini_xception": {"architecture": "mini_xception"},
    "xception": {"architecture": "xception"},
}
SHARES = {
    "accuracy": "accuracy",
    "flip_accuracy": "with its mirror image",
    "uar": "UAR",
    "training_accuracy": "training accuracy",
}
NUMBERS = {"seconds": "seconds", "images_a_second": "images/s"}
Row = dict[str, Any]


def main(
    table: Annotated[Path, typer.Option("--stills", help="The stills, a Parquet file.")],
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of each training.")] = 8,
    share: Annotated[float, typer.Option(min=0.001, max=1, help="Share of the training stills that is learned from.")] = 0.5,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each variant, with the seeds from 0.")] = 1,
    only: Annotated[str, typer.Option(help="Variants to train, separated by commas; all where empty.")] = "",
    out: Annotated[Path, typer.Option(help="The results, a JSON file; the table lies beside it.")] = HOME / "benchmarks/ablation.json",
) -> None:
    """Trains what is not in the results yet, seed by seed, and writes the table after each; one that fails does not stop the others."""
    chosen = names(only)
    sha256 = digest(table) if stills.labels(table).num_rows else ""
    wanted = {(name, seed): settings(name, epochs, share, sha256) for seed in range(seeds) for name in chosen}
    every = [settings(name, epochs, share, sha256) for name in VARIANTS]
    rows: list[Row] = json.loads(out.read_text()) if out.exists() else []
    failed = []
    for number, ((name, seed), given) in enumerate(wanted.items(), start=1):
        what = f"{number} of {len(wanted)}: {name}, seed {seed}"
        if any((row["settings"], row["seed"]) == (given, seed) for row in rows):
            console.console.print(f"{what}: there already", markup=False)
            continue
        console.console.print(what, markup=False)
        facts = machine.facts()
        try:
            figures = train(table, given["params"], seed, share)
        except VferError as error:
            failed.append(name)
            console.warn(f"{what}: {error}")
            continue
        rows.append({"variant": name, "seed": seed, "settings": given, "figures": figures, "facts": facts})
        files.write_json(out, rows)
        told = f"accuracy {figures['accuracy']:.3f}, UAR {figures['uar']:.3f}, {figures['seconds']:.0f} s -> {out}"
        console.console.print(f"{what}: {told}", markup=False)
    text = report([row for row in rows if row["settings"] in every])
    files.write_bytes(out.with_suffix(".md"), text.encode())
    console.console.print(text, markup=False)
    if failed:
        raise VferError(f"ablation: {', '.join(dict.fromkeys(failed))} failed, as said above; run again for what is missing")


def names(only: str) -> list[str]:
    """Returns the chosen variants in the order of the table; raises `VferError` for one that is unknown."""
    asked = [name.strip() for name in only.split(",") if name.strip()] or list(VARIANTS)
    for name in asked:
        if name not in VARIANTS:
            raise VferError(f"--only: {name} is no variant; expected some of {', '.join(VARIANTS)}")
    return [name for name in VARIANTS if name in asked]


def settings(name: str, epochs: int, share: float, sha256: str) -> dict[str, Any]:
    """Returns all that decides what a variant learns, beside the seed; what BASE leaves out is as in params.yaml."""
    given = params.load(HOME / "params.yaml", "cnn", CnnParams).model_dump()
    whole = CnnParams.model_validate(given | BASE | {"epochs": epochs, "patience": epochs} | VARIANTS[name])
    return {"params": whole.model_dump(), "share": share, "stills": sha256}


def train(table: Path, chosen: dict[str, Any], seed: int, share: float) -> dict[str, float]:
    """Trains in a new process and returns its figures; its progress and its errors are seen as they come."""
    command = [sys.executable, "-m", "benchmarks.recipe", str(table.resolve()), json.dumps(chosen), str(seed), str(share)]
    environment = processes.environment({"PYTHONPATH": str(HOME / "src")})
    done = subprocess.run(command, cwd=HOME, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise VferError(f"the training ended with status {done.returncode}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(rows: list[Row]) -> str:
    """Returns the table as Markdown, a line a variant: means over its seeds, with their standard deviation where there are several."""
    heads = ["variant", *SHARES.values(), *NUMBERS.values(), "seeds", "points to the recipe"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    seeds = {name: {row["seed"]: row["figures"] for row in rows if row["variant"] == name} for name in VARIANTS}
    for name, figures in seeds.items():
        if figures:
            cells = [spread([100 * one[key] for one in figures.values()], 1) for key in SHARES]
            cells += [spread([one[key] for one in figures.values()], 0) for key in NUMBERS]
            lines.append(f"| {' | '.join([name, *cells, str(len(figures)), difference(figures, seeds[RECIPE])])} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float], digits: int) -> str:
    """Returns the mean, with the standard deviation where there are several values."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def difference(figures: dict[int, dict[str, float]], recipe: dict[int, dict[str, float]]) -> str:
    """Returns by how many points the accuracy differs from the recipe's, over the seeds that both have, if any."""
    points = [100 * (figures[seed]["accuracy"] - recipe[seed]["accuracy"]) for seed in figures if seed in recipe]
    return "" if figures is recipe or not points else f"{mean(points):+.1f}"


if __name__ == "__main__":
    console.run(main)
