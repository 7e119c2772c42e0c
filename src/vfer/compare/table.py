"""The methods by name: what the comparison can run, what each sees of a clip, and which code makes it."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from vfer.clips.closure import closure

if TYPE_CHECKING:
    from vfer.compare.methods.base import Method

METHODS = "vfer.compare.methods"


@dataclass(frozen=True)
class Entry:
    """A method: its module in `vfer.compare.methods`, its title in tables, and what it sees of a clip."""

    module: str
    title: str
    sees: str = "embeddings"

    @property
    def code(self) -> str:
        """The full name of its module."""
        return f"{METHODS}.{self.module}"

    @property
    def settings(self) -> set[str]:
        """The settings that it reads: `nets` and `encodings` of the section `methods`, and the pipeline's section `lstm`."""
        used = {name.removeprefix(f"{METHODS}.") for name in closure([self.code]).files}
        read = {"nets": {"nets"}, "encodings": {"encodings", "frames"}, "lstm": {"sequences"}}
        return {part for part, modules in read.items() if used & modules}


def _sequence(title: str) -> Entry:
    return Entry("sequences", title)


def _streams(title: str, sees: str) -> Entry:
    return Entry("streams", title, sees)


ENTRIES = {
    "lstm": _sequence("LSTM"),
    "frames_mean": Entry("frames", "single frames, mean answer"),
    "frames_vote": Entry("frames", "single frames, vote"),
    "svm_pooled": Entry("encodings", "pooled embeddings, SVM"),
    "svm_vlad": Entry("encodings", "VLAD, SVM"),
    "svm_fisher": Entry("encodings", "Fisher vectors of a Gaussian mixture, SVM"),
    "svm_fisher_vae": Entry("vae", "Fisher vectors of a variational auto-encoder, SVM"),
    "cnn3d": Entry("volume", "3-D CNN", "crops"),
    "flow": _streams("optical flow alone", "crops"),
    "two_stream": _streams("two streams, weighted sum", "embeddings and crops"),
    "two_stream_learned": _streams("two streams, learned linear combination", "embeddings and crops"),
    "two_stream_fusion": _streams("two streams, convolutional fusion", "crops"),
    "two_stream_codec": _streams("two streams, motion vectors of the codec", "embeddings and motion"),
    "two_lstms": _sequence("two LSTM layers"),
    "bidirectional_lstm": _sequence("bidirectional LSTM"),
    "gru": _sequence("GRU"),
    "lstm_attention": _sequence("LSTM, attention pooling"),
    "transformer": _sequence("transformer encoder"),
    "temporal_convolutions": _sequence("temporal convolutions"),
}


def load(name: str) -> "Method":
    """Import a method; those of nets import TensorFlow."""
    found: dict[str, Method] = import_module(ENTRIES[name].code).METHODS
    return found[name]
