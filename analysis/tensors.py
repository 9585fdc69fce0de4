"""A tensor in a file, whose numbers are read when they are asked for."""
import contextlib

import numpy as np

from model_file import Failure, shown

BFLOAT16 = "bfloat16"  # NumPy has none


class Tensor:
    """shape, kind (NumPy's name of the type, or "bfloat16"), and read(), which returns the numbers."""

    def __init__(self, shape, kind, read):
        self.shape, self.kind, self.read = tuple(shape), kind, read


def item_size(kind):
    return 2 if kind == BFLOAT16 else np.dtype(kind).itemsize


def decode(data, kind, order="<"):
    """The numbers in `data`, whose bytes come in `order`; bfloat16 as float32."""
    if kind == BFLOAT16:
        return (np.frombuffer(data, f"{order}u2").astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.frombuffer(data, np.dtype(kind).newbyteorder(order)).astype(kind)


def numbers_of(name, tensor, role):
    """float32, all finite, variances not negative."""
    if not (tensor.kind.startswith("float") or tensor.kind == "bfloat16"):
        raise Failure(f"tensor '{shown(name)}' holds {tensor.kind}, no floating-point numbers")
    values = tensor.read()
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    wrong = ~np.isfinite(rounded) if role != "variance" else ~(np.isfinite(rounded) & (rounded >= 0))
    if wrong.any():
        place = np.unravel_index(int(wrong.argmax()), wrong.shape)
        value = values[place]
        why = "" if not np.isfinite(value) else ", which float32 cannot hold" if not np.isfinite(rounded[place]) else ", a negative variance"
        raise Failure(f"tensor '{shown(name)}' element {list(map(int, place))} is {value:g}{why}")
    return rounded


@contextlib.contextmanager
def damage(path, what):
    """Whatever a parser finds wrong as one line."""
    try:
        yield
    except (Failure, MemoryError):
        raise
    except OSError as error:
        raise Failure(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # depends on the parser and on what is wrong
        first = (str(error).splitlines() or [""])[0]
        raise Failure(f"{path}: {what}: {shown(first) or type(error).__name__}") from None
