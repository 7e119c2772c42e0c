"""Add found clips to `clips/` and `clips.csv`."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from vfer.data.catalogue import manifest, places
from vfer.data.catalogue.manifest import SAMPLE, Clip
from vfer.data.readers import tables
from vfer.data.readers.expressions import expression
from vfer.data.readers.items import FoundClip, check_word, readable, safe
from vfer.data.readers.outcome import Outcome, ReadOptions
from vfer.data.readers.sequences import Pictures
from vfer.data.readers.video import probe
from vfer.data.tables.tool import tool_of
from vfer.errors import DataError


class ClipIntake:
    """Copies clips one by one; their rows are written at the end, in `commit`, and those of the sample give way."""

    def __init__(self, data: Path, incoming: Path, options: ReadOptions, outcome: Outcome) -> None:
        self.options = options
        self.data, self.incoming, self.outcome = data, incoming, outcome
        self.path = data / manifest.FILE
        clips = manifest.read(self.path) if self.path.exists() else []
        self.clips = {clip.clip: clip for clip in clips if clip.source != SAMPLE}
        outcome.sample += len(clips) - len(self.clips)
        self.origins: dict[str, str] = {}
        self.digests: dict[str, bytes] = {}
        self.sizes: dict[int, list[str]] = {}
        self.stems: dict[str, list[Clip]] = {}
        for clip in self.clips.values():
            if (data / clip.path).is_file():
                self.sizes.setdefault((data / clip.path).stat().st_size, []).append(clip.clip)
            if not tool_of(clip.path):
                self.stems.setdefault(Path(clip.path).stem, []).append(clip)

    def take(self, item: FoundClip) -> None:
        """Add one clip; raise `DataError` or `ClipError` if it must be refused."""
        if item.origin in self.origins:
            raise DataError(f"is given twice, first as clip {self.origins[item.origin]}")
        clip = self._row(item)
        temporary = self.incoming / f"clip{item.suffix}"
        self._save(item, temporary)
        if tool := tool_of(item.suffix):
            tables.check(temporary, tool)
        else:
            probe(temporary)
        digest = _digest(temporary)
        clip = self._joined(clip, temporary.stat().st_size, digest)
        if clip.clip in self.clips and (self.data / self.clips[clip.clip].path).is_file():
            self._again(clip, digest)
        else:
            self._add(clip, temporary, digest)
        self.origins[item.origin] = clip.clip
        if any("\udc80" <= letter <= "\udcff" for letter in item.origin):
            self.outcome.odd.append((item.origin, clip.clip))

    def _save(self, item: FoundClip, path: Path) -> None:
        pictures = isinstance(item.save, Pictures) and self.options.fps
        (replace(item.save, rate=self.options.fps) if pictures else item.save)(path)  # type: ignore[type-var]

    def commit(self) -> None:
        """Write the manifest and the places of whoever is new, then removes the sample's files."""
        if self.clips:
            manifest.write(self.path, self.clips.values())
            places.update(self.data, self.clips.values(), dropped=SAMPLE)
        else:
            for path in (self.path, self.data / places.FILE):
                path.unlink(missing_ok=True)
        shutil.rmtree(self.data / "clips" / SAMPLE, ignore_errors=True)

    def _row(self, item: FoundClip) -> Clip:
        source = item.source or self.options.source
        check_word(source)
        if source == SAMPLE:
            raise DataError(f"source {SAMPLE!r} is reserved for the embedded sample; use another")
        clip = f"{source}/{item.name}"
        if not manifest.NAME.fullmatch(clip):
            raise DataError(f"clip {clip!r} is not a safe name; use letters, digits, '.', '_', '-' and '/'")
        if twin := self._twin(item):
            return replace(twin, clip=clip, path=f"clips/{clip}{item.suffix}", source=source, framing="scene")
        try:
            word = expression(item.expression, self.options.expressions)
        except DataError as error:
            raise DataError(f"no clip in {self.path} is named {item.twin}, and {error}" if item.twin else str(error)) from error
        framing = item.framing or self.options.framing
        subject, recording = (manifest.full_name(source, readable(name)) for name in (item.subject, item.recording or clip))
        return Clip(clip, f"clips/{clip}{item.suffix}", word, subject, recording, source, framing)

    def _twin(self, item: FoundClip) -> Clip | None:
        """Return the clip that says what a feature table shows; None if its own name does.

        Raises:
            DataError: If nothing says it, or several clips say different things.
        """
        twins = self.stems.get(safe(item.twin), []) if item.twin else []
        if len({(twin.expression, twin.subject) for twin in twins}) == 1:
            return twins[0]
        if item.expression:
            return None
        if twins:
            raise DataError(f"could belong to several clips: {', '.join(twin.clip for twin in twins)}; give a manifest")
        raise DataError(
            f"no clip in {self.path} is named {item.twin}, and neither its name nor its folder says what it shows; give a manifest"
        )

    def _joined(self, clip: Clip, size: int, digest: bytes) -> Clip:
        """Return the clip as of the recording and subject of an identical one.

        Raises:
            DataError: If that one has another label.
        """
        twin = next((self.clips[name] for name in self.sizes.get(size, ()) if name != clip.clip and self._digest_of(name) == digest), None)
        if twin is None:
            return clip
        if twin.expression != clip.expression:
            raise DataError(f"has the bytes of clip {twin.clip}, which is labelled {twin.expression}, not {clip.expression}; correct one")
        if clip.clip not in self.clips:
            self.outcome.identical.append((clip.clip, twin.clip))
        return replace(clip, recording=twin.recording, subject=twin.subject)

    def _again(self, clip: Clip, digest: bytes) -> None:
        standing = self.clips[clip.clip]
        if self._digest_of(standing.clip) != digest:
            first = next((origin for origin, name in self.origins.items() if name == clip.clip), str(self.data / standing.path))
            raise DataError(
                f"clip {clip.clip} already exists with other bytes, from {first}; rename one, or give this one another --source"
            )
        if standing != clip:
            raise DataError(
                f"clip {clip.clip} already exists as {standing.expression} of {standing.subject}; change its row in {self.path}"
            )
        self.outcome.there += 1

    def _add(self, clip: Clip, temporary: Path, digest: bytes) -> None:
        size = temporary.stat().st_size
        target = self.data / clip.path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(target)
        self.sizes.setdefault(size, []).append(clip.clip)
        self.digests[clip.clip] = digest
        self.clips[clip.clip] = clip
        self.outcome.clips.append(clip)

    def _digest_of(self, name: str) -> bytes:
        if name not in self.digests:
            self.digests[name] = _digest(self.data / self.clips[name].path)
        return self.digests[name]


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()
