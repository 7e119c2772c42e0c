"""From the table of stills to what the CNN learns: classes, votes, and photos that validation or test shows too."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from vfer.cnn.data import StillPart, load
from vfer.data.catalogue import stills
from vfer.data.catalogue.labels import LabelsParams
from vfer.errors import DataError

WHERE = Path("data/stills.parquet")
USAGES = stills.USAGES
Votes = Sequence[tuple[str, int]] | None


def photo(seed: int) -> NDArray[np.uint8]:
    """A picture that looks like that of no other seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (48, 48), interpolation=cv2.INTER_CUBIC), np.uint8)


def row(
    name: str, expression: str, usage: str = "train", seed: int | None = None, votes: Votes = None, **other: object
) -> dict[str, object]:
    pixels = photo(sum(map(ord, name)) * 1000 + len(name) if seed is None else seed)
    image = bytes(cv2.imencode(".png", pixels)[1])
    still = {"still": name, "expression": expression, "usage": usage, "source": "a", "subject": None, "image": image, "votes": votes}
    return still | other


def table(*rows: dict[str, object]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), stills.SCHEMA)


def base(*expressions: str) -> list[dict[str, object]]:
    """A still of each expression in each usage."""
    return [row(f"{usage}-{word}", word, usage) for usage in USAGES for word in expressions]


def labels(expressions: str | list[str] = "all", **merge: str) -> LabelsParams:
    return LabelsParams(stills=expressions, clips="all", merge=merge)


def test_each_usage_gets_its_stills_in_the_order_of_the_table() -> None:
    parts = load(table(*base("sad", "happy")), labels(), WHERE)
    names, split, counts = parts.classes, parts.parts, parts.duplicates
    assert names == ["happy", "sad"]
    assert list(split) == list(USAGES)
    for usage, part in split.items():
        assert part.names == [f"{usage}-sad", f"{usage}-happy"]
        assert part.labels.tolist() == [1, 0]
        assert part.targets.tolist() == [[0, 1], [1, 0]]
        assert (part.pixels.dtype, part.labels.dtype, part.targets.dtype) == (np.uint8, np.int64, np.float32)
        np.testing.assert_array_equal(part.pixels[0], photo(sum(map(ord, part.names[0])) * 1000 + len(part.names[0])))
    assert counts["dropped"] == {"train": 0}


def test_votes_become_shares_of_all_expressions_that_were_voted_for() -> None:
    rows = [
        *base("happy", "sad", "angry"),
        row("voted", "happy", votes=[("angry", 1), ("happy", 3), ("contempt", 6)]),
        row("zero", "sad", votes=[("angry", 0), ("bored", 0)]),
        row("none", "sad", votes=[]),
        row("held", "sad", "validation", votes=[("happy", 9)]),
    ]
    parts = load(table(*rows), labels(["sad", "happy", "angry"]), WHERE, votes=True)
    assert (parts.classes, parts.votes) == (["sad", "happy", "angry"], ["angry", "contempt", "happy"])
    train, validation = parts.parts["train"], parts.parts["validation"]
    votes = dict(zip(train.names, train.votes.tolist(), strict=True))
    assert votes["voted"] == pytest.approx([0.1, 0.6, 0.3])
    assert votes["zero"] == votes["none"] == votes["train-sad"] == [0, 0, 0]
    assert train.targets[train.names.index("voted")].tolist() == [0, 1, 0], "the label head learns the dataset's own label"
    assert validation.votes[validation.names.index("held")].tolist() == [0, 0, 1]
    assert load(table(*rows), labels(), WHERE).parts["train"].votes.shape == (6, 0)


def test_votes_are_merged_as_the_labels_are() -> None:
    rows = [*base("happy", "sad"), row("voted", "sad", votes=[("disgust", 1), ("happy", 1), ("sad", 2)])]
    parts = load(table(*rows), labels("all", disgust="sad"), WHERE, votes=True)
    assert parts.votes == ["happy", "sad"]
    assert parts.parts["train"].votes[-1].tolist() == [0.25, 0.75]


def twins() -> list[dict[str, object]]:
    """Two classes, and stills of train whose photo stands in test (with other pixels) and in validation (with the same)."""
    softer = bytes(cv2.imencode(".png", cv2.convertScaleAbs(photo(5), alpha=0.8, beta=20))[1])
    return [
        *base("happy", "sad"),
        row("leak-1", "happy", seed=5),
        row("test-1", "sad", "test", image=softer),
        row("leak-2", "happy", seed=6),
        row("validation-2", "happy", "validation", seed=6),
    ]


def load_parts(*rows: dict[str, object], drop_duplicates: bool = False) -> tuple[dict[str, StillPart], dict[str, dict[str, int]]]:
    parts = load(table(*rows), labels(), WHERE, drop_duplicates=drop_duplicates)
    return parts.parts, parts.duplicates


def test_photos_of_validation_and_test_leave_train() -> None:
    split, counts = load_parts(*twins(), drop_duplicates=True)
    assert split["train"].names == ["train-happy", "train-sad"]
    assert [len(split[usage].pixels) for usage in USAGES] == [2, 3, 3]
    assert counts["test_in_train"] == {"identical": 0, "near": 1, "contradicting": 1}
    assert counts["validation_in_train"] == {"identical": 1, "near": 0, "contradicting": 0}
    assert counts["dropped"] == {"train": 2}
    whole, recount = load_parts(*twins())
    assert whole["train"].names == ["train-happy", "train-sad", "leak-1", "leak-2"]
    assert recount == counts | {"dropped": {"train": 0}}
    for usage, expected in (("validation", "validation-2"), ("test", "test-1")):
        assert [name for name, twin in zip(whole[usage].names, whole[usage].twins, strict=True) if twin] == [expected]
        assert not any(split[usage].twins), "its twin was dropped"


def test_a_photo_of_another_person_stays() -> None:
    rows = [still | {"subject": still["still"]} for still in twins()]
    split, _ = load_parts(*rows, drop_duplicates=True)
    assert split["train"].names == ["train-happy", "train-sad", "leak-1"]


def test_a_class_that_only_shows_photos_of_test_is_refused() -> None:
    rows = [still for still in twins() if still["still"] != "train-happy"]
    assert len(load_parts(*rows)[0]["train"].labels) == 3
    with pytest.raises(DataError) as excinfo:
        load(table(*rows), labels(), WHERE, drop_duplicates=True)
    assert str(excinfo.value) == (
        "data/stills.parquet: no still of usage train shows happy apart from photos of validation or test, "
        "which cnn.drop_duplicates leaves out; add some, or leave it out of labels.stills"
    )


@pytest.mark.parametrize(
    ("rows", "expressions", "reason"),
    [
        (base("happy", "sad"), ["happy", "sad", "fear"], "nothing is labelled fear, which labels in params.yaml lists; found happy, sad"),
        (base("happy", "sad"), ["happy"], "at least two expressions are needed, found happy"),
        ([], "all", "at least two expressions are needed, found none"),
        (
            [*base("happy", "sad"), row("t", "fear", "test")],
            "all",
            "no still of usage train shows fear; add some, or leave it out of labels.stills",
        ),
        (
            [still for still in base("happy", "sad") if still["usage"] != "test"],
            "all",
            "no still of usage test shows happy, sad; add stills with `vfer data add`",
        ),
        ([*base("happy", "sad"), row("bad", "sad", image=b"x")], "all", "bad: is not grey and 48x48; restore it with `dvc checkout`"),
    ],
)
def test_what_cannot_be_trained_on_is_refused_in_one_line(rows: list[dict[str, object]], expressions: str | list[str], reason: str) -> None:
    with pytest.raises(DataError) as excinfo:
        load(table(*rows), labels(expressions), WHERE, votes=True, drop_duplicates=True)
    assert str(excinfo.value).startswith(f"data/stills.parquet: {reason}")
    assert "\n" not in str(excinfo.value)
