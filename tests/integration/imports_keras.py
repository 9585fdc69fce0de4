"""import_keras.py takes what Keras 1 to 3 store, with the answers that Keras itself gave (tests/reference/foreign_networks.py made them),
and refuses by name what it cannot take, and what is damaged or hostile."""
import json
import shutil
import sys
import zipfile

import h5py
import numpy as np

from foreign import call, failures, refuses, same_numbers, takes, tell, unpack

unpack()
for network in ("sequential", "functional", "binary", "activations"):
    for version in (2, 3):
        for ending in ("h5", "keras"):
            takes(f"{network}{version}.{ending}", f"{network}{version}.npz")
for version, ending in ((2, "h5"), (3, "keras")):
    for network in ("grouped", "residual", "strided", "pooled"):
        takes(f"{network}{version}.{ending}", f"{network}{version}.npz")
for version in (2, 3):  # weights and description apart
    out = takes(f"sequential{version}.weights.h5", f"sequential{version}.npz", "--json", f"sequential{version}.json")
    tell(same_numbers(out, f"sequential{version}.h5.out.h5"), "weights apart", out)
    refuses(f"sequential{version}.weights.h5", "holds weights only: .*--json")


def edited(name, change, source="sequential2.h5"):
    """A copy of a network whose description, and whose HDF5 file, `change` changes."""
    shutil.copy(source, name)
    with h5py.File(name, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config["config"], file)
        file.attrs["model_config"] = json.dumps(config)
    return name


def layers_of(config, kind):
    return [one["config"] for one in config["layers"] if one["class_name"] == kind]


# Other layouts of the same network, which must give the same numbers.


def turn_to_channels_first(config, file, keeps_order=True):
    """Keras stores kernels of channels_first layers as those of channels_last ones; Flatten, where it knows, flattens alike, too."""
    for one in config["layers"]:
        if "batch_input_shape" in one["config"] and len(one["config"]["batch_input_shape"]) == 4:
            one["config"]["batch_input_shape"] = [None, 2, 11, 10]
        if "data_format" in one["config"]:
            one["config"]["data_format"] = "channels_first"
        if one["class_name"] == "BatchNormalization" and one["config"]["name"] != config["layers"][-2]["config"]["name"]:
            one["config"]["axis"] = [1]
    if not keeps_order:
        del layers_of(config, "Flatten")[0]["data_format"]
        kernel = next(iter(file["model_weights/dense"].values()))["kernel:0"]
        kernel[...] = kernel[:].reshape(4, 4, 4, 6).transpose(2, 0, 1, 3).reshape(64, 6)


def turn_to_first_keras(config, file, theano=True):
    """As Keras 1 wrote it, by Theano: its names, kernels [filter, channel, y, x] turned by 180 degrees, and no backend."""
    turn_to_channels_first(config, file, False)
    names = {"filters": "nb_filter", "strides": "subsample", "padding": "border_mode", "use_bias": "bias", "units": "output_dim",
             "rate": "p"}
    leaves = {"kernel": "W", "bias": "b", "moving_mean": "running_mean", "moving_variance": "running_std"}
    for one in config["layers"]:
        settings, weights = one["config"], file["model_weights"].get(one["config"]["name"])
        if "kernel_size" in settings:
            settings["nb_row"], settings["nb_col"] = settings.pop("kernel_size")
        if settings.pop("data_format", None):
            settings["dim_ordering"] = "th"
        for new, old in names.items():
            if new in settings:
                settings[old] = settings.pop(new)
        one["class_name"] = {"Conv2D": "Convolution2D"}.get(one["class_name"], one["class_name"])
        if isinstance(settings.get("axis"), list):
            settings["axis"] = settings["axis"][0]
        for path, values in list(tensors(weights).items()):
            leaf = path.split("/")[-1].split(":")[0]
            if values.ndim == 4:
                values = values.transpose(3, 2, 0, 1)[:, :, ::-1, ::-1] if theano else values.transpose(3, 2, 0, 1)
            del weights[path]
            weights[f"{settings['name']}_{leaves.get(leaf, leaf)}"] = values
    for node in (file, file["model_weights"]):
        for name in ("backend", "keras_version"):
            node.attrs.pop(name, None)


def tensors(group):
    found = {}
    if group is not None:
        group.visititems(lambda name, node: found.update({name: node[:]} if isinstance(node, h5py.Dataset) else {}))
    return found


reference = "sequential2.h5.out.h5"
for name, change, words in (
        ("first.h5", turn_to_channels_first, ()),
        ("unaware.h5", lambda config, file: turn_to_channels_first(config, file, False), ()),
        ("theano.h5", turn_to_first_keras, ("--backend", "theano")),
        ("old.h5", lambda config, file: turn_to_first_keras(config, file, False), ("--backend", "tensorflow"))):
    tell(same_numbers(takes(edited(name, change), "sequential2.npz", *words), reference), name, "the same numbers")
refuses("theano.h5", "--backend theano or tensorflow is needed")
listed = edited("listed.h5", lambda config, file: None)
with h5py.File(listed, "r+") as file:  # the layers as a list, as before Keras 2.2
    config = json.loads(file.attrs["model_config"])
    file.attrs["model_config"] = json.dumps({**config, "config": config["config"]["layers"]})
tell(same_numbers(takes(listed, "sequential2.npz"), reference), listed, "the same numbers")
done = call("sequential2.h5", "--pixels", "0,1", "--out", "again.h5", "--arch-out", "net.txt")
with open("net.txt") as file:
    tell(file.readline() == "input 11x10x2\n" and done.returncode == 0, "--arch-out", done.stderr)
open_size = edited("open.h5", lambda config, file: [one.update(batch_input_shape=[None, None, None, 2]) for one in
                                                    (each["config"] for each in config["layers"]) if "batch_input_shape" in one])
tell(same_numbers(takes(open_size, "sequential2.npz", "--input", "11x10x2"), reference), open_size, "the same numbers")
refuses(open_size, r"its shape \[None, None, None, 2\] is open: --input HEIGHTxWIDTHxCHANNELS is needed")

# What cannot be taken.
refuses("sequential2.h5", "--pixels LOW,HIGH is needed", code=2)
refuses("sequential2.h5", "--input: '11x10' is no HEIGHTxWIDTHxCHANNELS", "--input", "11x10", "--pixels", "0,1", code=2)
refuses("sequential2.h5", "other --pixels, --mean", "--pixels", "0,255", "--check", "sequential2.npz", code=3)
refuses("gone.keras", "gone.keras: no such file")


def layer(number, **settings):
    return lambda config, file: config["layers"][number]["config"].update(settings)


def of_class(number, name, **more):
    return lambda config, file: config["layers"][number].update(class_name=name, **more)


def tensor(path, **values):
    def change(config, file):
        for place, value in values.items():
            dataset = file[f"model_weights/{path}"]
            dataset[tuple(map(int, place[1:].split("_")))] = value
    return change


def replaced(path, values, **options):
    def change(config, file):
        del file[f"model_weights/{path}"]
        file["model_weights"].create_dataset(path, data=values, **options)
    return change


def outside(config, file):
    del file["model_weights/entry/entry/kernel:0"]
    file["model_weights/entry/entry/kernel:0"] = h5py.ExternalLink("other.h5", "kernel")


def external_storage(config, file):
    del file["model_weights/entry/entry/kernel:0"]
    file["model_weights/entry/entry"].create_dataset("kernel:0", (3, 3, 2, 3), "f4", external=[("raw.bin", 0, h5py.h5f.UNLIMITED)])


with open("raw.bin", "wb") as file:
    file.write(bytes(216))
with h5py.File("other.h5", "w") as file:
    file["kernel"] = np.zeros((3, 3, 2, 3), "f4")
CASES = [
    (of_class(1, "Lambda"), r"layer 'entry' \(Lambda\): holds code, and none is run"),
    (of_class(1, "Mine>Conv2D"), r"layer 'entry' \(Mine>Conv2D\): is not one of Keras' layers"),
    (of_class(1, "Conv2D", module="builtins"), r"layer 'entry' \(Conv2D\): is not one of Keras' layers"),
    (of_class(1, "Conv2DTranspose"), r"layer 'entry' \(Conv2DTranspose\): there is no such layer here"),
    (layer(1, activation="mine"), r"layer 'entry' \(Conv2D\): there is no activation 'mine' here"),
    (layer(1, activation={"class_name": "function", "config": "evil", "registered_name": "evil"}), "no activation 'evil'"),
    (layer(1, filters=4), r"tensor 'entry/kernel:0' is \[3, 3, 2, 3\], its settings say \[3, 3, 2, 4\]"),
    (layer(1, filters="many"), "filters many: expected a number"),
    (layer(1, kernel_size=[3, 3, 3]), r"kernel_size \[3, 3, 3\]: expected one or two numbers"),
    (layer(1, padding="causal"), "padding 'causal'"),
    (layer(1, strides=[0, 0]), r"strides \[0, 0\]: expected one or two numbers of 1 or more"),
    (layer(1, use_bias=False), r"tensor 'entry/bias:0' of layer 'entry': expected kernel, each once"),
    (layer(2, data_format="channels_first"), "both data formats"),
    (layer(5, axis=[1]), r"layer 'batch_normalization' \(BatchNormalization\): axis 1 is not that of the channels"),
    (layer(5, epsilon=float("nan")), "epsilon nan"),
    (layer(5, epsilon=-1), "epsilon -1"),
    (tensor("entry/entry/kernel:0", _1_2_0_1=np.nan), r"tensor 'entry/kernel:0' element \[1, 2, 0, 1\] is nan"),
    (tensor("dense/dense/bias:0", _3=np.inf), r"tensor 'dense/bias:0' element \[3\] is inf"),
    (tensor("batch_normalization/batch_normalization/moving_variance:0", _2=-0.5),
     r"tensor 'batch_normalization/moving_variance:0' element \[2\] is -0.5, a negative variance"),
    (replaced("entry/entry/kernel:0", np.zeros((3, 3, 2, 3), int)), "tensor 'entry/kernel:0' holds int64, no floating-point numbers"),
    (replaced("entry/entry/kernel:0", np.zeros((5, 5, 2, 3), "f4")), r"is \[5, 5, 2, 3\], its settings say \[3, 3, 2, 3\]"),
    (outside, "the file has no kernel of it"),
    (external_storage, "tensor 'entry/kernel:0' is kept in another file"),
    (lambda config, file: file["model_weights"].__delitem__("entry"), r"has no group of weights for layer 'entry'"),
    (lambda config, file: config["layers"].clear(), "a network without layers"),
    (lambda config, file: config.update(layers=7), "describes no network of Keras"),
    (lambda config, file: config["layers"].append(config["layers"][-1]), "two layers have one name"),
]
for number, (change, pattern) in enumerate(CASES):
    refuses(edited(f"bad{number}.h5", change), pattern)


def bomb(config, file):
    """A kernel that would be 2 GiB, of chunks that were never written."""
    layers_of(config, "Conv2D")[0].update(filters=1 << 24)
    del file["model_weights/entry/entry/kernel:0"]
    file["model_weights/entry/entry"].create_dataset("kernel:0", (3, 3, 2, 1 << 24), "f4", chunks=(3, 3, 2, 1 << 10), compression="gzip")


refuses(edited("bomb.h5", bomb), r"tensor 'entry/kernel:0' \[3, 3, 2, 16777216\]: 0 bytes are stored of 1207959552")


def archive(name, **members):
    """A copy of an archive with other members; None leaves one out."""
    with zipfile.ZipFile("functional3.keras") as source, zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as target:
        for member in source.namelist():
            data = members.get(member.replace(".", "_"), source.read(member))
            if data is not None:
                target.writestr(member, data)
    return name


def description(change):
    with zipfile.ZipFile("functional3.keras") as source:
        config = json.loads(source.read("config.json"))
    change(config["config"])
    return json.dumps(config)


def named(config, name):
    return next(one for one in config["layers"] if one["name"] == name)


def twice(config):
    named(config, "outside")["inbound_nodes"] *= 2


def circle(config):
    first, second = (named(config, name)["inbound_nodes"] for name in ("outside", "inner"))
    first[0]["args"][0]["config"]["keras_history"][0] = "inner"


refuses(archive("nested.keras", config_json="[" * 100000), "config.json is no JSON")
refuses(archive("plain.keras", config_json=b"{}"), "config.json describes no network of Keras")
refuses(archive("empty.keras", model_weights_h5=b""), "model.weights.h5 is no HDF5")
refuses(archive("zeros.keras", model_weights_h5=bytes(1 << 28)), "model.weights.h5 would inflate from")
refuses(archive("twice.keras", config_json=description(twice)), r"layer 'outside' \(Conv2D\): is used 2 times")
refuses(archive("circle.keras", config_json=description(circle)), "nothing leads to it from the input")
refuses(archive("two.keras", config_json=description(lambda config: config.update(output_layers=[["outside", 0, 0], ["inner", 0, 0]]))),
        "has 1 inputs and 2 outputs")
for source in ("sequential3.h5", "sequential3.keras"):  # cut off anywhere
    with open(source, "rb") as file:
        data = file.read()
    for part in (0.1, 0.5, 0.9, 0.999):
        cut = f"cut{part}.{source}"
        with open(cut, "wb") as file:
            file.write(data[:int(part * len(data))])
        refuses(cut, "cut[0-9.]+sequential3")
sys.exit(bool(failures))
