"""What import_torch.py makes of the tensors' names: a tensor goes where its name says, whatever the order of the file; what contradicts
the architecture, or leaves a doubt, is refused in one line that names tensor and line; and --check compares the answers."""
import contextlib
import io
import os
import resource
import subprocess
import sys

import h5py
import numpy as np

from common import BINARY, folder

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "analysis")
sys.path.insert(0, SCRIPTS)
os.environ["FILTERSCOPE"] = BINARY
os.chdir(folder())
import import_torch  # noqa: E402
from model_file import Failure  # noqa: E402

failures, random = 0, np.random.default_rng(1)


def report(fine, *said):
    global failures
    failures += not fine
    print("ok  " if fine else "FAIL", *said)


def write(name, text, encoding="utf-8"):
    with open(name, "w", encoding=encoding) as file:
        file.write(text)
    return name


def imports(state, arch, *words):
    """(exit code, what was said) of an import to out.h5; `state` is a file, or arrays or their shapes by names."""
    if isinstance(state, dict):
        np.savez("state.npz",
                 **{name: random.random(array).astype("f4") if isinstance(array, tuple) else array for name, array in state.items()})
        state = "state.npz"
    with contextlib.suppress(FileNotFoundError):
        os.remove("out.h5")
    said, words = io.StringIO(), [state, "--arch", write("net.txt", arch), "--out", "out.h5", *words]
    sys.argv[1:] = words if "--pixels" in words else [*words, "--pixels", "-1,1"]
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            import_torch.run()
    except Failure as failure:
        assert not [name for name in os.listdir(".") if name.startswith("out.h5")], os.listdir(".")
        return failure.code, str(failure)
    return 0, said.getvalue()


def refused(what, word, state, arch, *words, code=1):
    found, said = imports(state, arch, *words)
    report(found == code and word in said and "\n" not in said, f"{what}: {said[:200]}")


def taken(what, state, arch, *words, says="", **expected):
    """Imported, and arrays of the model file are as expected (bn1_gamma=tensor's name or values)."""
    code, said = imports(state, arch, *words)
    fine = code == 0 and says in said
    if fine:
        with h5py.File("out.h5") as file:
            for name, values in expected.items():
                name = name.replace("_", ".")
                group = "statistic" if name.endswith(("mean", "variance")) else "parameter"
                fine = fine and np.array_equal(file[f"{group}/{name}"][:].ravel(), np.asarray(values, "f4").ravel())
    report(fine, f"{what}: {said.splitlines()[-1] if fine else said}")


def numbered(*sizes, first=1.0):
    """Vectors that differ, all positive."""
    return [np.full(size, first + place, "f4") for place, size in enumerate(sizes)]


NET = "input 8x8x1\nconv 4 3x3\nbn\nrelu\nmaxpool 2\nfc K bias\n"
gamma, beta, mean, variance = numbered(4, 4, 4, 4)
GOOD = {"a.weight": random.random((4, 1, 3, 3)).astype("f4"), "b.weight": gamma, "b.bias": beta, "b.running_mean": mean,
        "b.running_var": variance,
        "b.num_batches_tracked": np.array(7), "c.weight": random.random((3, 36)).astype("f4"), "c.bias": numbered(3)[0]}
ROLES = {"bn1_gamma": gamma, "bn1_beta": beta, "bn1_mean": mean, "bn1_variance": variance}


def renamed(state=GOOD, **names):
    return {names.get(name.replace(".", "_"), name): values for name, values in state.items()}


# --- the role
taken("PyTorch's order", GOOD, NET, **ROLES)
taken("sorted by an alphabet", dict(sorted(GOOD.items())), NET, **ROLES)
taken("backwards", dict(reversed(GOOD.items())), NET, **ROLES)
keras = renamed(b_weight="b.gamma", b_bias="b.beta", b_running_mean="b.moving_mean", b_running_var="b.moving_variance")
taken("Keras' names", keras, NET, "--bn-eps", "1e-5", **ROLES)
taken("Keras' slashes", {name.replace(".", "/") + ":0": values for name, values in keras.items()}, NET, "--bn-eps", "1e-5", **ROLES)
refused("Keras' epsilon", "--bn-eps is needed: 'b.gamma'", keras, NET, code=2)
for option in ("0", "-1", "nan", "inf"):
    refused(f"epsilon {option}", f"--bn-eps: {option} is not positive", GOOD, NET, "--bn-eps", option, code=2)
refused("no role", "tensor 'b.gammas' [4]: its name does not tell", renamed(b_weight="b.gammas"), NET)
refused("role in the beginning only", "tensor 'b.weight_decay' [4]: its name", renamed(b_weight="b.weight_decay"), NET)
refused("a name without end", "a name of 2006 characters", {**GOOD, "a." * 1000 + "weight": (4,)}, NET)
refused("two of a role", "tensors 'b.weight' and 'b.gamma' are both the weight", {**GOOD, "b.gamma": gamma}, NET, "--bn-eps", "1e-5")
refused("gamma of a convolution", "'a.gamma' is batch normalisation's by its name, line 2 'conv 4 3x3' wants conv1.weight",
        renamed(a_weight="a.gamma"), NET, "--bn-eps", "1e-5")
refused("statistics of a linear layer", "tensor 'c.running_mean' is batch normalisation's by its name, line 6",
        renamed(c_bias="c.running_mean"), NET)
refused("no statistics", "line 3 'bn' wants bn1.mean and bn1.variance, 'b.weight' comes without",
        {name: values for name, values in GOOD.items() if "running" not in name}, NET)
taken("affine=False", {name: values for name, values in GOOD.items() if name not in ("b.weight", "b.bias")}, NET, says="(not in the file)",
      bn1_gamma=np.ones(4), bn1_beta=np.zeros(4), bn1_mean=mean)
refused("only a bias is missing", "line 3 'bn' wants bn1.beta [4], but 'b.weight' comes without",
        {name: values for name, values in GOOD.items() if name != "b.bias"}, NET)
refused("a part of a weight", "remove_weight_norm", {**GOOD, "a.weight_g": (4, 1, 1, 1)}, NET)
plain = {"w1": (4, 1, 3, 3), "b1": numbered(4)[0], "w2": (3, 36), "b2": numbered(3)[0]}
taken("names without roles, no doubt", plain, "input 8x8x1\nconv 4 3x3 bias\nrelu\nmaxpool 2\nfc K bias\n", conv1_bias=plain["b1"])

# --- slopes
slopes = {"0.weight": (4, 1, 3, 3), "1.weight": numbered(4)[0], "2.weight": (4, 4, 3, 3), "3.weight": np.full(1, 0.5), "5.weight": (3, 4)}
PRELU = "input 8x8x1\nconv 4 3x3\nprelu\nconv 4 3x3\nprelu\nglobalavg\nfc K\n"
taken("learned slopes", dict(sorted(slopes.items())), PRELU, prelu1_weight=slopes["1.weight"], prelu2_weight=np.full(4, 0.5))
refused("slopes of another number", "tensor '1.weight' is [3], line 3 'prelu' wants prelu1.weight [4]", {**slopes, "1.weight": (3,)}, PRELU)

# --- the bias that line 2 forgets, or has too much
TWO = "input 8x8x1\nconv 4 3x3\nrelu\nconv 4 3x3\nrelu\nglobalavg\nfc K\n"
two = {"0.weight": (4, 1, 3, 3), "0.bias": (4,), "2.weight": (4, 4, 3, 3), "6.weight": (3, 4)}
refused("a bias forgotten", "tensor '0.bias' [4]: line 2 'conv 4 3x3' has no bias, which the word bias gives it", two, TWO)
refused("a bias too much", "line 4 'conv 4 3x3 bias' wants conv2.bias [4], but '2.weight' comes without", two,
        TWO.replace("conv 4 3x3", "conv 4 3x3 bias"))

# --- the order
deep = {f"features.{place}.weight": np.full((1, 1, 1, 1) if place < 11 else (3, 64), place, "f4") for place in range(12)}
DEEP = "input 8x8x1\n" + "conv 1 1x1\n" * 11 + "fc K\n"
TENTH = {"conv3_weight": [2], "conv11_weight": [10]}
taken("2 before 10", deep, DEEP, **TENTH)
taken("10 before 2", dict(sorted(deep.items())), DEEP, says="another order", **TENTH)
swapped = {name: deep[name] for name in sorted(deep, key=lambda name: (name != "features.2.weight", int(name.split(".")[1])))}
refused("2 before 0", "the file has 'features.2' where the names' numbers have 'features.0'", swapped, DEEP)
taken("2 before 0, as the file has it", swapped, DEEP, "--order", "file", conv1_weight=[2])
taken("2 before 0, by the names", swapped, DEEP, "--order", "names", conv3_weight=[2])
KINDS = "input 8x8x1\nconv 4 3x3 bias\nbn\nrelu\nconv 4 3x3 bias\nbn\nrelu\nglobalavg\nfc K bias\n"
kinds = {}
for place, name in enumerate(("bn1", "bn2", "conv1", "conv2", "fc")):
    kinds[f"{name}.bias"] = np.full(3 if name == "fc" else 4, place + 1, "f4")
    if name[0] == "b":
        kinds[f"{name}.running_mean"] = kinds[f"{name}.running_var"] = kinds[f"{name}.weight"] = kinds[f"{name}.bias"]
    else:
        kinds[f"{name}.weight"] = np.full({"conv1": (4, 1, 3, 3), "conv2": (4, 4, 3, 3), "fc": (3, 4)}[name], place + 1, "f4")
taken("bn1, bn2, conv1, conv2", kinds, KINDS, says="another order", bn1_beta=np.full(4, 1), bn2_beta=np.full(4, 2), conv2_bias=np.full(4, 4))
refused("bn2 behind conv1", "(in the order of the names", {name.replace("bn1", "bn3"): values for name, values in kinds.items()}, KINDS)
shapes = {"left": (4, 4, 1, 1), "right": (4, 4, 1, 1), "stem": (4, 1, 1, 1), "top": (3, 4)}
untold = {f"{name}.{leaf}": values for name, shape in shapes.items()
          for leaf, values in (("bias", np.full(shape[0], len(name), "f4")), ("weight", np.full(shape, len(name), "f4")))}
UNTOLD = "input 8x8x1\n" + "conv 4 1x1 bias\n" * 3 + "globalavg\nfc K bias\n"
refused("words without an order", "--order gives one", untold, UNTOLD)
taken("the order given", untold, UNTOLD, "--order", "stem,right.,left,top", conv2_bias=np.full(4, 5), conv3_bias=np.full(4, 4))
refused("a beginning that is no part", "--order: tensor 'stem.bias' begins with none", untold, UNTOLD, "--order", "ste,right,left,top",
        code=2)
same = {name: values for name, values in untold.items() if not name.startswith("stem")}
refused("two that could change places", "which of 'left' and 'right' comes first: --order", same, UNTOLD.replace("8x8x1", "8x8x4").replace(
    "conv 4 1x1 bias\n", "", 1))

# --- axes
kernel = random.random((3, 3, 1, 4)).astype("f4")
dense = random.random((36, 3)).astype("f4")
taken("TensorFlow's axes", {**{name: values for name, values in GOOD.items() if name[0] == "b"}, "a/kernel:0": kernel, "c/kernel:0": dense,
                            "c/bias:0": GOOD["c.bias"]}, NET, "--order", "a,b,c", conv1_weight=kernel, fc1_weight=dense.T)
refused("TensorFlow's or PyTorch's", "TensorFlow's axes and with PyTorch's", {"a.kernel": (3, 3, 3, 3), "c.kernel": (3, 3)},
        "input 3x3x3\nconv 3 3x3\nfc K\n")

# --- branches
for name in ("layer1.0.conv1", "layer2.1.left.0", "net.shortcut", "a.convShortcut", "res1.0", "block1.layer.0.conv2",
             "stage1.0.downsample.0", "conv2_x.0.residual_function.0", "Mixed_5b.branch1x1.conv", "fire2.squeeze"):
    refused(f"branches: {name}", "speaks of a network with branches", renamed(a_weight=f"{name}.weight"), NET)
for name in ("layer1.0", "features.0", "block1.conv1", "conv1_2", "highway.conv", "layers.0.conv", "compressed"):
    taken(f"a chain: {name}", renamed(a_weight=f"{name}.weight"), NET, **ROLES)
taken("branches, confirmed", renamed(a_weight="layer1.0.conv1.weight"), NET, "--chain", **ROLES)

# --- what is left out
extra = {"n_averaged": np.array(3), **{f"module.{name}": values for name, values in GOOD.items()}, "module.a.total_ops": np.zeros(1)}
taken("counters of others", extra, NET, says="left out: n_averaged, module.a.total_ops", **ROLES)
refused("an auxiliary head", "tensor 'aux.weight' [3, 4] is left over: the architecture takes 7 of 8; --ignore 'aux.weight'",
        {**GOOD, "aux.weight": (3, 4)}, NET)
taken("an auxiliary head left out", {**GOOD, "aux.weight": (3, 4), "aux.bias": (3,)}, NET, "--ignore", "aux.*",
      says="left out: aux.weight, aux.bias")
refused("a pattern for nothing", "--ignore: 'aux' matches no tensor", GOOD, NET, "--ignore", "aux", code=2)

# --- numbers that cannot be
for role, values, word in (("c.weight", np.nan, "element [1, 2] is nan"), ("a.weight", np.inf, "element [1, 0, 2, 0] is inf"),
                           ("b.running_var", -0.5, "element [2] is -0.5, a negative variance"),
                           ("b.running_mean", -np.inf, "element [2] is -inf"),
                           ("b.weight", 1e300, "element [2] is 1e+300, which float32 cannot hold")):
    wrong = GOOD[role].astype("f8")
    wrong[{"c.weight": (1, 2), "a.weight": (1, 0, 2, 0)}.get(role, 2)] = values
    refused(f"{values} in {role}", f"tensor '{role}' {word}", {**GOOD, role: wrong}, NET)
refused("complex numbers", "'c.weight'", {**GOOD, "c.weight": np.zeros((3, 36), complex)}, NET)
tiny = {**GOOD, "b.running_var": np.zeros(4, "f4")}
taken("no variance, small epsilon", tiny, NET, "--bn-eps", "1e-7", bn1_variance=np.zeros(4), bn1_gamma=gamma * np.sqrt(1e-5 / 1e-7))
for option, value, word in (("--std", "0.3,", "is no list of numbers"), ("--std", "0", "is not positive"),
                            ("--mean", "nan", "is no list of numbers"),
                            ("--mean", "1_0", "is no list"), ("--pixels", "0", "expected 2 numbers"), ("--pixels", "3,3", "is no range"),
                            ("--std", "1e999", "expected 1 or 1 numbers"), ("--pixels", "0,255,", "is no list"),
                            ("--mean", "-1,-2", "expected 1")):
    refused(f"{option} {value}", f"{option}: ", GOOD, NET, option, value, code=2)
    report(word in imports(GOOD, NET, option, value)[1], word)

# --- names of labels
write("latin1.txt", "ä\nb\nc\n", "latin-1")
write("mark.txt", "\ufeffä\nb\n\nc\n")
refused("label names in Latin-1", "latin1.txt: line 1: byte 0xe4 is no UTF-8", GOOD, NET, "--labels", "latin1.txt")
refused("too few names", "latin1.txt: 1 names, the network has 3 labels", GOOD, NET, "--labels", write("latin1.txt", "a\n"))
refused("a name that rings", "cannot be printed", GOOD, NET, "--labels", write("bell.txt", "a\x07\nb\nc\n"))
taken("a byte order mark", GOOD, NET, "--labels", "mark.txt")
with h5py.File("out.h5") as file:
    report(file["label_names"][0].decode() == "ä", "without the mark")

# --- the same answers
images = random.integers(0, 256, (20, 8, 8), np.uint8)
imports(GOOD, NET, "--pixels", "0,1")
os.replace("out.h5", "good.h5")
import import_common  # noqa: E402

logits = import_common.logits_of(BINARY, "good.h5", images[..., None], 3)
below = import_common.log_softmax(logits)
for what, values in (("logits", logits), ("probabilities", np.exp(below)), ("log probabilities", below)):
    np.savez("check.npz", images=images, logits=values)
    taken(f"{what} agree", GOOD, NET, "--pixels", "0,1", "--check", "check.npz", says=f"largest difference of the {what}")
    refused(f"{what} of another range", "the same answer to", GOOD, NET, "--pixels", "0,255", "--check", "check.npz", code=3)
for arrays, word in (({"images": images}, "images and logits (or probabilities) are needed"),
                     ({"images": images, "logits": logits[1:]}, "expected [20, 3]"),
                     ({"images": images / 255, "logits": logits}, "uint8 [images, 8, 8, 1]"),
                     ({"images": images[:, 1:], "logits": logits}, "[20, 7, 8]"),
                     ({"images": images, "logits": logits * np.nan}, "logits of image 0 are not finite")):
    np.savez("wrong.npz", **arrays)
    refused("images of a check", word, GOOD, NET, "--check", "wrong.npz")

# --- a full disk: one line, exit code 1, nothing under the final name; and what cannot be printed is a failure
def limited(script, size, *words, **settings):
    """Under a limit of the size of files."""
    command = [sys.executable, f"{SCRIPTS}/{script}", *words]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
                          **{"stdout": subprocess.DEVNULL, **settings})


IMPORT = ["import_torch.py", "good.npz", "--arch", "net.txt", "--out", "full.h5", "--pixels", "0,1"]
np.savez("good.npz", **GOOD)
write("net.txt", NET)
for size in range(0, os.path.getsize("good.h5"), 2000):
    done = limited(IMPORT[0], size, *IMPORT[1:])
    report(done.returncode == 1 and done.stderr == "import_torch.py: full.h5: File too large\n" and "full.h5" not in os.listdir("."), size,
           done.stderr.strip())
with open("/dev/full", "w") as full:
    done = subprocess.run([sys.executable, f"{SCRIPTS}/{IMPORT[0]}", *IMPORT[1:]], stdout=full, stderr=subprocess.PIPE, text=True)
report(done.returncode == 1 and done.stderr == "import_torch.py: standard output: No space left on device\n", done.stderr.strip())

# --- the names of another state dict
try:
    import torch
except ImportError:
    print("PyTorch is not installed: nothing was exported")
    sys.exit(failures > 0)
np.savez("like.npz", **{f"net.{name}": values for name, values in sorted(GOOD.items())})
EXPORT = ["export_torch.py", "good.h5", "--out", "back.pth", "--module", "back.py"]
done = limited(EXPORT[0], 100, *EXPORT[1:])
report(done.returncode == 1 and done.stderr.count("\n") == 1 and not {"back.pth", "back.py"} & set(os.listdir(".")), done.stderr.strip())
done = limited(EXPORT[0], 1 << 30, *EXPORT[1:], "--like", "like.npz")
back = torch.load("back.pth", weights_only=True)
report(all(np.array_equal(back[f"net.{name}"].numpy(), values) for name, values in GOOD.items() if name[2:] != "num_batches_tracked"),
       "there and back", list(back), done.stderr)
net = torch.nn.Linear(1, 2)
several = {"model": {name: torch.from_numpy(values) for name, values in GOOD.items()}, "list": [net.state_dict(), 3], "acc": 0.5}
several["ema"] = {name: values + 1 if values.is_floating_point() else values for name, values in several["model"].items()}
torch.save(several, "several.pth")
refused("several state dicts", "holds 3 state dicts, model, list.0, ema: --key", "several.pth", NET)
taken("one of several", "several.pth", NET, "--key", "ema", bn1_gamma=gamma + 1)
refused("one that is not there", "--key: 'list.4': several.pth has no '4' there, but 0, 1", "several.pth", NET, "--key", "list.4", code=2)
refused("one that is none", "is a int, no state dict", "several.pth", NET, "--key", "list.1", code=2)
lightning = {"state_dict": {f"module.{name}": torch.nn.Parameter(values, requires_grad=False) for name, values in several["model"].items()},
             "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4, 1, 3, 3)}}}}
for wrapped in ({"net": several["model"], "acc": 91.2, "lr": np.float64(0.1)}, lightning, [several["model"]], several["model"]):
    torch.save(wrapped, "wrapped.pth")
    taken("wrapped", "wrapped.pth", NET, **ROLES)
module = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
                             torch.nn.Flatten(), torch.nn.Linear(36, 3))
torch.save({"net": module}, "module.pth")
torch.jit.save(torch.jit.script(module), "script.pt")
for name in ("module.pth", "script.pt"):
    taken("a pickled module", name, NET, says="torch.nn.modules.container.Sequential': its tensors are taken, no code is run",
          conv1_weight=module[0].weight.detach().numpy().transpose(2, 3, 1, 0), fc1_bias=module[5].bias.detach().numpy())
torch.jit.save(torch.jit.freeze(torch.jit.script(module.eval())), "frozen.pt")
refused("a program that holds its tensors as constants", "frozen.pt: a TorchScript program whose tensors are frozen", "frozen.pt", NET)
sys.exit(failures > 0)
