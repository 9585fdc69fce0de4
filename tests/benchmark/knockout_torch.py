"""PyTorch's side of knockout.py: what a filter costs that is taken out of a network, in two ways, on all images.

  knockout_torch.py NETWORK.py STATE.pth IMAGES LABELS POINT FILTERS whole|prefix [--threads N] [--batch N]

IMAGES holds float32 [images, 3, 32, 32], LABELS int64. POINT is the number of the module, of a Sequential, whose output is the map.
whole: a forward hook makes the filter's map 0, and the whole network runs; prefix: the modules up to POINT run once a batch,
the rest for each filter. Prints the seconds of the prefix and of each filter (from 0, every tenth of the layer), and its right answers."""
import argparse
import runpy
import time

import torch

parser = argparse.ArgumentParser()
parser.add_argument("network")
parser.add_argument("state")
parser.add_argument("images")
parser.add_argument("labels")
parser.add_argument("point", type=int)
parser.add_argument("filters")
parser.add_argument("form", choices=("whole", "prefix"))
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=100)
options = parser.parse_args()


def read(path, kind):
    with open(path, "rb") as file:
        return torch.frombuffer(bytearray(file.read()), dtype=kind)


torch.set_num_threads(options.threads)
network = runpy.run_path(options.network)["network"]().eval()
network.load_state_dict(torch.load(options.state, map_location="cpu"))
images = read(options.images, torch.float32).reshape(-1, 3, 32, 32).split(options.batch)
labels = read(options.labels, torch.int64).split(options.batch)
filters = [int(word) for word in options.filters.split(",")]
before, behind = network[:options.point + 1], network[options.point + 1:]


def whole(number):
    def silence(module, inputs, output):
        output[:, number] = 0
    hook = network[options.point].register_forward_hook(silence)
    right = sum(int((network(x).argmax(1) == y).sum()) for x, y in zip(images, labels))
    hook.remove()
    return right


def prefix():
    """(Seconds of the prefix, [right, seconds] of the filters), batch by batch."""
    once, found = 0, [[0, 0] for _ in filters]
    for x, y in zip(images, labels):
        started = time.perf_counter()
        map_ = before(x)
        once += time.perf_counter() - started
        for place, number in enumerate(filters):
            started = time.perf_counter()
            kept = map_[:, number].clone()
            map_[:, number] = 0
            found[place][0] += int((behind(map_).argmax(1) == y).sum())
            map_[:, number] = kept
            found[place][1] += time.perf_counter() - started
    return once, found


with torch.no_grad():
    network(images[0])  # warm
    if options.form == "prefix":
        once, found = prefix()
    else:
        once, found = 0, []
        for number in filters:
            started = time.perf_counter()
            right = whole(number)
            found.append((right, time.perf_counter() - started))
print("torch", torch.__version__)
print("once", once)
for number, (right, seconds) in zip(filters, found):
    print("filter", number, right, seconds)
