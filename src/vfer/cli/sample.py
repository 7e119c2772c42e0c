"""`vfer data render`: renders a sample dataset of any size."""

from pathlib import Path
from typing import Annotated

import typer

from vfer import env
from vfer.cli.console import Stage, progress


def sample(
    out: Annotated[Path, typer.Argument(help="A new or empty folder for the dataset.")],
    actors: Annotated[int, typer.Option(min=1, max=99, help="Number of actors; each shows seven expressions, twice.")] = 12,
    width: Annotated[int, typer.Option(help="Width of the clips in pixels, even.")] = 160,
    height: Annotated[int, typer.Option(help="Height of the clips in pixels, even.")] = 120,
    seconds: Annotated[float, typer.Option(help="Length of each clip.")] = 2.0,
    fps: Annotated[int, typer.Option(help="Frames per second.")] = 15,
    seed: Annotated[int, typer.Option(help="Random seed; the same seed gives the same bytes.")] = 0,
    stills: Annotated[int, typer.Option(help="Training stills per class; there are a sixth as many for validation and for test.")] = 180,
) -> None:
    """Render a sample dataset: clips of drawn faces whose expressions move, and stills for the CNN."""
    from vfer.data.sample import write

    with Stage("data render") as stage, progress() as bar:
        task = bar.add_task("rendering", total=None)
        write(
            out,
            actors=actors,
            size=(width, height),
            seconds=seconds,
            fps=fps,
            stills=stills,
            seed=seed,
            workers=env.workers(),
            started=lambda total: bar.update(task, total=total),
            advance=lambda: bar.advance(task),
        )
        stage.summary = f"{sum(1 for _ in out.glob('clips/*/*.mp4'))} clips of {actors} actors, and stills, in {out}"
