"""The words for expressions, and the other words that datasets use for them."""

from collections.abc import Sequence

from vfer.errors import DataError

EXPRESSIONS = ("neutral", "calm", "happy", "sad", "angry", "fear", "disgust", "surprise", "contempt")

SYNONYMS = {
    "neutrality": "neutral",
    "calmness": "calm",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fearful": "fear",
    "afraid": "fear",
    "disgusted": "disgust",
    "surprised": "surprise",
    "contemptuous": "contempt",
}


def expression(word: str, own: Sequence[str] = ()) -> str:
    """Return the one word for an expression: one of `own`, of `EXPRESSIONS`, or what its synonym stands for.

    Raises `DataError` that names the known ones.
    """
    known = word.strip().lower()
    if known in own:
        return known
    known = SYNONYMS.get(known, known)
    if known not in EXPRESSIONS:
        raise DataError(f"expression {word!r} is unknown; known are {', '.join((*EXPRESSIONS, *own))}; add your own with --expressions")
    return known
