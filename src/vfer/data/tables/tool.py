"""The tools whose feature tables are read: what their columns are called, and which files of a dataset are theirs."""

import re
from dataclasses import dataclass
from pathlib import PurePath


@dataclass(frozen=True)
class Tool:
    """One tool; column names are in small letters.

    Attributes:
        name: Its name in `features.source`, and that of its reader.
        title: Its name in messages.
        unit: What the columns of action units look like.
        example: One of them.
        confidence: The column of the face's confidence, from 0 to 1.
        success: The column that is 0 if no face was found.
        time: The column of a frame's time in seconds.
    """

    name: str
    title: str
    unit: re.Pattern[str]
    example: str
    confidence: str
    success: str
    time: str

    @property
    def suffix(self) -> str:
        """How the names of its tables end in a dataset."""
        return f".{self.name}.csv"


TOOLS = {
    "openface": Tool("openface", "OpenFace", re.compile(r"au\d+_[rc]"), "AU01_r", "confidence", "success", "timestamp"),
    # py-feat's approx_time is in whole seconds (mm:ss), so the time comes from the number of the frame.
    "pyfeat": Tool("pyfeat", "py-feat", re.compile(r"au\d+"), "AU01", "facescore", "success", "timestamp"),
}


def tool_of(path: str) -> Tool | None:
    """Return the tool whose table a file of the dataset is; None if it is a video."""
    return next((tool for tool in TOOLS.values() if PurePath(path).name.endswith(tool.suffix)), None)
