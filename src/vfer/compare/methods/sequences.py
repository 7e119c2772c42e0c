"""Networks over a clip's embeddings, trained and run as the pipeline's sequence model is."""

import keras
import numpy as np
import tensorflow as tf

from vfer.compare.methods.base import FittedMethod, Method, MethodClips, Task, Vectors
from vfer.features.cache import Embeddings
from vfer.lstm import train as lstm_train
from vfer.lstm.sequences import pad
from vfer.lstm.train import ClipPart
from vfer.nets.sequences import ARCHITECTURES


def method(architecture: str) -> Method:
    """Return the method that trains one architecture of sequence models by the pipeline's section `lstm`."""

    def fit(train: MethodClips, validation: MethodClips, task: Task) -> FittedMethod:
        keras.backend.clear_session()
        params = task.lstm.model_copy(update={"architecture": architecture})
        parts = {"train": _part(train), "validation": _part(validation)}
        model, _ = lstm_train.train(parts, task.classes, params, task.seed, None, lambda *_: None)
        signature = {tensor.name: tf.TensorSpec(tensor.shape, tf.float32) for tensor in model.inputs}
        compiled = tf.function(lambda batch: model(batch, training=False)["probabilities"], [signature])

        def answer(clips: MethodClips) -> Vectors:
            sequences = _part(clips).clips
            batches = [sequences[at : at + params.batch_size] for at in range(0, len(sequences), params.batch_size)]
            padded = (pad(batch, min(params.max_frames, max(map(len, batch)))) for batch in batches)
            return np.concatenate([np.asarray(compiled(batch), np.float32) for batch in padded])

        return FittedMethod(model.count_params(), answer)

    return fit


def _part(clips: MethodClips) -> ClipPart:
    return ClipPart([Embeddings(*pair) for pair in zip(clips.embeddings, clips.times, strict=True)], clips.labels)


METHODS = {architecture: method(architecture) for architecture in ARCHITECTURES}
