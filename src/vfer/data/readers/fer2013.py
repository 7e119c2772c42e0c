"""FER2013 (Goodfellow et al., 2013): the folders of pictures, and the CSV files fer2013.csv and icml_face_data.csv."""

import csv
from collections.abc import Iterator, Sequence

from vfer.data.readers.items import IMAGES, Entry, FoundStill, Item, Passed, Refused, Usage, safe
from vfer.data.readers.scan import UNREADABLE
from vfer.data.readers.text import lines
from vfer.errors import DataError

EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
USAGES: dict[str, Usage] = {
    "training": "train",
    "train": "train",
    "publictest": "validation",
    "validation": "validation",
    "val": "validation",
    "privatetest": "test",
    "test": "test",
}
COLUMNS = ("emotion", "pixels", "usage")
BROKEN = (*UNREADABLE, csv.Error, DataError)
SIDE = 48


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each picture of `<train or test>/<class>/` and each row of a CSV file; the public test set is the validation set."""
    for entry in entries:
        if entry.suffix in IMAGES:
            yield _picture(entry)
        elif entry.suffix == ".csv":
            try:
                yield from rows(entry)
            except BROKEN as error:
                yield Refused(entry.origin, f"is not a CSV file in UTF-8: {error}")
        else:
            yield Passed(entry.origin, "neither a picture nor a CSV file")


def _picture(entry: Entry) -> Item:
    folder = entry.folder(2)
    usage = USAGES.get(entry.stem.partition("_")[0].lower()) or USAGES.get(folder.lower())
    if usage is None:
        return Refused(entry.origin, "lies in no <train or test>/<class>/ folder")
    name = "/".join(safe(part) for part in (folder, entry.folder(), entry.stem))
    return FoundStill(name, entry.folder(), usage, entry.origin, entry.read)


def rows(entry: Entry) -> Iterator[FoundStill | Refused]:
    """Yield each row of a CSV file, in order; raise one of `BROKEN` where the file cannot be read."""
    with lines(entry) as text:
        table = csv.reader(text)
        header = [column.strip().lower() for column in next(table, [])]
        if absent := [column for column in COLUMNS if column not in header]:
            yield Refused(entry.origin, f"has no column {', '.join(absent)}; expected emotion, pixels, Usage")
            return
        places = [header.index(column) for column in COLUMNS]
        for number, row in enumerate(table, start=1):
            yield _row(row, places, number, f"{entry.origin}:{table.line_num}")


def _row(row: list[str], places: list[int], number: int, origin: str) -> FoundStill | Refused:
    if len(row) <= max(places):
        return Refused(origin, "is cut off")
    emotion, pixels, usage = (row[place].strip() for place in places)
    if usage.lower() not in USAGES:
        return Refused(origin, f"Usage {usage!r} is unknown; expected Training, PublicTest or PrivateTest")
    if emotion not in "0123456" or len(emotion) != 1:
        return Refused(origin, f"emotion {emotion!r} is not between 0 and 6")
    data = _png(pixels)
    if data is None:
        return Refused(origin, f"pixels are not {SIDE * SIDE} values from 0 to 255")
    return FoundStill(f"{number:05}", EMOTIONS[int(emotion)], USAGES[usage.lower()], origin, lambda: data)


def _png(pixels: str) -> bytes | None:
    import cv2
    import numpy as np

    if not (pixels.isascii() and pixels.replace(" ", "").isdigit()):
        return None
    values = np.fromstring(pixels, np.int64, sep=" ")  # three times as fast as int() on each
    if len(values) != SIDE * SIDE or values.max() > 255:
        return None
    return bytes(cv2.imencode(".png", values.astype(np.uint8).reshape(SIDE, SIDE))[1])
