"""The methods by name: what the comparison can run."""

from dataclasses import dataclass
from importlib import import_module

from vfer.methods.base import Method


@dataclass(frozen=True)
class Entry:
    """A method: the module that holds it, what it is called in tables, and what it sees of a clip."""

    module: str
    title: str
    sees: str


ENTRIES = {
    "frames_mean": Entry("frames", "single frames, mean answer", "embeddings"),
    "frames_vote": Entry("frames", "single frames, vote", "embeddings"),
    "svm_pooled": Entry("encodings", "pooled embeddings, SVM", "embeddings"),
    "svm_vlad": Entry("encodings", "VLAD, SVM", "embeddings"),
    "svm_fisher": Entry("encodings", "Fisher vectors of a Gaussian mixture, SVM", "embeddings"),
    "svm_fisher_vae": Entry("vae", "Fisher vectors of a variational auto-encoder, SVM", "embeddings"),
    "cnn3d": Entry("volume", "3-D CNN", "crops"),
    "flow": Entry("streams", "optical flow alone", "crops"),
    "two_stream": Entry("streams", "two streams, weighted sum", "embeddings and crops"),
    "two_stream_learned": Entry("streams", "two streams, learned linear combination", "embeddings and crops"),
    "two_stream_fusion": Entry("streams", "two streams, convolutional fusion", "crops"),
    "two_stream_codec": Entry("streams", "two streams, motion vectors of the codec", "embeddings and motion"),
    "lstm": Entry("sequences", "LSTM", "embeddings"),
    "two_lstms": Entry("sequences", "two LSTM layers", "embeddings"),
    "bidirectional_lstm": Entry("sequences", "bidirectional LSTM", "embeddings"),
    "gru": Entry("sequences", "GRU", "embeddings"),
    "lstm_attention": Entry("sequences", "LSTM, attention pooling", "embeddings"),
    "transformer": Entry("sequences", "transformer encoder", "embeddings"),
    "temporal_convolutions": Entry("sequences", "temporal convolutions", "embeddings"),
}


def load(name: str) -> Method:
    """Imports a method; those of nets import TensorFlow."""
    methods: dict[str, Method] = import_module(f"vfer.methods.{ENTRIES[name].module}").METHODS
    return methods[name]
