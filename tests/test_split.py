"""The split of clips into train, validation and test, and the labels that it keeps alike."""

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import toys

from vfer.data.catalogue import places, split
from vfer.data.catalogue.audit import leakage
from vfer.data.catalogue.labels import LabelsParams, classes
from vfer.data.catalogue.manifest import Clip
from vfer.data.catalogue.places import Places
from vfer.data.catalogue.split import PARTS, SplitParams, SplitRow
from vfer.errors import DataError, ParamsError
from vfer.params import load

WHERE = Path("clips.csv")


def divide(clips: list[Clip], protocol: str, folds: int | str, fold: int = 0, seed: int = 7, known: Places | None = None) -> list[SplitRow]:
    params = SplitParams(protocol=protocol, folds=folds, fold=fold)  # type: ignore[arg-type]
    return split.split(clips, [clip.expression for clip in clips], params, seed, WHERE, known)


def of(rows: list[SplitRow], part: str, column: str) -> set[str]:
    return {getattr(row, column) for row in rows if row.part == part}


@pytest.mark.parametrize("fold", range(4))
def test_no_subject_stands_on_two_sides_of_a_subject_split(fold: int) -> None:
    rows = divide(toys.clips(11, 2, ("a", "b", "c"), twins=True), "subject", 4, fold)
    subjects = [of(rows, part, "subject") for part in PARTS]
    assert all(subjects)
    assert sum(map(len, subjects)) == 11


def test_a_random_split_of_ten_folds_gives_the_papers_shares_for_every_expression() -> None:
    clips = toys.clips(10, 10, ("a", "b", "c"))
    rows = divide(clips, "random", 10)
    counts = Counter((row.part, row.expression) for row in rows)
    assert counts == {(part, name): n for part, n in (("train", 80), ("validation", 10), ("test", 10)) for name in "abc"}


@pytest.mark.parametrize("fold", range(4))
def test_a_recording_split_keeps_twins_together_and_parts_subjects(fold: int) -> None:
    rows = divide(toys.clips(6, 3, ("a", "b"), twins=True), "recording", 4, fold)
    recordings = [of(rows, part, "recording") for part in PARTS]
    assert sum(map(len, recordings)) == len(set.union(*recordings)) == 36
    assert of(rows, "test", "subject") & of(rows, "train", "subject")
    shares = Counter((row.part, row.expression) for row in rows)
    assert all(abs(shares[part, "a"] - shares[part, "b"]) <= 4 for part in PARTS), "two recordings of two files"


def test_with_each_subject_as_a_fold_every_one_tests_alone_and_a_tenth_validates() -> None:
    clips = toys.clips(24, 1, ("a", "b"))
    assert split.fold_numbers(clips, SplitParams(protocol="subject", folds="each", fold=0)) == list(range(24))
    test_subjects, counts = [], Counter[str]()
    for fold in range(24):
        rows = divide(clips, "subject", "each", fold)
        assert len(of(rows, "test", "subject")) == 1
        assert len(of(rows, "validation", "subject")) == 2
        assert sum(len(of(rows, part, "subject")) for part in PARTS) == 24
        test_subjects += of(rows, "test", "subject")
        counts.update(of(rows, "validation", "subject"))
    assert sorted(test_subjects) == sorted({clip.subject for clip in clips})
    assert set(counts.values()) == {2}


def actors(numbers: Iterable[int]) -> list[Clip]:
    return [
        Clip(f"ravdess/{word}-{who:02}", f"{word}-{who:02}.mp4", word, f"ravdess/{who:02}", f"ravdess/{word}-{who:02}", "ravdess", "scene")
        for who in numbers
        for word in ("calm", "sad")
    ]


def test_the_published_folds_of_ravdess_are_the_published_ones() -> None:
    for fold, fold_actors in enumerate(split.PUBLISHED):
        rows = divide(actors(range(1, 25)), "subject", "ravdess", fold)
        assert of(rows, "test", "subject") == {f"ravdess/{actor:02}" for actor in fold_actors}
        assert of(rows, "validation", "subject") == {f"ravdess/{actor:02}" for actor in split.PUBLISHED[(fold + 1) % 5]}
    assert sorted(actor for fold in split.PUBLISHED for actor in fold) == list(range(1, 25))


def test_the_reason_names_what_is_kept_together_and_its_fold() -> None:
    clips = toys.clips(8, 2, twins=True)
    for protocol in ("random", "recording", "subject"):
        for row in divide(clips, protocol, 4, 1):
            group = row.clip if protocol == "random" else getattr(row, protocol)
            verb = {"train": "trains", "validation": "validates", "test": "tests"}[row.part]
            fold = {"test": "1", "validation": "2", "train": "[03]"}[row.part]
            assert re.fullmatch(f"{'clip' if protocol == 'random' else protocol} {group} is in fold {fold} of 4, which {verb}", row.reason)


def test_a_random_split_parts_twins() -> None:
    rows = divide(toys.clips(8, 2, twins=True), "random", 4)
    assert of(rows, "test", "recording") & of(rows, "train", "recording")
    assert of(rows, "test", "subject") & of(rows, "train", "subject")


@pytest.mark.parametrize("protocol", ["subject", "recording", "random"])
def test_the_split_depends_on_the_seed_and_not_on_the_order(protocol: str) -> None:
    clips = toys.clips(12, 3)
    first = divide(clips, protocol, 4)
    other_order = random.Random(0).sample(clips, len(clips))
    assert divide(other_order, protocol, 4) == first
    assert divide(clips, protocol, 4, seed=8) != first
    assert [row.clip for row in first] == sorted(clip.clip for clip in clips)


@pytest.mark.parametrize("protocol", ["subject", "recording", "random"])
def test_over_all_folds_each_clip_tests_once_and_validates_once(protocol: str) -> None:
    clips = toys.clips(9, 2)
    rows = [row for fold in range(3) for row in divide(clips, protocol, 3, fold)]
    for part in ("test", "validation"):
        assert Counter(row.clip for row in rows if row.part == part) == dict.fromkeys((clip.clip for clip in clips), 1)


@pytest.mark.parametrize("seed", range(6))
def test_with_as_many_subjects_as_folds_no_part_is_empty(seed: int) -> None:
    """Also where subjects differ much in their number of clips, and show only some of the expressions."""
    rng = np.random.default_rng(seed)
    clips = [
        Clip(f"toy/{subject}-{i}", f"{subject}-{i}.mp4", str(rng.choice(list("abc"))), f"toy/{subject}", f"toy/{subject}-{i}", "toy")
        for subject in range(5)
        for i in range(rng.integers(1, 12))
    ]
    for fold in range(5):
        assert {row.part for row in divide(clips, "subject", 5, fold, seed)} == set(PARTS)


def test_the_merged_expression_is_what_is_kept() -> None:
    clips = toys.clips(6, 1)
    rows = split.split(clips, ["one"] * len(clips), SplitParams(protocol="subject", folds=3, fold=0), 0, WHERE)
    assert {row.expression for row in rows} == {"one"}


@pytest.mark.parametrize(
    ("clips", "protocol", "message"),
    [
        (toys.clips(3, 2), "subject", "3 subjects cannot fill 4 folds; lower split.folds or add data"),
        (toys.clips(1, 1), "random", "2 clips cannot fill 4 folds"),
        (toys.clips(1, 1, twins=True), "recording", "2 recordings cannot fill 4 folds"),
    ],
)
def test_too_little_data_is_one_line(clips: list[Clip], protocol: str, message: str) -> None:
    check_refusal(clips, message, protocol, 4)


@pytest.mark.parametrize(
    ("clips", "folds", "fold", "message"),
    [
        (toys.clips(2, 2), "each", 0, "2 subjects are too few to test each alone"),
        (toys.clips(4, 2), "each", 4, "split.fold 4 does not exist; each gives the folds 0 to 3"),
        (actors(range(1, 25)), "ravdess", 5, "split.fold 5 does not exist; ravdess gives the folds 0 to 4"),
        (actors(range(1, 26)), "ravdess", 0, "subject ravdess/25 is none of RAVDESS's 24 actors"),
        (actors((1, 2, 3, 10)), "ravdess", 0, "no clip is of RAVDESS's actors 8, 17, 21, 23, 24; add them"),
    ],
)
def test_subjects_that_do_not_fit_the_folds_are_one_line(clips: list[Clip], folds: str, fold: int, message: str) -> None:
    check_refusal(clips, message, "subject", folds, fold)


def check_refusal(clips: list[Clip], message: str, *how: Any) -> None:
    with pytest.raises(DataError) as excinfo:
        divide(clips, *how)
    assert str(excinfo.value).startswith("clips.csv: ")
    assert message in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


@pytest.mark.parametrize(
    "section",
    [
        "{protocol: subject, folds: 4, fold: 4}",
        "{protocol: actor, folds: 4, fold: 0}",
        "{protocol: recording, folds: each, fold: 0}",
        "{protocol: subject, folds: all, fold: 0}",
    ],
)
def test_params_out_of_range_are_refused(section: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(f"split: {section}\n")
    with pytest.raises(ParamsError, match=r"params\.yaml: split"):
        load(file, "split", SplitParams)


def test_a_split_is_read_as_it_was_written(tmp_path: Path) -> None:
    rows = divide(toys.clips(6, 2), "subject", 3)
    for name in ("a.parquet", "b.parquet"):
        split.write(tmp_path / "new" / name, rows)
    assert split.read(tmp_path / "new" / "a.parquet") == rows
    assert (tmp_path / "new" / "a.parquet").read_bytes() == (tmp_path / "new" / "b.parquet").read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["a.parquet", "b.parquet"]


@pytest.mark.parametrize("damage", ["missing", "garbage", "other columns", "empty column"])
def test_a_damaged_split_is_one_line(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "split.parquet"
    if damage == "garbage":
        path.write_bytes(b"PAR1 no more")
    elif damage == "other columns":
        pq.write_table(pa.table({"clip": ["a"], "part": ["test"]}), path)
    elif damage == "empty column":
        names = split.SPLIT_SCHEMA.names
        pq.write_table(pa.table({name: pa.array([None if name == "part" else "a"], pa.string()) for name in names}), path)
    with pytest.raises(DataError, match="is not a readable split; run `dvc repro lstm`"):
        split.read(path)


def test_classes_are_sorted_or_as_listed_and_twice_named_ones_count_once() -> None:
    assert classes(["b", "a", "b", "c"], "all", WHERE) == ["a", "b", "c"]
    assert classes(["b", "a", "c"], ["c", "a", "c"], WHERE) == ["c", "a"]


def test_merging_renames_and_leaves_the_rest() -> None:
    labels = LabelsParams(stills="all", clips="all", merge={"neutral": "calm"})
    assert labels.merged(["neutral", "calm", "sad"]) == ["calm", "calm", "sad"]


@pytest.mark.parametrize(
    ("present", "selection", "message"),
    [
        (["a"], "all", "at least two expressions are needed, found a"),
        ([], "all", "found none"),
        (["a", "b"], ["a", "joy"], "nothing is labelled joy, which labels in params.yaml lists; found a, b"),
    ],
)
def test_classes_that_cannot_be_learned_are_refused(present: list[str], selection: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        classes(present, selection, WHERE)


def ravdess() -> list[Clip]:
    """RAVDESS's speech and song as the dataset has them: 2452 recordings of 24 actors, each published twice."""
    speech = [(word, level, s, t) for word in range(1, 9) for level in (1, 2) if (word, level) != (1, 2) for s in (1, 2) for t in (1, 2)]
    song = [(word, level, s, t) for word in range(1, 7) for level in (1, 2) if (word, level) != (1, 2) for s in (1, 2) for t in (1, 2)]
    clips = []
    for channel, takes in (("01", speech), ("02", song)):
        for actor in range(1, 25):
            if (channel, actor) == ("02", 18):  # she did not sing
                continue
            for word, level, statement, take in takes:
                name = f"{channel}-{word:02}-{level:02}-{statement:02}-{take:02}-{actor:02}"
                for modality in ("01", "02"):
                    clip = f"ravdess/{modality}-{name}"
                    clips.append(Clip(clip, f"{clip}.mp4", str(word), f"ravdess/{actor:02}", f"ravdess/{name}", "ravdess"))
    return clips


@pytest.mark.parametrize(
    ("protocol", "folds", "recording", "subject"), [("random", 10, 0.8, 1), ("recording", 10, 0, 1), ("subject", "ravdess", 0, 0)]
)
def test_what_each_protocol_promises_holds_on_all_of_ravdess(protocol: str, folds: int | str, recording: float, subject: float) -> None:
    """In the paper's random split four in five test clips have their twin in train, and one in ten in validation."""
    clips = ravdess()
    assert len(clips) == 4904
    rows = divide(clips, protocol, folds)
    assert len(rows) == 4904
    leaks = leakage(rows)
    in_train = {row.recording for row in rows if row.part == "train"}
    test = [row for row in rows if row.part == "test"]
    assert sum(row.recording in in_train for row in test) / len(test) == pytest.approx(recording, abs=0.05)
    assert leaks["subject"] == subject
    assert (leaks["recording"] > 0) == (recording > 0)
    shares = Counter((row.part, row.expression) for row in rows)
    for part in PARTS:
        size = sum(count for (of_part, _), count in shares.items() if of_part == part)
        for expression in {row.expression for row in rows}:
            whole = sum(row.expression == expression for row in rows) / len(rows)
            assert shares[part, expression] / size == pytest.approx(whole, abs=0.02)


def test_an_expression_that_a_part_lacks_is_told() -> None:
    rows = divide(toys.clips(6, 2, ("a", "b")), "subject", 3)
    assert split.absent(rows) == []
    some = [row for row in rows if (row.part, row.expression) not in (("train", "a"), ("test", "b"))]
    assert split.absent(some) == [
        "no clip of the part train shows a, which the model cannot learn",
        "no clip of the part test shows b, so that no figure tells how it does there",
    ]


def movers(before: list[SplitRow], after: list[SplitRow]) -> set[str]:
    """The clips of both that changed their part."""
    parts = {row.clip: row.part for row in before}
    return {row.clip for row in after if parts.get(row.clip, row.part) != row.part}


@pytest.mark.parametrize(("protocol", "folds"), [("subject", 10), ("subject", 4), ("recording", 10), ("random", 10)])
def test_what_comes_or_goes_moves_nobody_else(protocol: str, folds: int) -> None:
    """On all of RAVDESS's speech, 2,880 clips: a clip, a recording or a person less, and clips and people more."""
    clips = [clip for clip in ravdess() if clip.recording.startswith("ravdess/01")]
    assert len(clips) == 2880
    known = places.extended({}, clips)
    before = divide(clips, protocol, folds, 2, known=known)
    rng = np.random.default_rng(0)
    for _ in range(5):
        absentee = clips[int(rng.integers(len(clips)))]
        for column in ("clip", "recording", "subject"):
            others = [clip for clip in clips if getattr(clip, column) != getattr(absentee, column)]
            assert movers(before, divide(others, protocol, folds, 2, known=known)) == set()
    song = [clip for clip in ravdess() if clip.recording.startswith("ravdess/02")]
    newcomers = [replace(clip, clip=f"x/{clip.clip}", recording=f"x/{clip.recording}", subject=f"x/{clip.subject}") for clip in clips[::6]]
    more = clips + song + newcomers
    after = divide(more, protocol, folds, 2, known=places.extended(known, more))
    assert movers(before, after) == set()
    assert {row.part for row in after if row.subject.startswith("x/")} == set(PARTS)


def test_one_person_more_or_less_moves_only_neighbours_where_each_is_tested_alone() -> None:
    clips = toys.clips(24, 1)
    known = places.extended({}, clips)
    before = divide(clips, "subject", "each", 5, known=known)
    validating = sorted(of(before, "validation", "subject"))
    others = [clip for clip in clips if clip.subject != validating[0]]
    after = divide(others, "subject", "each", 5, known=known)
    assert {row.subject for row in after if row.clip in movers(before, after)} < of(after, "validation", "subject")
    assert of(after, "test", "subject") == of(before, "test", "subject")


def test_a_person_who_left_comes_back_to_the_same_place(tmp_path: Path) -> None:
    clips = toys.clips(9, 2)
    assert places.update(tmp_path, clips) == 9 + 36 + 36
    first = (tmp_path / "places.csv").read_bytes()
    assert places.update(tmp_path, clips[8:]) == 0
    assert places.update(tmp_path, clips) == 0
    assert (tmp_path / "places.csv").read_bytes() == first
    more = toys.clips(11, 2)
    assert places.update(tmp_path, more) == 2 + 8 + 8
    assert {name: place for name, place in places.read(tmp_path / "places.csv")["subject"].items() if place >= 9}.keys() == {
        "toy/s09",
        "toy/s10",
    }


@pytest.mark.parametrize("folds", [3, 5, 10])
def test_the_places_spread_people_who_differ_evenly_over_the_folds(folds: int) -> None:
    """People who differ in their number of clips, and some of whom alone show rare expressions, like those of CK+."""
    rng = np.random.default_rng(3)
    clips = []
    for subject in range(100):
        words = ["a", "b", *(word for word, share in (("c", 0.5), ("rare", 0.2)) if rng.random() < share)] * int(rng.integers(1, 4))
        clips += [Clip(f"t/{subject}-{i}", f"{subject}-{i}", word, f"t/{subject}", f"t/{subject}-{i}", "t") for i, word in enumerate(words)]
    total = Counter(clip.expression for clip in clips)
    for seed in range(5):
        for fold in range(folds):
            rows = divide(clips, "subject", folds, fold, seed)
            counts = Counter(row.expression for row in rows if row.part == "test")
            for word, count in total.items():
                assert counts[word] / count == pytest.approx(1 / folds, abs=0.75 / folds), (word, folds)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "does not exist; run `vfer data places`"),
        ("kind,name\n", "its columns are not kind, name, place; restore it with `dvc checkout`"),
        ("kind,name,place\nsubject,a,x\n", "places.csv:2: expected a kind (subject, recording, clip), a name and a number"),
        ("kind,name,place\nactor,a,1\n", "places.csv:2: expected a kind"),
        ("kind,name,place\nsubject,a,1\nclip,a,1\nsubject,b,1\n", "places.csv:4: subject b or place 1 appears twice"),
        ("kind,name,place\nsubject,a\n", "places.csv:2: expected a kind"),
    ],
)
def test_damaged_places_are_one_line(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "places.csv").write_text(text)
    with pytest.raises(DataError) as excinfo:
        places.read(tmp_path / "places.csv")
    assert message in str(excinfo.value)
    assert "\n" not in str(excinfo.value)


def test_a_fold_that_lost_everybody_is_one_line() -> None:
    clips = toys.clips(8, 1)
    known = places.extended({}, clips)
    subjects = of(divide(clips, "subject", 4, 1, known=known), "test", "subject")
    with pytest.raises(
        DataError, match=r"fold 1 of 4 has lost all its subjects; lower split\.folds, choose another seed, or .*places --again"
    ):
        divide([clip for clip in clips if clip.subject not in subjects], "subject", 4, 1, known=known)
