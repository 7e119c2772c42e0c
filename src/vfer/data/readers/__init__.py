"""Readers of the public layouts of datasets; a reader is one module and one row of `READERS`."""

from vfer.data.readers import ckplus, fer2013, ferplus, folder, manifest, ravdess
from vfer.data.readers.expressions import EXPRESSIONS, expression
from vfer.data.readers.found import Entry, Found, FoundClip, FoundStill, Passed, Reader, Refused
from vfer.data.readers.scan import scan

READERS = {
    "fer2013": Reader(fer2013.read, "train/<class>/*.jpg and test/<class>/*.jpg, fer2013.csv or icml_face_data.csv"),
    "ferplus": Reader(ferplus.read, "fer2013new.csv together with fer2013.csv or icml_face_data.csv", source="fer2013"),
    "ravdess": Reader(ravdess.read, "01-01-03-01-02-01-12.mp4 and the like"),
    "ckplus": Reader(ckplus.read, "CK+48/<expression>/S010_004_00000017.png, or S010/004/*.png with *_emotion.txt"),
    "folder": Reader(folder.read, "<expression>/<subject>_*.mp4"),
    "manifest": Reader(manifest.read, "a CSV file with the columns path, expression, subject"),
}

__all__ = [
    "EXPRESSIONS",
    "READERS",
    "Entry",
    "Found",
    "FoundClip",
    "FoundStill",
    "Passed",
    "Reader",
    "Refused",
    "expression",
    "scan",
]
