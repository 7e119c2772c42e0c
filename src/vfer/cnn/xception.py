"""Xception, the paper's CNN."""

from keras import KerasTensor, applications, layers


def backbone(inputs: KerasTensor) -> KerasTensor:
    """Maps grey faces (batch, 48, 48, 1) in [-1, 1] to pooled features (batch, 2048).

    The picture is enlarged to 96x96, since Xception shrinks by 32 and takes no side under 71, and its one channel is
    repeated. Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions", 2017.
    """
    x = layers.Resizing(96, 96, name="enlarge")(inputs)
    x = layers.Concatenate(name="repeat")([x, x, x])
    # Without input_tensor the net nests as one layer, whose BatchNorm then keeps its mode when the graph is exported.
    net = applications.Xception(include_top=False, weights=None, input_shape=(96, 96, 3), pooling="avg")
    return net(x)
