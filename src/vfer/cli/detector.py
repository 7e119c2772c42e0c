"""`vfer detector`: which face detector the `faces` stage has, and its weights."""

from pathlib import Path
from typing import Annotated

import typer

from vfer.cli.console import console, progress

app = typer.Typer(no_args_is_help=True, help="Install, remove or show the weights of the face detector.")
Weights = Annotated[Path, typer.Option(help="Folder of the weights.")]


@app.command()
def add(
    source: Annotated[str, typer.Argument(metavar="PACK_OR_PATH", help="A pack of insightface (buffalo_sc, ...), or an ONNX file.")],
    sha256: Annotated[str | None, typer.Option(help="Expected hash of the file.")] = None,
    weights: Weights = Path("weights"),
) -> None:
    """Install SCRFD, insightface's detector; `faces.detector: auto` takes it from then on."""
    from vfer.faces import install

    with progress() as bar:
        task = bar.add_task(f"downloading {source}", total=None, visible=False)
        installed = install.add(
            source, weights, sha256, lambda done, size: bar.update(task, completed=done, total=size or None, visible=True)
        )
    console.print(f"installed {weights}/scrfd.onnx, sha256 {installed}", markup=False)
    console.print(f"licence: {install.LICENCE}", markup=False)
    console.print(f"staged in git: {weights}/SHA256SUMS, scrfd.onnx.dvc, .gitignore; commit them, and run `dvc repro`", markup=False)


@app.command()
def remove(weights: Weights = Path("weights")) -> None:
    """Remove SCRFD; `faces.detector: auto` goes back to CenterFace."""
    from vfer.faces import install

    message = "removed SCRFD; auto takes CenterFace" if install.remove(weights) else f"{weights}: holds no SCRFD weights"
    console.print(message, markup=False)


@app.command()
def show(weights: Weights = Path("weights")) -> None:
    """Show which detector `faces.detector: auto` takes, and check its weights."""
    from vfer.faces.params import FacesParams
    from vfer.faces.weights import choose

    detector = choose(FacesParams(), weights)
    detector.load(FacesParams())
    console.print(f"{detector.name}: {detector.path}, sha256 {detector.sha256} ({detector.why})", markup=False)
