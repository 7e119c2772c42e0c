"""`features`: runs the cut CNN over every crop and writes the feature cache."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from vfer import console, env, params
from vfer.errors import DataError
from vfer.faces import table
from vfer.features import FeaturesParams, Sequence, embed, write
from vfer.session import Session


def main(
    faces: Annotated[Path, typer.Option(help="Folder of the faces tables.")],
    model: Annotated[Path, typer.Option(help="The CNN, an ONNX file.")],
    config: Annotated[Path, typer.Option("--params", help="The params file.")],
    out: Annotated[Path, typer.Option(help="Folder for the feature cache.")],
) -> None:
    """Writes one Parquet file with the embedding of every frame of every clip, sorted by clip."""
    chosen = params.load(config, "features", FeaturesParams)
    with console.Stage("features") as stage:
        names = sorted(path.relative_to(faces).with_suffix("").as_posix() for path in faces.rglob("*.parquet"))
        if not names:
            raise DataError(f"{faces}: holds no clips' faces; run `dvc repro faces`")
        session = Session(model, threads=env.workers())
        digest = hashlib.sha256(model.read_bytes()).hexdigest()
        rows = write(out / "features.parquet", sequences(names, faces, session, chosen.batch_size), {"model_sha256": digest})
        stage.made = f"{rows} frames of {len(names)} clips -> {out / 'features.parquet'}"


def sequences(names: list[str], faces: Path, session: Session, batch_size: int) -> Iterator[Sequence]:
    """Yields the clips' features one after the other."""
    with console.progress() as bar:
        for name in bar.track(names, description="features"):
            yield embed(session, name, table.read(faces / f"{name}.parquet"), batch_size)


if __name__ == "__main__":
    console.run(main)
