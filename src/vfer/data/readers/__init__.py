"""Readers of the public layouts of datasets; a reader is one module and one row of `READERS`."""

from vfer.data.readers import (
    afew,
    annotations,
    ckplus,
    cremad,
    dfew,
    fer2013,
    ferplus,
    folder,
    manifest,
    mead,
    ravdess,
    savee,
    sequences,
    tables,
)
from vfer.data.readers.expressions import EXPRESSIONS, expression
from vfer.data.readers.items import Entry, FoundClip, FoundStill, Item, Passed, Reader, Refused
from vfer.data.readers.scan import scan

NOBODY = "{} does not name subjects: each clip counts as a subject of its own, so a split by subject is a split by clip"
TABLES = "a CSV file of {} per video, named like a clip of the dataset, or as RAVDESS, CREMA-D, SAVEE, MEAD or <expression>/<subject>_*.csv"
READERS = {
    "fer2013": Reader(fer2013.read, "train/<class>/*.jpg and test/<class>/*.jpg, fer2013.csv or icml_face_data.csv"),
    "ferplus": Reader(ferplus.read, "fer2013new.csv together with fer2013.csv or icml_face_data.csv", source="fer2013"),
    "ravdess": Reader(ravdess.read, "01-01-03-01-02-01-12.mp4 and the like"),
    "ckplus": Reader(ckplus.read, "CK+48/<expression>/S010_004_00000017.png, or S010/004/*.png with *_emotion.txt"),
    "cremad": Reader(cremad.read, "1001_DFA_ANG_XX.flv and the like"),
    "savee": Reader(savee.read, "AudioVisualClip/DC/a01.avi, or DC_a01.avi"),
    "mead": Reader(mead.read, "M003/video/front/angry/level_1/001.mp4"),
    "afew": Reader(afew.read, "Train_AFEW/Angry/000046280.avi", warning=NOBODY.format("AFEW")),
    "dfew": Reader(dfew.read, "Clip/original/1.mp4 or clip_224x224/00001/*.jpg, with set_1.csv", warning=NOBODY.format("DFEW")),
    "sequences": Reader(sequences.read, "<subject>/<expression>/001.png, <expression>/<subject>_*/001.png, or a coding table (CSV)"),
    "folder": Reader(folder.read, "<expression>/<subject>_*.mp4"),
    "openface": Reader(tables.reader("openface"), TABLES.format("OpenFace")),
    "pyfeat": Reader(tables.reader("pyfeat"), TABLES.format("py-feat")),
    "annotations": Reader(annotations.read, "a corrected .eaf, or Label Studio's export as JSON, of `vfer timeline`, with the video"),
    "manifest": Reader(
        manifest.read, "a CSV file with the columns path, expression, subject; paths of videos, of folders of pictures or of feature tables"
    ),
}

__all__ = [
    "EXPRESSIONS",
    "READERS",
    "Entry",
    "FoundClip",
    "FoundStill",
    "Item",
    "Passed",
    "Reader",
    "Refused",
    "expression",
    "scan",
]
