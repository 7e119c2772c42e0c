"""The `register` section of params.yaml."""

from typing import Annotated

from pydantic import Field

from vfer.params import Params


class RegisterParams(Params):
    """When a model takes the alias `champion`: it beats the present one with a p below `significance`."""

    significance: Annotated[float, Field(gt=0, lt=1)]
