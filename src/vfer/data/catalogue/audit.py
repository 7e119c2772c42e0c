"""Leakage: the share of test clips whose bytes, recording or subject are in one of the model's training sets."""

from collections.abc import Collection, Iterable, Sequence

from vfer.data.catalogue.learned import Example
from vfer.data.catalogue.split import SplitRow

SEEN = {
    "content": "have the very bytes of a clip seen in training",
    "likeness": "show the same footage as a clip seen in training, encoded anew or trimmed",
    "recording": "are of a recording seen in training",
    "subject": "are of a subject seen in training",
    "stills": "are of a subject whose stills trained the CNN",
    "identities": "are of a subject whose faces pre-trained the CNN",
}
"""What it means for a test clip to count in each share of `leakage`."""


def leakage(rows: Sequence[SplitRow], network: Sequence[Example] = (), copies: Collection[str] | None = None) -> dict[str, float]:
    """Return the shares of the test clips, by what of them was seen in training or validation.

    `content` is a clip of the same bytes, `likeness` one of the same footage, where it is known of which test clips there are `copies`, and
    `recording` and `subject` another clip of these, be it one that the CNN under the `network` was fine-tuned on. `stills` and
    `identities`, of what that CNN has learned from, are those of the subject; each is left out where nothing of its kind says whom it
    shows.
    """
    test, seen = [row for row in rows if row.part == "test"], [row for row in rows if row.part != "test"]
    tuned = [example for example in network if example.kind == "clip" and example.part != "test"]
    contents = ({row.digest for row in seen} | {example.digest for example in tuned}) - {""}
    shares = {"content": _share(row.digest in contents for row in test)}
    if copies is not None:
        shares["likeness"] = _share(row.clip in copies for row in test)
    subjects = {row.subject for row in seen} | {example.subject for example in tuned}
    shown = {"recording": {row.recording for row in seen}, "subject": subjects}
    for kind, names in shown.items():
        shares[kind] = _share(getattr(row, kind) in names for row in test)
    for key, kind in (("stills", "still"), ("identities", "identity")):
        people = {example.subject for example in network if example.kind == kind and example.part != "test"} - {""}
        if people:
            shares[key] = _share(row.subject in people for row in test)
    return shares


def unnamed(network: Iterable[Example]) -> list[str]:
    """Return a sentence for each kind of examples that do not all say whom they show, so that nothing tells whether they leak."""
    unknown = {example.kind for example in network if example.part != "test" and not example.subject}
    words = {"still": "stills that trained the CNN", "identity": "faces that pre-trained the CNN"}
    return [f"nothing says whom the {word} show" for kind, word in words.items() if kind in unknown]


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return sum(values) / len(values)
