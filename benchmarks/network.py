"""Trains the network that comes with vfer: `make network`, or its teachers alone, `make teachers`, for maintainers.

It takes FER2013's stills with the votes of FER+ (`vfer data add ferplus`), and the folder of faceres-deep, with which a MobileNet
begins. A network that is there is not trained again, and a training that was killed goes on after its last epoch. So the teachers may
come from another machine: copy the folder `.network` there and back.
"""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from benchmarks import processes
from benchmarks.repository import HOME
from vfer import files
from vfer.cli import console
from vfer.cnn import teachers
from vfer.cnn.params import CnnParams

RECIPES = Path(__file__).with_name("network.yaml")
FACERES = "faceres-deep.json"


def main(
    stills: Annotated[Path, typer.Option(help="The stills to train on, with votes.")] = HOME / "data" / "stills.parquet",
    faceres: Annotated[Path, typer.Option(help=f"Folder of {FACERES}.")] = HOME / "weights" / "faceres",
    out: Annotated[Path, typer.Option(help="Folder of the networks.")] = HOME / ".network",
    teachers_only: Annotated[bool, typer.Option("--teachers", help="Train the teachers alone.")] = False,
) -> None:
    """Train what is missing: each teacher, then the student."""
    recipes = yaml.safe_load(RECIPES.read_text())
    with console.Stage("network") as stage:
        for name, recipe in recipes["teachers"].items():
            train(out / name, recipe, recipes["seed"], stills, faceres, out / "weights")
            with files.replacing(out / "weights" / teachers.FOLDER / f"{name}.onnx") as temporary:
                shutil.copyfile(out / name / "cnn" / "model.onnx", temporary)
        if not teachers_only:
            train(out / "student", recipes["student"], recipes["seed"], stills, faceres, out / "weights")
        stage.summary = f"{', '.join(recipes['teachers'])}{'' if teachers_only else ' and the student'} -> {out}"


def train(folder: Path, recipe: dict[str, Any], seed: int, stills: Path, faceres: Path, weights: Path) -> None:
    """Run `pretrain` and `cnn` by a recipe, unless their results are there; a MobileNet begins with faceres-deep."""
    CnnParams.model_validate(recipe)
    if (folder / "cnn" / "run.json").is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    weights.mkdir(parents=True, exist_ok=True)
    params = yaml.safe_load((HOME / "params.yaml").read_text()) | {"seed": seed, "cnn": recipe}
    params["pretrain"] |= {"enabled": recipe["architecture"] == "mobilenet", "identities": str(faceres)}
    files.write_bytes(folder / "params.yaml", yaml.safe_dump(params, sort_keys=False).encode())
    common = ["--weights", weights, "--params", folder / "params.yaml"]
    stages = {
        "pretrain": ["--identities", faceres, "--stills", stills, *common, "--out", folder / "pretrain"],
        "cnn": ["--data", stills, "--start", folder / "pretrain" / "weights", *common, "--out", folder / "cnn"],
    }
    for stage, arguments in stages.items():
        processes.show(["python", "-m", f"stages.{stage}", *map(str, arguments)], HOME)


if __name__ == "__main__":
    console.run(main)
