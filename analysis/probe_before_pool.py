#!/usr/bin/env python3
"""A trained network, probed before the pools behind its last convolution: probe_before_pool.py model.h5 --out before.h5

Writes a model file with the same weights and settings, whose architecture names the maps to be probed: those of before, but the last
convolution's as it is before the pools that follow it. A sweep of it has larger fields to read that layer from; the network is the same.
"""
import argparse
import os
import tempfile

import h5py

import model_file
from claims import UNPOOLED, without_probes
from model_file import Failure, Usage

POOLS = ("maxpool", "avgpool", "globalavg", "globalmax")


def moved(lines, probed):
    """The lines, with "probe" at the end of those with the numbers `probed`, of which the last convolution's moves up beyond pools.
    Failure where there is no pool."""
    kinds = [line.split()[0] for line in lines]
    last = max(number for number, kind in enumerate(kinds) if kind == "conv")
    own = [number for number in probed if number >= last and "fc" not in kinds[last:number + 1]]
    if not own:
        raise Failure("its last convolution is not probed")
    place = own[0]
    while kinds[place] in POOLS:
        place -= 1
    if place == own[0]:
        raise Failure(f"no pool is before the probe of its last convolution, but {kinds[place]}")
    marked = {*probed, place} - {own[0]}
    return [f"{line} probe" if number in marked else line for number, line in enumerate(lines)]


def run():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="model file of filterscope train")
    parser.add_argument("--out", required=True, help="model file, which must not exist")
    parser.add_argument("--filterscope", help="the program ($FILTERSCOPE, the build folder beside this one, or PATH)")
    options = parser.parse_args()
    binary = model_file.program(options.filterscope)
    if os.path.lexists(options.out):
        raise Usage(f"{options.out}: exists")
    model = model_file.read(binary, options.model)
    with h5py.File(options.model, "r") as file:
        config = {key.decode(): value.decode() for key, value in file["config"][:].tolist()}
        if "mask" in file or "labels" in config:
            raise Failure(f"{options.model}: has masks, or labels that were left out, which this does not take along")
    probed = [row["line"] - 1 for row in model_file.layers_of(binary, model)[1] if row["probed"]]
    head = [line for line in model["text"].splitlines() if line.startswith("input ")]
    lines = [line for line in without_probes(model["text"]).splitlines() if not line.startswith("input ")]
    try:
        text = "\n".join([*head, *moved(lines, probed)]) + "\n"
    except Failure as failure:
        raise Failure(f"{options.model}: {failure}") from None
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(text)
        file.flush()
        size = "x".join(map(str, model["size"]))
        stored, rows = model_file.layers(binary, file.name, size, len(model["label_names"]))
    with model_file.appears(options.out) as temporary:
        model_file.write(temporary, model["arch"], stored, model["size"], model["label_names"], model["scaling"],
                         {**config, UNPOOLED: "yes"}, rows, model["arrays"])
        model_file.call(binary, "check", temporary)
    print(f"{options.out}: {options.model}, probed before the pool behind its last convolution")


if __name__ == "__main__":
    model_file.main(run)
