"""The pipeline's stages; each runs as `python -m stages.<word>`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

HOME = Path(__file__).resolve().parent.parent
# An experiment that runs in a temporary copy of the repository must import the library of that copy.
sys.path.insert(0, str(HOME / "src"))

ParamsFile = Annotated[
    Path, typer.Option("--params", help="The params file.", default_factory=lambda: Path("params.yaml"), show_default="params.yaml")
]


def launch(main: Callable[..., Any]) -> None:
    """Run a stage, unless other packages are installed than DVC knows of."""
    from vfer.cli import console
    from vfer.clips import packages
    from vfer.errors import VferError

    console.use_utf8()
    try:
        packages.check(HOME / packages.FILE)
    except VferError as error:
        console.fail(error)
    console.run(main)
