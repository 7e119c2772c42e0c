"""The methods by name: title, input, and code."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from vfer.clips.closure import closure

if TYPE_CHECKING:
    from vfer.compare.methods.base import Method

METHODS = "vfer.compare.methods"


@dataclass(frozen=True)
class MethodEntry:
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
        modules = {name.removeprefix(f"{METHODS}.") for name in closure([self.code]).files}
        read = {"nets": {"nets"}, "encodings": {"encodings", "frames"}, "lstm": {"sequences"}}
        return {part for part, users in read.items() if modules & users}


def _sequence(title: str) -> MethodEntry:
    return MethodEntry("sequences", title)


def _streams(title: str, sees: str) -> MethodEntry:
    return MethodEntry("streams", title, sees)


ENTRIES = {
    "lstm": _sequence("LSTM"),
    "frames_mean": MethodEntry("frames", "single frames, mean answer"),
    "frames_vote": MethodEntry("frames", "single frames, vote"),
    "svm_pooled": MethodEntry("encodings", "pooled embeddings, SVM"),
    "svm_vlad": MethodEntry("encodings", "VLAD, SVM"),
    "svm_fisher": MethodEntry("encodings", "Fisher vectors of a Gaussian mixture, SVM"),
    "svm_fisher_vae": MethodEntry("vae", "Fisher vectors of a variational auto-encoder, SVM"),
    "cnn3d": MethodEntry("volume", "3-D CNN", "crops"),
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
    methods: dict[str, Method] = import_module(ENTRIES[name].code).METHODS
    return methods[name]
