"""A timeline's segments as subtitles: SRT and VTT."""

from pathlib import Path

from vfer.files import write_bytes
from vfer.predict.timeline.timeline import Timeline


def write(path: Path, timeline: Timeline) -> None:
    """Write the segments as subtitles, in the format that the name's ending says."""
    import pysubs2

    subtitles = pysubs2.SSAFile()
    for one in timeline.segments:
        text = f"{one.person}: {one.answer} ({one.confidence:.0%})"
        subtitles.append(pysubs2.SSAEvent(start=round(1000 * one.start), end=round(1000 * one.end), text=text))
    kind = path.suffix[1:].lower()
    content = subtitles.to_string(kind)
    if kind == "vtt":
        note = f"NOTE\n{timeline.provenance['model']}\n{timeline.provenance['notice']}\n"
        content = content.replace("WEBVTT\n", f"WEBVTT\n\n{note}", 1)
    write_bytes(path, content.encode())
