"""FER+ (Barsoum et al., 2016): fer2013new.csv, the votes of ten annotators on each row of FER2013's CSV file."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from vfer.data.readers import fer2013
from vfer.data.readers.items import Entry, FoundStill, Item, Passed, Refused
from vfer.data.readers.text import lines

WORDS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
UNKNOWN, NO_FACE = "unknown", "nf"
COLUMNS = ("usage", *WORDS, UNKNOWN, NO_FACE)
PUBLISHED = "give both files as they were published"


@dataclass(frozen=True)
class Poll:
    """What the annotators said of one row of FER2013: its usage there, and how many voted for each column."""

    origin: str
    usage: str
    votes: dict[str, int]


def read(entries: Sequence[Entry]) -> Iterator[Item]:
    """Yield each row of FER2013's CSV file with its votes, told by their order.

    The expression stays FER2013's own, so that accuracy on its test set stays comparable. Votes for `unknown` and for no face
    are left out, and so is a row that most annotators take for no face.
    """
    polls: list[Entry] = []
    pictures: list[Entry] = []
    for entry in entries:
        if entry.suffix != ".csv":
            yield Passed(entry.origin, "no CSV file; FER+ refers to the rows of fer2013.csv or icml_face_data.csv")
            continue
        try:
            columns = _columns(entry)
        except fer2013.BROKEN as error:
            yield Refused(entry.origin, f"is not a CSV file in UTF-8: {error}")
            continue
        kind = pictures if "pixels" in columns else polls
        if absent := [column for column in (fer2013.COLUMNS if kind is pictures else COLUMNS) if column not in columns]:
            yield Refused(entry.origin, f"has no column {', '.join(absent)}; expected those of fer2013new.csv or of fer2013.csv")
        elif kind:
            yield Refused(entry.origin, f"is a second file beside {kind[0].name} of the same kind; give one")
        else:
            kind.append(entry)
    if polls and pictures:
        yield from _join(polls[0], pictures[0])
    elif polls:
        rows = "fer2013.csv or icml_face_data.csv, whose rows it refers to and which folders of pictures do not keep"
        yield Refused(polls[0].origin, f"has votes but no pictures; give it with {rows}")
    elif pictures:
        yield Refused(pictures[0].origin, "has pictures but no votes; give fer2013new.csv too, or add it with the reader fer2013")


def _columns(entry: Entry) -> list[str]:
    with lines(entry) as text:
        return _names(next(csv.reader(text), []))


def _names(header: list[str]) -> list[str]:
    return [column.strip().lower() for column in header]


def _join(polls: Entry, pictures: Entry) -> list[Item]:
    try:
        votes, stills = list(_polls(polls)), list(fer2013.rows(pictures))
    except fer2013.BROKEN as error:
        return [Refused(f"{polls.origin} with {pictures.name}", f"is not a CSV file in UTF-8: {error}")]
    if len(votes) != len(stills):
        return [Refused(polls.origin, f"has {len(votes)} rows, {pictures.name} has {len(stills)}; {PUBLISHED}")]
    items: list[Item] = []
    for poll, still in zip(votes, stills, strict=True):
        if isinstance(poll, Poll) and isinstance(still, FoundStill) and fer2013.USAGES.get(poll.usage.lower()) != still.usage:
            return [Refused(poll.origin, f"has Usage {poll.usage!r}, {still.origin} that of {still.usage}; {PUBLISHED}")]
        items.append(_voted(poll, still))
    return items


def _polls(entry: Entry) -> Iterator[Poll | Refused]:
    with lines(entry) as text:
        table = csv.reader(text)
        columns = _names(next(table))
        for row in table:
            origin = f"{entry.origin}:{table.line_num}"
            values = dict(zip(columns, (value.strip() for value in row), strict=False))
            counts = {column: value for column, value in values.items() if column not in ("usage", "image name")}
            if len(row) < len(columns):
                yield Refused(origin, "is cut off")
            elif wrong := [column for column, value in counts.items() if not (value.isascii() and value.isdigit())]:
                yield Refused(origin, f"{wrong[0]} {counts[wrong[0]]!r} is not a count of votes")
            else:
                yield Poll(origin, values["usage"], {column: int(value) for column, value in counts.items()})


def _voted(poll: Poll | Refused, still: FoundStill | Refused) -> Item:
    if isinstance(still, Refused):
        return still
    if isinstance(poll, Refused):
        return poll
    total = sum(poll.votes.values())
    if not total:
        return Refused(poll.origin, "has no votes")
    if 2 * poll.votes[NO_FACE] > total:
        return Passed(poll.origin, "no face, according to most annotators of FER+")
    votes = {word: count for word, count in poll.votes.items() if count and word not in (UNKNOWN, NO_FACE)}
    return replace(still, votes=votes or None)
