"""A model of strong scaling, 1 to 4,096 ranks, of the paper's full schedule on CIFAR-10: computation from times measured here on one
core, a slot of the size that a rank would have at a time; communication from message sizes and a stated network. The ranks of a
node share the transforms of weights, and all ranks the step of SGD.

  scaling.py [--arch vgg16-fc1] [--seconds S] [--rounds N] [--latency SECONDS] [--bandwidth BYTES_PER_SECOND] [--node RANKS]
             [--only knockout]

All sizes are measured in turn, N times, and the best time of each counts: a busy machine slows some, never all.

A second table is of ten sweeps with a seed each, as an array of jobs, by the ranks of each. A third is of the knock-out phase on 10,000 images: its jobs as src/sweep cuts and hands them out, at the price that the plan
gives them, which scales by the measured time of a forward pass; ranks ask for a job as they begin the one before.

Not in it: ranks of one node share its memory bandwidth; ranks wait for the slowest; reading data and writing files."""
import argparse
import heapq
import math
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
from common import BINARY

parser = argparse.ArgumentParser()
parser.add_argument("--arch", default="vgg16-fc1")
parser.add_argument("--seconds", type=float, default=0.5)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--latency", type=float, default=2e-6)
parser.add_argument("--bandwidth", type=float, default=10e9)
parser.add_argument("--node", type=int, default=16)
parser.add_argument("--only", choices=("all", "knockout"), default="all")
options = parser.parse_args()
BATCH, TRAIN, TEST, EPOCHS, LABELS = 100, 50000, 10000, 200, 10
BATCHES = EPOCHS * TRAIN / BATCH
SEEDS, MOST_OF_A_SWEEP = 10, 32
FILTERS = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)  # VGG-16's
FEATURES = (65536, 16384, 32768, 8192, 16384, 16384, 4096, 8192, 8192, 2048, 2048, 2048, 512)
PARAMETERS = 14.72e6


def once(images):
    """Seconds of a slot of so many images: a training step, of it what transforms weights and SGD take, a batch of all probes; and of an
    image's silencing."""
    text = subprocess.run([BINARY, "bench", "--arch", options.arch, "--batch", str(images), "--slots", "1", "--images", "200",
                           "--seconds", str(options.seconds)], capture_output=True, text=True, check=True).stdout
    rate = {name: float(found) for name, found in re.findall(r"^(\w+) +([0-9.]+) images/s", text, re.M)}
    weights, sgd = (float(found) / 1e3 for found in re.search(r"of a step ([0-9.]+) ms.*; ([0-9.]+) ms", text).groups())
    return images / rate["train"], weights, sgd, images / rate["probe"], 1 / rate["silence"]


def images_of(ranks):
    """Of a slot, where a batch has as many slots as ranks: the next power of two."""
    return math.ceil(BATCH / min(ranks, 128))


def measure(sizes):
    """{images: once(images), the best of all rounds}."""
    rounds = [{images: once(images) for images in sizes} for _ in range(options.rounds)]
    return {images: tuple(map(min, zip(*(each[images] for each in rounds)))) for images in sizes}


def levels(ranks):
    return math.ceil(math.log2(ranks))


def sum_of(ranks, size):
    """A sum over all ranks of so many bytes, by halves, and its way back."""
    return 2 * levels(ranks) * options.latency + 2 * size * (ranks - 1) / ranks / options.bandwidth


def small_sum(ranks, size):
    """The same up and down a tree, all bytes at each level."""
    return 2 * levels(ranks) * (options.latency + size / options.bandwidth)


def batch_of_probes(ranks, measured):
    """Its seconds: (of computing, of messages)."""
    return (measured[images_of(ranks)][3],
            sum_of(ranks, 4 * LABELS * sum(FEATURES)) + small_sum(ranks, 16 * len(FILTERS)) if ranks > 1 else 0)


def silencing(ranks, measured):
    return TEST / LABELS * math.ceil(LABELS / min(ranks, LABELS)) * measured[BATCH][4]


def schedule(measured):
    """The table of the paper's schedule."""
    print("| ranks | images of a slot | training, h | probes, h | silencing, s | in all, h | speed-up | share of time in messages |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    first = None  # hours of one rank
    for ranks in [2 ** power for power in range(13)]:
        working = min(ranks, 128)  # slots of a batch of 100
        train, weights, sgd = measured[images_of(ranks)][:3]
        train -= weights * (1 - 1 / min(working, options.node)) + sgd * (1 - 1 / working)
        norms = sum(2 * small_sum(working, 16 * filters) for filters in FILTERS) + small_sum(working, 16)
        train_messages = sum_of(working, 4 * PARAMETERS) + norms
        probe, probe_messages = batch_of_probes(working, measured)
        silence = silencing(ranks, measured)
        total = BATCHES * (train + train_messages + probe + probe_messages) + silence
        first = first or total
        print(f"| {ranks} | {images_of(ranks)} | {BATCHES * (train + train_messages) / 3600:.2f} | {BATCHES * (probe + probe_messages) / 3600:.2f} "
              f"| {silence:.1f} | {total / 3600:.2f} | {first / total:.1f} | {BATCHES * (train_messages + probe_messages) / total:.2f} |",
              flush=True)


def sweeps(measured):
    """The table of ten sweeps, each a job of its own."""
    print(f"\n{SEEDS} sweeps with a seed each, an array of as many jobs")
    print("| ranks of a sweep | in all | a sweep, h | efficiency |")
    print("| --- | --- | --- | --- |")
    first, ranks = None, 1
    while ranks <= MOST_OF_A_SWEEP:
        total = BATCHES * sum(batch_of_probes(ranks, measured)) + silencing(ranks, measured)
        first = first or total
        print(f"| {ranks} | {SEEDS * ranks} | {total / 3600:.2f} | {first / total / ranks:.3f} |", flush=True)
        ranks *= 2


PASSES, JOBS_OF_A_RANK, AHEAD, EXPERIMENT = 4, 64, 8, 20000  # of src/sweep/plan.c, knockouts.c and jobs.c


def knockout_units():
    """[passes of the whole network that an image of a block of filters costs], of a chain."""
    text = subprocess.run([BINARY, "arch", options.arch], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"^ *\d+ +(conv|fc) .* \d+x\d+x(\d+) +\d+ +(\d+)", text, re.M)
    macs, units = [int(macs) for _, _, macs in found], []
    for layer, (kind, filters, _) in enumerate(found[:-1]):
        if kind == "conv":
            filters = int(filters)
            before, behind = sum(macs[:layer + 2]), sum(macs[layer + 2:]) + macs[layer + 1] / filters + EXPERIMENT
            blocks = math.ceil(filters / min(filters, max(1, math.ceil((PASSES * sum(macs) - before) / behind))))
            each = math.ceil(filters / blocks)
            units += [(before + min(each, filters - first) * behind) / sum(macs) for first in range(0, filters, each)]
    return units


def finish(jobs, ranks):
    """When the last rank ends that takes jobs in this order."""
    ahead, end = len(jobs) // ranks >= AHEAD, 0
    waiting = [(0, 0)] * ranks  # when a rank asks, and when it is free
    for job in jobs:
        asks, free = heapq.heappop(waiting)
        begins = max(asks, free)
        end = max(end, begins + job)
        heapq.heappush(waiting, (begins if ahead else begins + job, begins + job))
    return end


def knockout(measured):
    """The table of the knock-out phase."""
    units, chunks, pass_seconds = knockout_units(), math.ceil(TEST / BATCH), TEST * measured[BATCH][4]
    print(f"\nknock-out: {len(units)} blocks, {sum(units):.0f} passes of {TEST} images")
    print("| ranks | jobs | time | efficiency |")
    print("| --- | --- | --- | --- |")
    for ranks in [2 ** power for power in range(13)]:
        jobs = []
        for cost in units:
            parts = 1 if ranks == 1 else min(chunks, math.ceil(cost / sum(units) * ranks * JOBS_OF_A_RANK))
            bounds = [chunks * part // parts for part in range(parts + 1)]
            jobs += [(cost / parts, cost * (end - begin) / chunks) for begin, end in zip(bounds, bounds[1:])]
        jobs = [cost for _, cost in sorted(jobs, key=lambda job: -job[0])]
        end = finish(jobs, ranks)
        print(f"| {ranks} | {len(jobs)} | {end * pass_seconds:.0f} s | {sum(units) / ranks / end:.3f} |", flush=True)


if options.only == "knockout":
    knockout(measure([BATCH]))
else:
    times = measure([images_of(2 ** power) for power in range(8)])
    schedule(times)
    sweeps(times)
    knockout(times)
