"""Makes tests/fixtures/networks.tar.xz: small networks as Keras 2, Keras 3 and tf2onnx store them, with random weights and statistics,
and what Keras answered to some images. Needs tensorflow-cpu 2.16 (with Keras 3), tf_keras 2.16 and tf2onnx 1.17 of PyPI:

    python3 tests/reference/foreign_networks.py tests/fixtures/networks.tar.xz
"""
import os
import sys
import tarfile
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["TF_USE_LEGACY_KERAS"] = "3", "1"
import keras
import numpy as np
import tensorflow as tf
import tf2onnx
import tf_keras

IMAGES, SIZE = 6, (11, 10, 2)
random = np.random.default_rng(1)


def values_of(name, shape):
    if "variance" in name:
        return random.uniform(0.3, 2, shape)
    if "gamma" in name:
        return random.uniform(0.5, 1.5, shape) * random.choice([-1, 1], shape)
    return random.normal(0, 0.4, shape)


def randomise(network):
    for layer in network.layers:
        if hasattr(layer, "layers"):
            randomise(layer)
        elif layer.weights and "normalization" != layer.name:
            layer.set_weights([values_of(weight.name, weight.shape) for weight in layer.weights])


def sequential(k, kl):
    """What most are: dense layers behind maps that are flattened; norms without scale, without centre, with another epsilon."""
    first = [] if k is tf_keras else [keras.Input(SIZE)]
    shape = {"input_shape": SIZE} if k is tf_keras else {}
    return k.Sequential([*first, kl.Conv2D(3, 3, padding="same", activation="relu", name="entry", **shape), kl.MaxPooling2D(),
                         kl.Dropout(0.25), kl.Conv2D(4, 2, use_bias=False), kl.BatchNormalization(scale=False), kl.Activation("relu"),
                         kl.Conv2D(4, 1), kl.BatchNormalization(center=False, epsilon=1e-6), kl.ReLU(), kl.Flatten(),
                         kl.Dense(6, activation="relu"), kl.BatchNormalization(), kl.Dense(3, activation="softmax")])


def functional(k, kl):
    """Images scaled in the network, zeros as a layer, pools with "same" over odd sizes, a network in the network, 1x1 maps reshaped."""
    inner_in = k.Input((6, 5, 3))
    inner = k.Model(inner_in, kl.ReLU()(kl.Conv2D(4, 2, name="inside")(inner_in)), name="inner")
    maps = images = k.Input(SIZE)
    maps = kl.Rescaling(2.0, offset=-1.0)(maps)
    maps = kl.ReLU()(kl.Conv2D(3, 3, name="outside")(kl.ZeroPadding2D(((1, 1), (1, 1)))(maps)))
    maps = inner(kl.AveragePooling2D(2, padding="same")(maps))
    maps = kl.MaxPooling2D(3, strides=2, padding="same")(maps)
    maps = kl.Reshape((1, 1, 4))(kl.GlobalAveragePooling2D()(maps))
    return k.Model(images, kl.Reshape((3,))(kl.Conv2D(3, 1)(maps)))


def binary(k, kl):
    """One output; dense layers on maps; the images normalised by their own statistics."""
    images = k.Input(SIZE)
    maps = kl.Normalization(mean=[0.4, 0.5], variance=[0.1, 0.2])(images)
    maps = kl.Dense(4, activation="relu")(kl.GaussianNoise(0.1)(kl.Conv2D(3, 3, strides=2)(maps)))
    return k.Model(images, kl.Dense(1, activation="sigmoid")(kl.Flatten()(maps)))


def activations(k, kl):
    maps = images = k.Input(SIZE)
    for name in ("tanh", "sigmoid", "elu", "gelu", "swish"):
        maps = kl.Conv2D(3, 2, activation=name)(maps)
    maps = kl.ReLU(6.0)(kl.Conv2D(3, 1)(kl.ELU(0.5)(kl.LeakyReLU()(maps))))
    return k.Model(images, kl.Dense(3)(kl.Flatten()(maps)))


def strided(k, kl):
    """The odd zero of "same" comes behind."""
    maps = images = k.Input(SIZE)
    maps = kl.ReLU()(kl.Conv2D(3, 3, strides=2, padding="same")(maps))
    maps = kl.MaxPooling2D(2, strides=1, padding="same")(maps)
    return k.Model(images, kl.Dense(3)(kl.GlobalMaxPooling2D()(maps)))


def grouped(k, kl):
    maps = images = k.Input(SIZE)
    maps = kl.ReLU()(kl.DepthwiseConv2D(3, depth_multiplier=2)(maps))
    maps = kl.ReLU()(kl.SeparableConv2D(4, 3, padding="same")(maps))
    maps = kl.Conv2D(4, (1, 3), dilation_rate=(1, 2))(maps)
    return k.Model(images, kl.Dense(3)(kl.GlobalAveragePooling2D()(maps)))


def residual(k, kl):
    """Add, Concatenate and Multiply (squeeze and excite)."""
    images = k.Input(SIZE)
    first = kl.Conv2D(4, 3, padding="same", activation="relu")(images)
    maps = kl.ReLU()(kl.Add()([first, kl.Conv2D(4, 3, padding="same")(first)]))
    maps = kl.Concatenate()([kl.Conv2D(3, 1)(maps), maps, first])
    gate = kl.Conv2D(11, 1, activation="sigmoid")(kl.GlobalAveragePooling2D(keepdims=True)(maps))
    return k.Model(images, kl.Dense(3)(kl.GlobalMaxPooling2D()(kl.Multiply()([maps, gate]))))


def pooled(k, kl):
    """Averages of what is inside the map, with odd zeros behind; a hard sigmoid, whose slope Keras 3 changed."""
    maps = images = k.Input(SIZE)
    maps = kl.AveragePooling2D(2, strides=1, padding="same")(kl.Conv2D(3, 3, activation="hard_sigmoid")(maps))
    maps = kl.AveragePooling2D((3, 2), strides=2, padding="same")(kl.Conv2D(4, 1)(maps))
    maps = kl.MaxPooling2D((2, 3), strides=(1, 2), padding="same")(maps)
    return k.Model(images, kl.Dense(3)(kl.Flatten()(maps)))


NETWORKS = (sequential, functional, binary, activations, strided, grouped, residual, pooled)


def answers(network, images):
    found = network.predict(images / 255, verbose=0)
    if found.shape[1] == 1:
        found = np.concatenate([1 - found, found], axis=1)
    return {"probabilities" if (found >= 0).all() and np.allclose(found.sum(axis=1), 1, atol=1e-4) else "logits": found}


def make(folder):
    for make_network in NETWORKS:
        for version, k in ((2, tf_keras), (3, keras)):
            network = make_network(k, k.layers)
            randomise(network)
            images = random.integers(0, 256, (IMAGES, *SIZE)).astype(np.uint8)
            base = f"{folder}/{make_network.__name__}{version}"
            np.savez_compressed(f"{base}.npz", images=images, **answers(network, images))
            network.save(f"{base}.h5")
            network.save(f"{base}.keras")
            if make_network is sequential:
                network.save_weights(f"{base}.weights.h5")
                with open(f"{base}.json", "w") as file:
                    file.write(network.to_json())
            if version == 2 and make_network in (sequential, functional, residual):
                kind = tf.TensorSpec((None, *SIZE), tf.float32, name="images")
                tf2onnx.convert.from_keras(network, (kind,), opset=13, output_path=f"{base}.onnx")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        make(scratch)
        with tarfile.open(sys.argv[1], "w:xz") as archive:
            for name in sorted(os.listdir(scratch)):
                archive.add(f"{scratch}/{name}", name)
