"""filterscope bench on 2 ranks beside what a user would take today, on networks with branches: PyTorch (eager, channels last, and
torch.compile), onnxruntime and OpenVINO on 2 threads. All are measured in turn, round after round; the ratio is to the best of them.

  graphs.py [--rounds N] [--seconds S] [--only NAMES]      names of networks, sizes (32, 224), phases (forward, train), by commas

    32x32, batch 128, and 224x224, batch 16; weights are random, batch norm as after construction (speed does not depend on them)
    forward: resnet18, mobilenet_v2, efficientnet_b0;  training step (SGD with Nesterov momentum): resnet18, mobilenet_v2

Needs a Python with PyPI's torch and torchvision, and for more peers onnx, onnxscript, onnxruntime and openvino (about 4 GB), named
by PEERS_PYTHON or found as python3; skipped without. What is not there, or fails, or does not compute in float32 (OpenVINO takes
bfloat16 on CPUs with AMX unless told: it is told), is left out and said so. A quiet machine is needed: these libraries lose more than
filterscope does when a core is busy elsewhere."""
import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

THREADS, LABELS = 2, 1000
CASES = [(size, batch, phase, name) for size, batch in ((32, 128), (224, 16)) for phase, names in
         (("forward", ("resnet18", "mobilenet_v2", "efficientnet_b0")), ("train", ("resnet18", "mobilenet_v2"))) for name in names]
OWN = {("resnet18", 32): "resnet18", ("resnet18", 224): "resnet18-224", "mobilenet_v2": "mobilenetv2", "efficientnet_b0": "efficientnet-b0"}
PEERS = {"forward": ("eager", "compile", "onnxruntime", "openvino"), "train": ("eager", "compile")}


def network(name, size):
    import torch.nn as nn
    import torchvision
    net = getattr(torchvision.models, name)(weights=None, num_classes=LABELS)
    if name == "resnet18" and size == 32:  # the stem for small images
        net.conv1, net.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return net


def forward_step(peer, net, x):
    import torch
    net = net.eval()
    if peer in ("eager", "compile"):
        import torch._inductor.config as config
        config.freezing = True
        net, x = net.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
        run = torch.compile(net) if peer == "compile" else net

        def step():
            with torch.no_grad():
                return run(x).numpy()
        return step
    if peer == "onnxruntime":
        import onnxruntime
        path = os.path.join(tempfile.mkdtemp(), "net.onnx")
        torch.onnx.export(net, x, path, dynamo=False)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: x.numpy()}
        return lambda: session.run(None, feed)[0]
    import openvino
    model = openvino.convert_model(net, example_input=x, input=list(x.shape))
    settings = {"INFERENCE_NUM_THREADS": THREADS, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()
    return lambda: request.infer([x.numpy()])[0]


def check_precision(step, net, x):
    """float32, as ours: bfloat16, which CPUs with AMX offer, differs by more than 1e-2."""
    import torch
    with torch.no_grad():
        wanted = net.eval()(x[:2]).numpy()
    difference = abs(step()[:2] - wanted).max() / abs(wanted).max()
    if not difference < 1e-3:
        sys.exit(f"not float32: logits differ by {difference:.1e} of the largest")


def train_step(peer, net, x):
    import torch
    net, x = net.train().to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    y = torch.randint(0, LABELS, (len(x),))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4)
    run, loss = torch.compile(net) if peer == "compile" else net, torch.nn.CrossEntropyLoss()

    def step():
        optimiser.zero_grad()
        loss(run(x), y).backward()
        optimiser.step()
    return step


def serve(peer, phase, name, size, batch):
    """Makes the peer ready, then measures for as many seconds as each line of standard input says."""
    import torch
    torch.set_num_threads(THREADS)
    net, x = network(name, size), torch.randn(batch, 3, size, size)
    step = {"forward": forward_step, "train": train_step}[phase](peer, net, x)
    if phase == "forward":
        check_precision(step, net, x)
    step(), step()
    print("ready", flush=True)
    for line in sys.stdin:
        times, end = [], time.time() + float(line)
        while time.time() < end or len(times) < 3:
            started = time.time()
            step()
            times.append(time.time() - started)
        print(batch / statistics.median(times), flush=True)


class Peer:
    def __init__(self, python, peer, phase, name, size, batch):
        self.name = peer
        words = [python, __file__, "--serve", peer, phase, name, size, batch]
        self.errors = tempfile.TemporaryFile("w+")  # no pipe: warnings would fill it
        self.process = subprocess.Popen([str(w) for w in words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env={k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_"))})

    def answer(self):
        """The next line of its own: libraries print there, too."""
        for line in self.process.stdout:
            if line == "ready\n" or re.fullmatch(r"[0-9.e+-]+\n", line):
                return line.strip()
        self.process.wait()
        self.errors.seek(0)
        print(f"{self.name} is left out: {(self.errors.read().strip().splitlines() or ['it ended'])[-1]}", file=sys.stderr, flush=True)
        return None

    def measure(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self.answer() or 0)

    def close(self):
        self.process.kill()
        self.process.communicate()


def own(binary, phase, name, size, batch, seconds):
    arch = OWN.get((name, size), OWN.get(name))
    words = ["mpirun", "--bind-to", "core", "-np", THREADS, binary, "bench", "--arch", arch, "--input", f"{size}x{size}x3", "--labels", LABELS,
             "--batch", batch, "--images", batch, "--seconds", seconds, "--only", phase]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    rate = re.search(rf"^{phase} +([0-9.]+) images/s", done.stdout, re.M)
    if done.returncode or not rate:
        sys.exit(f"{' '.join(str(w) for w in words)}: {done.stdout}{done.stderr}")
    return float(rate.group(1))


def compare(python, binary, options, size, batch, phase, name):
    peers = []
    for peer in PEERS[phase]:
        peers.append(Peer(python, peer, phase, name, size, batch))
        if peers[-1].answer() is None:
            peers.pop().close()
    rates = {peer: [] for peer in ["filterscope"] + [p.name for p in peers]}
    for _ in range(options.rounds):
        rates["filterscope"].append(own(binary, phase, name, size, batch, options.seconds))
        for peer in peers:
            rates[peer.name].append(peer.measure(options.seconds))
            time.sleep(0.5)  # until its threads sleep
    for peer in peers:
        peer.close()
    print(f"{size:4} {phase:8} {name:16}", *(f"{peer} {statistics.median(r):.1f}" for peer, r in rates.items()), sep="  ", end="  ")
    if peers:
        ratios = [mine / max(rates[p.name][i] for p in peers) for i, mine in enumerate(rates["filterscope"])]
        print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", end="")
    print(flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))
    from common import BINARY, skip
    pythons = [os.environ["PEERS_PYTHON"]] if "PEERS_PYTHON" in os.environ else ["python3", "/usr/bin/python3"]
    pythons = [p for p in pythons if subprocess.run([p, "-c", "import torch, torchvision"], capture_output=True).returncode == 0]
    if not pythons:
        skip("no Python with torch and torchvision: set PEERS_PYTHON")
    only = set(options.only.split(",")) - {""}
    print(f"images/s, medians of {options.rounds} rounds")
    for size, batch, phase, name in CASES:
        groups = (({"resnet18", "mobilenet_v2", "efficientnet_b0"}, name), ({"32", "224"}, str(size)), ({"forward", "train"}, phase))
        if all(own_word in only or not only & group for group, own_word in groups):
            compare(pythons[0], BINARY, options, size, batch, phase, name)


if sys.argv[1:2] == ["--serve"]:
    serve(*sys.argv[2:5], *(int(word) for word in sys.argv[5:7]))
else:
    main()
