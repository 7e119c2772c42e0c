"""Everybody in a video through time: against rendered films with known truth, and the files that other tools read."""

import csv
import json
import re
import tracemalloc
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pysubs2
import pytest
from numpy.typing import NDArray
from pympi import Elan, Praat
from test_predict import schema_columns
from typer.testing import CliRunner

import vfer
from benchmarks import films
from benchmarks.films import Act, Film, Role, Truth
from vfer.cli.app import app
from vfer.faces.likeness import SearchedFrame
from vfer.faces.track import iou
from vfer.lstm.baseline import identity
from vfer.predict import formats
from vfer.predict.baselines import BaselineSource
from vfer.predict.prediction import UNCERTAIN
from vfer.predict.timeline import observe
from vfer.predict.timeline import people as persons
from vfer.predict.timeline.observe import Observation
from vfer.predict.timeline.segments import Segment, Segmenter
from vfer.predict.timeline.spool import Spool
from vfer.predict.timeline.timeline import NOTICE, Timeline, TimelineRow
from vfer.predict.timeline.tracking import Linker, follow
from vfer.predict.timeline.windows import FrameAnswer, Stretch
from vfer.register.settings import Windows
from vfer.video import decode

HOME = Path(__file__).resolve().parents[1]
SIZE, FPS = (320, 240), 12


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Truth]]:
    """A film of two shots, 3 s of two people and 1.5 s of the second of them alone."""
    rng = np.random.default_rng(0)

    def path(seconds: float, home: float) -> NDArray[np.float64]:
        return films.walk(rng, round(seconds * FPS), FPS, SIZE, 30, home, 0.4)

    first = [Role(1, path(3, 0.27), 30, [Act(0.5, 2, "happy")]), Role(2, path(3, 0.73), 31, [Act(1, 2, "sad")])]
    output = Film(SIZE, FPS, [first, [Role(2, path(1.5, 0.5), 36, [])]], 4)
    folder = tmp_path_factory.mktemp("film")
    return folder / "zwei Köpfe.mp4", output.render(folder / "zwei Köpfe.mp4")


@pytest.fixture(scope="module")
def recogniser() -> vfer.Recogniser:
    return vfer.load("shipped")


@pytest.fixture(scope="module")
def timeline(film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser) -> Timeline:
    return recogniser.timeline(film[0], vfer.TimelineOptions(pictures=True))


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VFER_WORKERS", "1")
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["timeline", *map(str, arguments)])


def everything(timeline: Timeline) -> list[tuple[object, ...]]:
    return [
        (row.frame, row.time, row.person, row.status, *(() if row.smooth is None or row.box is None else (*row.box, *row.smooth)))
        for row in timeline.rows
    ]


def test_people_are_followed_and_cuts_are_where_they_are(film: tuple[Path, list[Truth]], timeline: Timeline) -> None:
    _, truth = film
    at: dict[int, list[Truth]] = defaultdict(list)
    for one in truth:
        at[one.frame].append(one)
    actors: dict[str, set[int]] = defaultdict(set)
    for row in timeline.rows:
        assert row.shot == at[row.frame][0].shot
        assert row.time == pytest.approx(row.frame / FPS, abs=1e-3)
        assert row.box is not None
        overlaps = [float(iou(row.box[None], np.array([one.box], np.float32))[0, 0]) for one in at[row.frame]]
        assert max(overlaps) > 0.5
        actors[str(row.person)].add(at[row.frame][int(np.argmax(overlaps))].actor)
    assert dict(actors) == {"P1": {1}, "P2": {2}, "P3": {2}}, "who comes back in another shot is not recognised unless asked"
    assert len(list(timeline.rows)) == 2 * 30 + 15
    assert timeline.decoded == 54
    assert [one.shots for one in timeline.people] == [1, 1, 1]


def test_people_are_recognised_across_shots_where_asked(film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser) -> None:
    result = recogniser.timeline(film[0], vfer.TimelineOptions(recognise=True))
    assert [(one.name, one.shots) for one in result.people] == [("P1", 1), ("P2", 2)]


def test_the_same_video_gives_the_same_timeline(film: tuple[Path, list[Truth]], timeline: Timeline, recogniser: vfer.Recogniser) -> None:
    assert everything(recogniser.timeline(film[0])) == everything(timeline)


def test_answers_are_those_that_a_clip_gets(film: tuple[Path, list[Truth]], timeline: Timeline, recogniser: vfer.Recogniser) -> None:
    rows = [row.raw for row in timeline.rows if row.person == "P3" and row.raw is not None]
    answer = recogniser.predict(film[0], span=vfer.Span(3.0))
    assert np.mean(rows, axis=0) == pytest.approx(np.array(list(answer.probabilities.values())), abs=0.05)


def test_a_part_of_a_video_has_the_times_of_the_whole(film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser) -> None:
    result = recogniser.timeline(film[0], vfer.TimelineOptions(vfer.Span(3.2, 4.0)))
    times = [row.time for row in result.rows]
    assert 3.2 <= times[0] < 3.4
    assert 3.8 < times[-1] < 4.0
    assert [one.name for one in result.people] == ["P1"]


def test_a_video_of_face_crops_is_one_person(recogniser: vfer.Recogniser, tmp_path: Path) -> None:
    Film((64, 64), 10, [[Role(1, np.full((12, 2), 32.0), 30, [])]], 0).render(tmp_path / "face.mp4")
    result = recogniser.timeline(tmp_path / "face.mp4", vfer.TimelineOptions(framing="face"))
    assert {(row.person, row.status) for row in result.rows} == {("P1", "given")}
    assert len(list(result.rows)) == 12


def test_a_video_without_faces_has_a_row_a_frame_and_empty_files(recogniser: vfer.Recogniser, tmp_path: Path) -> None:
    Film((96, 64), 10, [[Role(1, np.full((8, 2), -900.0), 20, [])]], 0).render(tmp_path / "nobody.mp4")
    result = recogniser.timeline(tmp_path / "nobody.mp4")
    assert [(row.person, row.status, row.frame) for row in result.rows] == [(None, "none", number) for number in range(8)]
    for name, kind in formats.FORMATS.items():
        kind.write(tmp_path / f"x{kind.ending}", result)
        assert (tmp_path / f"x{kind.ending}").stat().st_size or name == "srt"


# ---- tracking ----------------------------------------------------------------------------------------------------------------------


def searched_frame(frame: int, *middles: float) -> SearchedFrame:
    boxes = np.array([[x - 10, 0, x + 10, 20, 0.9] for x in middles], np.float32).reshape(-1, 5)
    return SearchedFrame(frame, frame / 25, np.zeros((1, 1), np.uint8), boxes, tracked=False)


def link(frames: list[SearchedFrame], gap: float = 0.5) -> list[dict[int, float]]:
    """Return the middle of each track in each frame."""
    tracks = follow(((one, True) for one in frames), Linker(0, gap), gap)
    return [{number: float(place.box[0] + 10) for number, place in faces.places} for faces in tracks]


def test_faces_that_pass_each_other_unseen_keep_their_tracks() -> None:
    """Where both are lost while they cross, only their velocity tells who is who afterwards."""
    frames = [searched_frame(i, *(() if 7 <= i <= 13 else (4.0 * i, 84.0 - 4 * i))) for i in range(21)]
    tracks = link(frames)
    assert all(set(one) == {0, 1} for one in tracks)
    assert [round(one[0]) for one in tracks] == [4 * i for i in range(21)]


def test_a_gap_is_bridged_up_to_its_limit_and_not_beyond() -> None:
    short = link([searched_frame(i, *(() if 5 <= i < 15 else (50.0,))) for i in range(20)])
    assert [set(one) for one in short] == [{0}] * 20
    long = link([searched_frame(i, *(() if 5 <= i < 25 else (50.0,))) for i in range(30)])
    assert [set(one) for one in long] == [{0}] * 5 + [set()] * 20 + [{1}] * 5


def test_tracks_are_numbered_by_time_and_then_from_left_to_right() -> None:
    assert link([searched_frame(0, 90.0, 20.0), searched_frame(1, 20.0, 90.0, 150.0)]) == [{0: 20.0, 1: 90.0}, {0: 20.0, 1: 90.0, 2: 150.0}]


# ---- windows and segments ----------------------------------------------------------------------------------------------------------


def observations(times: NDArray[np.float64]) -> list[Observation]:
    return [Observation(i, float(time), 0, 0, "detected", embedding=np.array([time], np.float32)) for i, time in enumerate(times)]


def answers(frames: list[Observation], length: float, hop: float, *, single: bool = False) -> list[FrameAnswer]:
    """Answer each window by the mean time of its frames, so that an answer says where it comes from."""

    def mean_time(windows: Any) -> NDArray[np.float32]:
        return np.array([[np.mean([one.time for one in window]), len(window)] for window in windows], np.float32)

    stretch = Stretch(mean_time, Windows(length=length, hop=hop), single=single)
    return [one for frame in frames for one in stretch.add(frame)] + list(stretch.end())


@pytest.mark.parametrize("single", [True, False])
def test_answers_do_not_hang_on_how_many_frames_are_gathered(single: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = observations(np.arange(400) / 10)
    whole = answers(frames, 2.0, 0.2, single=single)
    monkeypatch.setattr("vfer.predict.timeline.windows.AHEAD", 7)
    parts = answers(frames, 2.0, 0.2, single=single)
    assert [one.observation.frame for one in parts] == list(range(400))
    np.testing.assert_allclose([one.smooth for one in parts], [one.smooth for one in whole], rtol=1e-5)
    np.testing.assert_array_equal([one.raw for one in parts], [one.raw for one in whole])


def test_the_window_nearest_to_a_frame_answers_for_it() -> None:
    frame_answers = answers(observations(np.arange(100) / 10), 2.0, 0.2)
    assert all(abs(one.raw[0] - one.observation.time) <= 0.11 for one in frame_answers[10:-10])
    assert all(one.raw[1] == 21 for one in frame_answers), "every window is full, also at the ends"
    assert all(abs(one.smooth[0] - one.observation.time) < 0.05 for one in frame_answers[20:-20])


def test_few_frames_are_one_window_and_gaps_are_no_frames() -> None:
    assert [one.raw.tolist() for one in answers(observations(np.arange(3) / 10), 2.0, 0.2)] == [[pytest.approx(0.1), 3]] * 3
    times = np.concatenate([np.arange(10), np.arange(60, 80)]) / 10
    frame_answers = answers(observations(times), 1.0, 0.2)
    assert [one.observation.time for one in frame_answers] == times.tolist()
    assert all(abs(one.raw[0] - one.observation.time) <= 0.6 for one in frame_answers)


def segments_of(labels: str, threshold: float = 0.0, rate: int = 10) -> list[Segment]:
    """Return the segments of frames that each show one of a, b and c surely, or, as a capital, hardly more than a."""
    segmenter = Segmenter("P1", 0, ["a", "b", "c"], threshold, 1 / rate, 0.5)
    segments: list[Segment] = []
    for number, letter in enumerate(labels):
        if letter != " ":
            shares = np.full(3, 0.1, np.float32)
            shares["abc".index(letter.lower())] = 0.8 if letter.islower() else 0.48
            shares[0] = max(shares[0], 0.45 if letter.isupper() else 0)
            segments += segmenter.add(number / rate, shares, ["small"] if letter == "c" else [])
    return segments + list(segmenter.finish())


def test_segments_follow_the_frames_but_for_flickers() -> None:
    segments = segments_of("aaaaabbbbbbaabbbbbcccccc")
    assert [(one.expression, one.start, one.end) for one in segments] == [
        ("a", 0.0, 0.5), ("b", 0.5, pytest.approx(1.8)), ("c", pytest.approx(1.8), pytest.approx(2.4))
    ]  # fmt: skip
    assert [one.flags for one in segments] == [(), (), ("small",)]
    assert [(one.expression, one.end) for one in segments_of("aaaaaBBBBBaaa")] == [("a", pytest.approx(1.3))], "a tie is not a change"
    assert [(one.start, one.end) for one in segments_of("aaaa         aaaa")] == [(0.0, 0.4), (1.3, pytest.approx(1.7))]
    assert [one.expression for one in segments_of("abbbbbb")] == ["b"], "a brief beginning goes to what follows"
    assert [one.answer for one in segments_of("aaaa", threshold=0.9)] == [UNCERTAIN]


@pytest.mark.parametrize("seed", range(5))
def test_segments_touch_and_never_overlap(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = "".join(rng.choice(list("abcBC "), 300))
    segments = segments_of(labels)
    assert all(one.end <= other.start + 1e-9 for one, other in pairwise(segments))
    assert all(one.start < one.end for one in segments)
    seconds = sum(one.end - one.start for one in segments)
    assert seconds >= 0.1 * (300 - labels.count(" ")) - 1e-6


# ---- people --------------------------------------------------------------------------------------------------------------------------


def test_people_can_be_named_merged_and_ignored(film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser, timeline: Timeline) -> None:
    path = Path("people.csv")
    persons.write(path, timeline.people)
    text = path.read_text().replace("P1,P1,,", "P1,Zoë,,").replace("P2,P2,,", "P2,Bob,,").replace("P3,P3,,", "P3,Bob,,")
    path.write_text(text)
    result = recogniser.with_rates(fps=4).timeline(film[0], vfer.TimelineOptions(entries=persons.read(path)))
    assert {row.person for row in result.rows} == {"Zoë", "Bob"}
    assert {row.shot for row in result.rows if row.person == "Bob"} == {0, 1}
    path.write_text(text.replace("Zoë,,", "Zoë,yes,"))
    assert {row.person for row in recogniser.timeline(film[0], vfer.TimelineOptions(entries=persons.read(path))).rows} == {"Bob"}
    entries = persons.read(path)
    part = recogniser.timeline(film[0], vfer.TimelineOptions(vfer.Span(3.0), entries=entries))
    assert [one.name for one in part.unseen] == ["Zoë", "Bob"]
    persons.write(path, part.people, part.unseen)
    assert sorted((one.name, one.ignore) for one in persons.read(path)) == [("Bob", False), ("Bob", False), ("Zoë", True)]


@pytest.mark.parametrize(
    ("content", "part"), [("a,b\n", "has no column name"), ("person,name,at,x0,y0,x1,y1\nP1,x,a,0,0,1,1\n", "must be numbers")]
)
def test_a_damaged_list_of_people_is_one_line(content: str, part: str) -> None:
    Path("people.csv").write_text(content)
    with pytest.raises(vfer.VferError, match=part):
        persons.read(Path("people.csv"))


# ---- baselines -----------------------------------------------------------------------------------------------------------------------


def test_answers_with_and_without_the_persons_own_baseline_are_kept(
    film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser, timeline: Timeline, tmp_path: Path
) -> None:
    plain = {(row.frame, row.person): row.smooth for row in timeline.rows}
    cases = [
        (BaselineSource(), {"P1", "P2", "P3"}),
        (BaselineSource(vfer.Span(0, 0.5)), {"P1", "P2"}),
        (BaselineSource(files={"P1": film[0]}), {"P1"}),
    ]
    for source, people in cases:
        result = recogniser.timeline(film[0], vfer.TimelineOptions(baseline=source))
        for row in result.rows:
            assert row.plain is not None
            np.testing.assert_allclose(row.plain[1], plain[row.frame, row.person], atol=1e-6)
        differences = [
            row for row in result.rows if row.plain and row.smooth is not None and np.abs(row.smooth - row.plain[1]).max() > 1e-4
        ]
        assert {row.person for row in differences} == set(result.with_baseline) == people
        formats.FORMATS["csv"].write(tmp_path / "x.csv", result)
        with (tmp_path / "x.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["baseline"] for row in rows if row["person"] == "P1"} == {"True"}
        assert all(row["plain_expression"] in result.classes for row in rows)


def test_a_baseline_that_changes_nothing_gives_the_plain_answers(recogniser: vfer.Recogniser, film: tuple[Path, list[Truth]]) -> None:
    recognition = recogniser.recognise(film[0], span=vfer.Span(3.0))
    answer = recogniser.answer("x", recognition, (identity(recogniser.answerer.reference()), "nothing"))
    assert answer.probabilities == pytest.approx(dict(answer.plain), abs=0.02), "the head takes the mean over looks before the softmax"


# ---- files ---------------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, timeline: Timeline) -> Path:
    output = tmp_path_factory.mktemp("files")
    for kind in formats.FORMATS.values():
        kind.write(output / f"film{kind.ending}", timeline)
    return output


def column_names(columns: list[str], classes: list[str]) -> Iterator[str]:
    for column in columns:
        yield from [column.replace("<class>", name) for name in classes] if "<class>" in column else [column]


def test_the_tables_are_as_documented(folder: Path, timeline: Timeline) -> None:
    table = pq.read_table(folder / "film.frames.parquet")
    columns = list(column_names(schema_columns("Frames"), timeline.classes))
    assert [name for name in columns if not name.startswith("plain_") and name != "baseline"] == table.column_names
    with (folder / "film.frames.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == table.column_names
    assert len(rows) == table.num_rows == len(list(timeline.rows))
    provenance = json.loads(table.schema.metadata[b"vfer"])
    assert provenance == json.loads((folder / "film.provenance.json").read_text()) == json.loads(json.dumps(timeline.provenance))
    assert sorted(schema_columns("Provenance")) == sorted({*provenance, "baseline", "people_sha256"})
    with (folder / "film.segments.csv").open(newline="", encoding="utf-8") as stream:
        segments = list(csv.DictReader(stream))
    assert list(segments[0]) == schema_columns("Segments")
    persons.write(folder / "people.csv", timeline.people)
    assert (folder / "people.csv").read_text().splitlines()[0].split(",") == schema_columns("People")


def test_boxes_and_probabilities_survive_the_tables(folder: Path, timeline: Timeline) -> None:
    table = pq.read_table(folder / "film.frames.parquet").to_pylist()
    for record, row in zip(table, timeline.rows, strict=True):
        assert row.box is not None
        assert row.smooth is not None
        assert [record[name] for name in ("x0", "y0", "x1", "y1")] == pytest.approx(row.box.tolist(), abs=0.01)
        assert [record[f"p_{name}_smooth"] for name in timeline.classes] == pytest.approx(row.smooth.tolist(), abs=1e-4)


def test_elan_and_praat_read_the_segments(folder: Path, film: tuple[Path, list[Truth]], timeline: Timeline) -> None:
    eaf = Elan.Eaf(str(folder / "film.eaf"))
    assert list(eaf.get_tier_names()) == ["P1", "P2", "P3"]
    by_person = {
        name: [(one.start, one.end, one.answer) for one in timeline.segments if one.person == name] for name in eaf.get_tier_names()
    }
    for name, segments in by_person.items():
        annotations = eaf.get_annotation_data_for_tier(name)
        assert [one[2] for one in annotations] == [one[2] for one in segments]
        assert [one[0] / 1000 for one in annotations] == pytest.approx([one[0] for one in segments], abs=1e-3)
    assert Path(folder / eaf.get_linked_files()[0]["RELATIVE_MEDIA_URL"].replace("%20", " ").replace("%C3%B6", "ö")).resolve() == film[0]
    grid = Praat.TextGrid(str(folder / "film.TextGrid"), codec="utf-8")
    assert [name for _, name in grid.get_tier_name_num()] == list(by_person)
    intervals = [(round(start, 6), round(end, 6), text) for start, end, text in grid.get_tier("P1").get_intervals() if text]
    assert intervals == [(round(start, 6), round(end, 6), text) for start, end, text in by_person["P1"]]


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_subtitles_say_who_shows_what(kind: str, folder: Path, timeline: Timeline) -> None:
    parts = pysubs2.load(str(folder / f"film.{kind}"), encoding="utf-8")
    assert [(round(1000 * one.start), one.person) for one in timeline.segments] == [
        (one.start, one.text.partition(":")[0]) for one in parts
    ]


def test_label_studio_has_a_moving_box_a_segment(folder: Path, timeline: Timeline) -> None:
    [task] = json.loads((folder / "film.labelstudio.json").read_text())
    results = task["predictions"][0]["result"]
    assert len(results) == len(timeline.segments)
    config = (folder / "film.labelstudio.xml").read_text()
    for result, segment in zip(results, timeline.segments, strict=True):
        assert result["meta"]["text"] == [segment.person]
        [label] = result["value"]["labels"]
        assert f'value="{label}"' in config
        first, *_, last = result["value"]["sequence"]
        assert (first["time"], last["time"]) == pytest.approx((segment.start, segment.end), abs=0.3)
        assert (first["enabled"], last["enabled"]) == (True, False)
        assert all(0 <= one["x"] <= 100 and 0 < one["width"] < 100 for one in result["value"]["sequence"])


def repeat(timeline: Timeline, times: int) -> Timeline:
    """The timeline of a film that is shown so many times over."""
    period, rows = timeline.seconds + 1, Spool[TimelineRow]()
    for number in range(times):
        for row in timeline.rows:
            rows.add(replace(row, time=row.time + number * period))
    segments = [
        replace(one, start=one.start + number * period, end=one.end + number * period, peak=one.peak + number * period)
        for number in range(times)
        for one in timeline.segments
    ]
    return replace(timeline, rows=rows, segments=segments, seconds=times * period)


@pytest.mark.parametrize("name", formats.FORMATS)
def test_the_files_of_a_long_film_are_not_held_whole(name: str, timeline: Timeline, tmp_path: Path) -> None:
    kind, peaks = formats.FORMATS[name], []
    path = tmp_path / f"film{kind.ending}"
    kind.write(path, timeline)  # what is imported and cached at first does not count
    for times in (40, 160):
        film = repeat(timeline, times)
        tracemalloc.start()
        try:
            kind.write(path, film)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 400 * 120 * len(list(timeline.rows))


def test_nothing_that_identifies_people_is_written(
    folder: Path, timeline: Timeline, tmp_path: Path, film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser
) -> None:
    for path in folder.iterdir():
        assert b"embedding" not in path.read_bytes().replace(b'"embedding"', b""), path.name
    assert "data:image/jpeg" in (folder / "film.html").read_text()
    formats.FORMATS["html"].write(tmp_path / "x.html", recogniser.timeline(film[0]))
    assert "data:image/jpeg" not in (tmp_path / "x.html").read_text()
    assert not [name for row in timeline.rows for name in vars(row) if "embed" in name]


@pytest.mark.parametrize("ending", [".frames.parquet", ".eaf", ".vtt", ".labelstudio.json", ".html", ".provenance.json"])
def test_the_notice_stands_in_the_files(ending: str, folder: Path) -> None:
    path = folder / f"film{ending}"
    content = str(pq.read_schema(path).metadata) if ending.endswith("parquet") else path.read_text()
    assert NOTICE in content


def test_the_same_timeline_gives_the_same_bytes(folder: Path, film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser) -> None:
    again = recogniser.timeline(film[0], vfer.TimelineOptions(pictures=True))
    for name, kind in formats.FORMATS.items():
        before = (folder / f"film{kind.ending}").read_bytes()
        kind.write(folder / f"film{kind.ending}", again)
        assert (folder / f"film{kind.ending}").read_bytes() == before, name


# ---- the command ---------------------------------------------------------------------------------------------------------------------


def test_the_command_writes_a_folder_and_goes_on_where_it_ended(film: tuple[Path, list[Truth]]) -> None:
    Path("bad.mp4").write_bytes(b"no video")
    first = run(film[0], "bad.mp4", "-o", "out")
    assert (first.exit_code, "bad.mp4: " in first.stdout) == (2, True), first.output
    endings = {path.name.removeprefix("zwei Köpfe") for path in Path("out").iterdir()}
    assert endings == {kind.ending for kind in formats.FORMATS.values()} | {".people.csv", ".labelstudio.xml"}
    assert re.search(r"0:00\.0 +0:0\d\.\d +P1 ", first.stdout)
    again = run(film[0], "-o", "out")
    assert (again.exit_code, "1 there already" in again.stderr) == (0, True)
    people_file = Path("out/zwei Köpfe.people.csv")
    people_file.write_text(people_file.read_text().replace("P1,P1,", "P1,Zoë,"))
    result = run(film[0], "-o", "out")
    assert "Zoë" in result.stdout
    assert "Zoë" in Path("out/zwei Köpfe.srt").read_text()
    assert run("bad.mp4", "none.mp4").exit_code == 1


def test_one_file_is_written_where_its_name_says_how(film: tuple[Path, list[Truth]]) -> None:
    for name in ("a.csv", "b.parquet", "c.eaf", "d.TextGrid", "e.srt", "f.vtt", "g.html", "h.json"):
        assert run(film[0], "-o", name, "--end", "0.5").exit_code == 0
        assert Path(name).stat().st_size
    assert Elan.Eaf("c.eaf").get_tier_names()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["-o", "x.csv"], "is one file, and there are 2 videos"),
        (["-o", "out", "--formats", "csv,doc"], "doc is unknown"),
        (["--baseline", "soon"], "is not a file"),
        (["--baseline", "0:09-0:03"], "ends before it begins"),
        (["--people", "none.csv"], "cannot be read"),
    ],
)
def test_arguments_that_make_no_sense_are_one_line(arguments: list[str], part: str, film: tuple[Path, list[Truth]]) -> None:
    Path("copy.mp4").write_bytes(film[0].read_bytes())
    outcome = run(film[0], "copy.mp4", *arguments)
    assert (outcome.exit_code, part in str(outcome.exception)) == (1, True), outcome.exception


def test_output_that_would_take_a_video_s_place_is_refused(film: tuple[Path, list[Truth]]) -> None:
    Path("x.html").write_bytes(film[0].read_bytes())
    assert "is a video that is read" in str(run("x.html", "-o", "x.html").exception)


def test_videos_of_one_name_get_files_of_their_own(film: tuple[Path, list[Truth]]) -> None:
    for name in ("a/x.mp4", "b/x.mp4", "b/y.mp4", "b/y.mkv"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(film[0].read_bytes())
    assert run("a", "b", "-o", "out", "--formats", "srt", "--end", "0.3").exit_code == 0
    assert sorted(path.name for path in Path("out").glob("*.srt")) == ["a-x.srt", "b-x.srt", "y.mkv.srt", "y.mp4.srt"]


def test_a_small_face_is_flagged(film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser) -> None:
    assert not [row for row in recogniser.timeline(film[0]).rows if row.flags]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vfer.predict.quality.SMALL", 500)
        assert {row.flags for row in recogniser.timeline(film[0], vfer.TimelineOptions(vfer.Span(3))).rows} == {("small",)}


def test_memory_does_not_grow_with_the_rows() -> None:
    """Rows that are spooled come back as they were, also where two readers take turns."""
    from vfer.predict.timeline.spool import ROWS, Spool

    spool: Spool[TimelineRow] = Spool()
    for number in range(3 * ROWS + 5):
        spool.add(TimelineRow(number, number / 10, 0))
    assert [(one.frame, other.frame) for one, other in zip(spool, spool, strict=True)] == [(i, i) for i in range(3 * ROWS + 5)]
    assert len(spool._rows) == 5


def test_observing_holds_only_a_few_seconds(film: tuple[Path, list[Truth]], recogniser: vfer.Recogniser) -> None:
    """Frames are decoded as they are needed: when the first rows come, the video is not yet read."""
    about = decode.probe(film[0])
    observer = recogniser.observer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(observe, "BATCH", 4)
        patch.setattr(observe, "AHEAD", 1)
        first = next(iter(observer.observations(film[0], replace(about))))
    assert first.frame == 0
    assert observer.decoded < 30
