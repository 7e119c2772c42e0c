"""The `register` section of params.yaml."""

from typing import Annotated

from pydantic import Field

from vfer.params import Params


class RegisterParams(Params):
    """How the project is called in MLflow, and how sure a model must beat the champion to take its alias."""

    name: Annotated[str, Field(pattern=r"^[\w.-]*$")] = ""
    significance: Annotated[float, Field(gt=0, lt=1)]
