#!/usr/bin/env python3
"""What PyTorch makes of a small network whose settings are unlike the built-in ones: the numbers that filterscope is compared with.

    torch_network.py FOLDER     writes FOLDER/small.npz (state dict) and FOLDER/small_expected.npz; made tests/fixtures with
                                PyTorch 1.13.1 and Debian's dataset-fashion-mnist
"""
import gzip
import os
import sys

import numpy as np
import torch
from torch import nn

import philox

FASHION = "/usr/share/datasets/fashion-mnist"
MEAN, STD = 0.2860, 0.3530
BATCH, STEPS, SEED, TESTED = 100, 50, 1, 500
# At lr 0.02 PyTorch in float32 and in float64 differ by 0.009 after 50 steps, at 0.002 by 0.0001: only steps
# that amplify rounding less can be compared.
TRAIN = {"lr": 0.0005, "momentum": 0.9, "weight_decay": 5e-4}
PROBE = {"lr": 0.01, "lr_decay": 0.975, "momentum": 0.975, "weight_decay": 1e-3}


def read(split):
    """Pixels [n, 28, 28] and labels [n] of Fashion-MNIST, as they are in its files."""
    with gzip.open(f"{FASHION}/{split}-images-idx3-ubyte.gz") as images, gzip.open(f"{FASHION}/{split}-labels-idx1-ubyte.gz") as labels:
        return np.frombuffer(images.read(), np.uint8, offset=16).reshape(-1, 28, 28), np.frombuffer(labels.read(), np.uint8, offset=8)


def scale(pixels):
    """[n, 1, 28, 28]: torchvision's ToTensor and Normalize."""
    return torch.from_numpy(((pixels[:, None] / 255 - MEAN) / STD).astype(np.float32))


def network():
    return nn.Sequential(
        nn.Conv2d(1, 12, 5, stride=2), nn.ReLU(),
        nn.Conv2d(12, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1),
        nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.BatchNorm2d(24), nn.Dropout(0.2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 10))


PROBED = (2, 6, 11)  # modules before which each convolution's probe looks: tests/fixtures/small.txt
FC = 12              # the module of the second group of parameters


def pretrain(seed=5):
    """Adam, a batch of 128, no augmentation, dropout: nothing here is as filterscope trains."""
    torch.manual_seed(seed)
    net, (pixels, labels) = network(), read("train")
    x, y = scale(pixels[:20000]), torch.from_numpy(labels[:20000].astype(np.int64))
    optimiser = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(2):
        for index in torch.randperm(len(x)).split(128):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(x[index]), y[index]).backward()
            optimiser.step()
    return net.eval()


def batches():
    """Input and labels of each of STEPS epochs of one batch, as filterscope orders and augments the first BATCH images."""
    pixels, labels = (values[:BATCH] for values in read("train"))
    x = scale(pixels).permute(0, 2, 3, 1).numpy()
    for epoch in range(1, STEPS + 1):
        order = philox.order(SEED, epoch, BATCH)
        augmented = philox.augment(x[order], order, SEED, epoch)
        yield epoch, torch.from_numpy(augmented).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels[order].astype(np.int64))


def training_losses(state):
    """Mean loss of each step before it, from the weights `state`, without dropout."""
    net, losses = network(), []
    net.load_state_dict(state)
    net.train()
    for module in net:
        if isinstance(module, nn.Dropout):
            module.eval()
    optimiser = torch.optim.SGD(net.parameters(), nesterov=True, **TRAIN)
    for _, x, y in batches():
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def features(net, layer, x):
    """The probed map of convolution `layer` from 1."""
    with torch.no_grad():
        return net[:PROBED[layer - 1]](x)


def probe(net, layer):
    """Losses of STEPS steps and the final weight [K, filters, height, width]."""
    losses, weight, optimiser = [], None, None
    for epoch, x, y in batches():
        maps = features(net, layer, x)
        if weight is None:
            count = maps[0].numel()
            first = philox.uniform(SEED, philox.PROBE, layer, 1 / np.sqrt(np.float32(count)), 10 * count)
            first = first.reshape(10, *maps.shape[2:], maps.shape[1]).transpose(0, 3, 1, 2)  # from (y, x, filter)
            weight = torch.from_numpy(first.copy()).requires_grad_()
            optimiser = torch.optim.SGD([weight], nesterov=True, lr=PROBE["lr"], momentum=PROBE["momentum"],
                                        weight_decay=PROBE["weight_decay"])
        optimiser.param_groups[0]["lr"] = PROBE["lr"] * PROBE["lr_decay"] ** epoch
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(torch.einsum("nfyx,kfyx->nk", maps, weight), y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses, weight.detach()


def fields(net, layer, weight):
    """Averaged fields [filters, input label, output unit] over the first TESTED test images, image by image as the method says."""
    pixels, labels = (values[:TESTED] for values in read("t10k"))
    single = torch.einsum("nfyx,kfyx->nfk", features(net, layer, scale(pixels)).double(), weight.double()).numpy()
    return np.stack([single[labels == label].mean(0) for label in range(10)], 1)


def logits(net, count):
    with torch.no_grad():
        return net(scale(read("t10k")[0][:count])).numpy()


def expect(net):
    """All that is compared."""
    net.eval()
    expected = {"logits": logits(net, TESTED), "losses": training_losses(net.state_dict()),
                "right": (logits(net, None).argmax(1) == read("t10k")[1]).sum()}
    for layer in range(1, len(PROBED) + 1):
        losses, weight = probe(net, layer)
        expected.update({f"probe{layer}": losses, f"field{layer}": fields(net, layer, weight).astype(np.float32)})
    return expected


def load(path):
    net = network()
    with np.load(path, allow_pickle=False) as file:
        net.load_state_dict({name: torch.from_numpy(file[name]) for name in file.files}, strict=False)
    return net.eval()


if __name__ == "__main__":
    trained = pretrain()
    np.savez_compressed(os.path.join(sys.argv[1], "small.npz"), **{
        name: values.numpy() for name, values in trained.state_dict().items() if values.is_floating_point()})
    np.savez_compressed(os.path.join(sys.argv[1], "small_expected.npz"), **expect(trained))
