"""RAVDESS (Livingstone and Russo, 2018): the official zips or folders of videos, at any depth."""

from collections.abc import Iterator, Sequence

from vfer.data.readers.items import Entry, FoundClip, Item, Passed, Refused

FIELDS = ("modality", "channel", "emotion", "intensity", "statement", "repetition", "actor")
HIGHEST = (3, 2, 8, 2, 2, 2, 24)
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield the audio-video (01) and video-only (02) files; one performance is published as both, and they share a recording."""
    for entry in entries:
        fields = entry.stem.split("-")
        if entry.suffix == ".wav" and fields[0] == "03":
            yield Passed(entry.origin, "audio only")
        elif entry.suffix != ".mp4":
            yield Passed(entry.origin, "no video")
        elif reason := _wrong(fields):
            yield Refused(entry.origin, f"{reason}; a RAVDESS name is {'-'.join(FIELDS)}.mp4")
        else:
            yield _clip(entry, fields)


def _clip(entry: Entry, fields: list[str]) -> FoundClip:
    return FoundClip(
        name=entry.stem,
        suffix=entry.suffix,
        expression=EMOTIONS[int(fields[2]) - 1],
        subject=f"ravdess/{fields[6]}",
        recording=f"ravdess/{'-'.join(fields[1:])}",
        origin=entry.origin,
        save=entry.save,
    )


def _wrong(fields: list[str]) -> str | None:
    if len(fields) != len(FIELDS):
        return f"its name has {len(fields)} fields, not {len(FIELDS)}"
    for name, value, highest in zip(FIELDS, fields, HIGHEST, strict=True):
        if not (len(value) == 2 and value.isascii() and value.isdigit() and 1 <= int(value) <= highest):
            return f"{name} {value!r} is not between 01 and {highest:02}"
    return "modality 03 is audio only" if fields[0] == "03" else None
