"""The classes of the models: the `labels` section of params.yaml."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from vfer.errors import DataError
from vfer.params import Params


class LabelsParams(Params):
    """The classes of the CNN (`stills`) and of the sequence model (`clips`): `all` that occur, or a list.

    `merge` renames expressions first, so that for example `{neutral: calm}` makes the paper's seven classes of RAVDESS's eight.
    """

    stills: Literal["all"] | list[str]
    clips: Literal["all"] | list[str]
    merge: Annotated[dict[str, str], Field(default_factory=dict)]

    def merged(self, expressions: Iterable[str]) -> list[str]:
        """Return the expressions under their merged names, in their order."""
        return [self.merge.get(expression, expression) for expression in expressions]


def classes(present: Iterable[str], selection: Literal["all"] | list[str], where: Path) -> list[str]:
    """Return the classes in the order that the models number them: sorted for `all`, else as listed.

    Raises:
        DataError: If fewer than two remain or a wanted one does not occur in the data.
    """
    names = sorted(set(present))
    if selection == "all":
        selected = names
    else:
        selected = list(dict.fromkeys(selection))
        if absent := [name for name in selected if name not in names]:
            raise DataError(
                f"{where}: nothing is labelled {', '.join(absent)}, which labels in params.yaml lists; found {', '.join(names)}"
            )
    if len(selected) < 2:
        raise DataError(f"{where}: at least two expressions are needed, found {', '.join(selected) or 'none'}")
    return selected
