"""Render the embedded sample: faces of several actors whose action units move, as a RAVDESS-shaped dataset."""

from vfer.data.sample.dataset import CODES, write

__all__ = ["CODES", "write"]
