"""The command line `vfer`: the dataset, the detector, predictions, and checks of the installation."""

import sys
from typing import Annotated

import typer

from vfer.cli import console, data, detector, store
from vfer.cli.audit import audit
from vfer.cli.deps import deps
from vfer.cli.doctor.command import doctor
from vfer.cli.predict import predict
from vfer.cli.relocate import relocate
from vfer.cli.sample import sample
from vfer.cli.summary import summary
from vfer.cli.timeline import timeline
from vfer.errors import VferError

app = typer.Typer(
    help="Facial expression recognition in videos, as a DVC and MLflow pipeline.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # help in colours would double the time that help takes
    pretty_exceptions_enable=False,
)
data.app.command("render")(sample)
app.add_typer(data.app, name="data")
app.add_typer(detector.app, name="detector")
app.add_typer(store.app, name="store")
app.command()(audit)
app.command()(deps)
app.command()(doctor)
app.command()(predict)
app.command()(relocate)
app.command()(timeline)
app.command()(summary)


def main() -> None:
    """Run `vfer`; an error that the user can fix ends it with one line and status 1, Ctrl-C with status 130."""
    console.use_utf8()
    console.begin()
    try:
        app()
    except VferError as error:
        console.fail(error)
    except OSError as error:
        console.fail_if_unwritable(error)
    except KeyboardInterrupt:
        console.note("interrupted; finished work is kept")
        sys.exit(130)


def _show_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        console.console.print(f"vfer {version('vfer')}", markup=False)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")] = False,
) -> None: ...
