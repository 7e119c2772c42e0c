"""The names of expressions, and their synonyms in datasets."""

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


def expression(word: str, custom: Sequence[str] = ()) -> str:
    """Return the one word for an expression: one of `own`, of `EXPRESSIONS`, or what its synonym stands for.

    Raises `DataError` that names the known ones.
    """
    name = word.strip().lower()
    if name in custom:
        return name
    name = SYNONYMS.get(name, name)
    if name not in EXPRESSIONS:
        raise DataError(f"expression {word!r} is unknown; known are {', '.join((*EXPRESSIONS, *custom))}; add your own with --expressions")
    return name
