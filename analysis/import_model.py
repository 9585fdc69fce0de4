#!/usr/bin/env python3
"""A model file from a network that another framework trained: import_model.py FILE --pixels LOW,HIGH --out model.h5

What FILE is, its content tells: a network of Keras (.h5, .keras) or ONNX brings its architecture along; tensors of PyTorch (.pth,
.safetensors, .npz) go to the layers of --arch. import_keras.py, import_onnx.py and import_torch.py do the work and have --help.
"""
import importlib
import os
import sys

import model_file
import tensor_files
from model_file import Failure, Usage


def importer(path):
    """The module that reads it."""
    if not os.path.isfile(path):
        raise Failure(f"{path}: no such file")
    with open(path, "rb") as file:
        onnx = tensor_files.is_onnx(file.read(1 << 8))
    ending = os.path.splitext(path)[1].lower()
    if onnx or ending == ".onnx":
        return "import_onnx"
    if tensor_files.is_keras(path) or ending == ".keras":
        return "import_keras"
    if not any(word.split("=")[0] == "--arch" for word in sys.argv):
        tensor_files.read(path)  # says what a file is that holds no tensors
        raise Usage(f"{path}: holds tensors and no architecture: --arch NAME|FILE is needed, and import_torch.py --help says more")
    return "import_torch"


def run():
    words = sys.argv[1:]
    if words and words[0] in ("-h", "--help"):
        print(__doc__)
        return
    if not words or words[0].startswith("-"):
        raise Usage("FILE comes first: import_model.py FILE --pixels LOW,HIGH --out model.h5")
    importlib.import_module(importer(words[0])).run()


if __name__ == "__main__":
    model_file.main(run)
