"""What a user would take today: PyTorch (eager, channels last, and torch.compile), onnxruntime and OpenVINO on 2 threads, measured in turn
with filterscope bench on 2 ranks. What graphs.py and peers.py share; as a program, one of those libraries at work."""
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

THREADS = 2
PEERS = {"forward": ("eager", "compile", "onnxruntime", "openvino"), "train": ("eager", "compile")}


def from_text(path, size, labels):
    """The network of a file of layers that follow each other, as filterscope reads it."""
    import torch
    import torch.nn as nn
    layers, x = [], torch.zeros(1, 3, size, size)
    for line in open(path):
        word, *rest = line.split("#")[0].split() or [""]
        units = labels if rest[:1] == ["K"] else int(rest[0]) if rest else 0
        if word == "fc" and x.dim() > 2:
            layers.append(nn.Flatten())
            x = layers[-1](x)
        if not word:
            continue
        layers.append({"conv": lambda: nn.Conv2d(x.shape[1], units, int(rest[1][0]), padding=int(rest[3]), bias="bias" in rest),
                       "bn": lambda: nn.BatchNorm2d(x.shape[1]), "relu": nn.ReLU, "maxpool": lambda: nn.MaxPool2d(units),
                       "avgpool": lambda: nn.AvgPool2d(units), "globalavg": lambda: nn.AdaptiveAvgPool2d(1),
                       "fc": lambda: nn.Linear(x.shape[1], units, bias="bias" in rest)}[word]())
        x = layers[-1].eval()(x)
    return nn.Sequential(*layers)


def network(name, size, labels):
    """Of a file, or torchvision's."""
    if name.endswith(".txt"):
        return from_text(name, size, labels)
    import torch.nn as nn
    import torchvision
    net = getattr(torchvision.models, name)(weights=None, num_classes=labels)
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


def train_step(peer, net, x, labels):
    import torch
    net, x = net.train().to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    y = torch.randint(0, labels, (len(x),))
    optimiser = torch.optim.SGD(net.parameters(), lr=0.001, momentum=0.9, nesterov=True, weight_decay=5e-4)
    run, loss = torch.compile(net) if peer == "compile" else net, torch.nn.CrossEntropyLoss()

    def step():
        optimiser.zero_grad()
        loss(run(x), y).backward()
        optimiser.step()
    return step


def serve(peer, phase, name, size, batch, labels):
    """Makes the peer ready, then measures for as many seconds as each line of standard input says."""
    import torch
    torch.set_num_threads(THREADS)
    net, x = network(name, size, labels), torch.randn(batch, 3, size, size)
    step = forward_step(peer, net, x) if phase == "forward" else train_step(peer, net, x, labels)
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
    def __init__(self, python, peer, *case):
        self.name = peer
        words = [python, __file__, peer, *case]
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


def find_python(skip, modules):
    """PEERS_PYTHON, or a python3 that has the modules."""
    pythons = [os.environ["PEERS_PYTHON"]] if "PEERS_PYTHON" in os.environ else ["python3", "/usr/bin/python3"]
    pythons = [p for p in pythons if subprocess.run([p, "-c", f"import {modules}"], capture_output=True).returncode == 0]
    return pythons[0] if pythons else skip(f"no Python with {modules}: set PEERS_PYTHON")


def own_rate(binary, arch, phase, size, batch, labels, seconds):
    """filterscope's, in images a second."""
    words = ["mpirun", "--bind-to", "core", "-np", THREADS, binary, "bench", "--arch", arch, "--input", f"{size}x{size}x3", "--labels", labels,
             "--batch", batch, "--images", batch, "--seconds", seconds, "--only", phase]
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    rate = re.search(rf"^{phase} +([0-9.]+) images/s", done.stdout, re.M)
    if done.returncode or not rate:
        sys.exit(f"{' '.join(str(w) for w in words)}: {done.stdout}{done.stderr}")
    return float(rate.group(1))


def compare(python, binary, arch, name, phase, size, batch, labels, rounds, seconds):
    """Rounds of all, in turn: prints the medians, and the median and range of the ratio to the best peer of each round. `arch` is
    filterscope's name or file of the network, `name` that of network() above."""
    peers = []
    for peer in PEERS[phase]:
        peers.append(Peer(python, peer, phase, name, size, batch, labels))
        if peers[-1].answer() is None:
            peers.pop().close()
    rates = {peer: [] for peer in ["filterscope"] + [p.name for p in peers]}
    for _ in range(rounds):
        rates["filterscope"].append(own_rate(binary, arch, phase, size, batch, labels, seconds))
        for peer in peers:
            rates[peer.name].append(peer.measure(seconds))
            time.sleep(0.5)  # until its threads sleep
    for peer in peers:
        peer.close()
    print(f"{size:4} {phase:8} {os.path.basename(str(arch)):16}",
          *(f"{peer} {statistics.median(r):.1f} ({min(r):.0f} to {max(r):.0f})" for peer, r in rates.items()), sep="  ", end="  ")
    if peers:
        ratios = [mine / max(rates[p.name][i] for p in peers) for i, mine in enumerate(rates["filterscope"])]
        print(f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", end="")
    print(flush=True)


if __name__ == "__main__":
    serve(*sys.argv[1:4], *(int(word) for word in sys.argv[4:7]))
