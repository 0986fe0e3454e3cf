#!/usr/bin/env python3
"""Measures what specs/benchmarks.md promises, on this machine, with the binary given.

    cargo build --release
    (cd tests/bench/plain_iroh && cargo build --release)       # for the transfer row
    python3 tests/bench/measure.py target/release/hearth [row ...]

Rows: up status idle path demo transfer. Needs nothing but Python's own library.
"""
import json, os, shutil, statistics, struct, subprocess, sys, tempfile, time
from pathlib import Path

HERE = Path(__file__).parent
HEARTH = str(Path(sys.argv[1]).resolve())
ROOT = Path(tempfile.mkdtemp(prefix="hearth-bench-"))
CONFIG = '''nickname = "{name}"
[network]
listen = "127.0.0.1:0"
mdns = false
[blobs]
listen = "127.0.0.1:0"
[worker]
enabled = {worker}
'''


class Node:
    def __init__(self, name, worker=True):
        self.home = ROOT / name
        self.home.mkdir()
        (self.home / "config.toml").write_text(CONFIG.format(name=name, worker=str(worker).lower()))
        self.process = None

    def up(self):
        """Starts the node; returns seconds until it says that it is ready."""
        begun = time.perf_counter()
        self.process = subprocess.Popen([HEARTH, "--home", self.home, "up"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("ready"), line
        return time.perf_counter() - begun

    def run(self, *args):
        done = subprocess.run([HEARTH, "--home", self.home, "--json", *map(str, args)],
                              capture_output=True, text=True)
        assert done.returncode == 0, (args, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def figures(self):
        """Returns resident MB, of which private MB, and processor seconds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        read = lambda key: int(next(l for l in status.splitlines() if l.startswith(key)).split()[1]) / 1024
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return read("VmRSS:"), read("RssAnon:"), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(act):
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def pair(first, second):
    """A commons of two connected nodes."""
    first.up(), second.up()
    first.run("commons", "create", "bench", "--member-line", "100000")
    ticket = first.run("commons", "invite")["ticket"]
    second.run("commons", "join", ticket)
    until(lambda: first.run("status")["connected"] == 1 and second.run("status")["connected"] == 1)


def until(test, seconds=30):
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def lora(path, size):
    """A valid LoRA of one big module."""
    rank = size // (4 * 640)
    name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
    down, up = rank * 320 * 4, 320 * rank * 4
    header = {f"{name}.lora_down.weight": {"dtype": "F32", "shape": [rank, 320], "data_offsets": [0, down]},
              f"{name}.lora_up.weight": {"dtype": "F32", "shape": [320, rank], "data_offsets": [down, down + up]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        block = os.urandom(1 << 20)
        left = down + up
        while left:
            left -= file.write(block[:min(left, len(block))])


def up():
    node, times = Node("up"), []
    node.up(), node.run("commons", "create", "bench"), node.stop()
    for _ in range(7):
        times.append(node.up())
        node.stop()
    print(f"up until ready: {1000 * statistics.median(times):.0f} ms (median of 7, worst {1000 * max(times):.0f})")


def status():
    node = Node("status")
    node.up(), node.run("commons", "create", "bench")
    times = [timed(lambda: node.run("status")) for _ in range(20)]
    print(f"status: {1000 * statistics.median(times):.0f} ms (median of 20, worst {1000 * max(times):.0f})")
    node.stop()


def idle(seconds=60):
    a, b = Node("idle-a"), Node("idle-b")
    pair(a, b)
    time.sleep(10)
    before = a.figures()
    time.sleep(seconds)
    after = a.figures()
    print(f"idle, one member connected: {after[0]:.1f} MB resident, {after[1]:.1f} of them private; "
          f"{100 * (after[2] - before[2]) / seconds:.2f} % of a core over {seconds} s")
    a.stop(), b.stop()


def path():
    worker, asker = Node("path-worker"), Node("path-asker")
    pair(worker, asker)
    model = ROOT / "model"
    subprocess.run([HEARTH, "demo", "--dir", ROOT / "seed", "--keep", "--json"], check=True, stdout=subprocess.DEVNULL)
    shutil.copytree(ROOT / "seed" / "models", model)
    checkpoint = next(entry for entry in model.iterdir() if entry.is_dir())
    worker.run("model", "add", checkpoint), asker.run("model", "add", checkpoint)
    peer = worker.run("status")["node"]
    def job(where):
        return lambda: asker.run("generate", "a fire", "--size", "64x64", "--steps", "2", "--where", where,
                                 "--seed", "1", "--out", ROOT / "out.png")
    until(lambda: len(asker.run("model", "list")["models"]) == 1)
    job(peer)(), job("local")()
    rounds = [(timed(job(peer)), timed(job("local"))) for _ in range(25)]
    far, near = (statistics.median(times) for times in zip(*rounds))
    more = statistics.median(far - near for far, near in rounds)
    print(f"the same job: {1000 * far:.0f} ms at a peer, {1000 * near:.0f} ms locally, "
          f"{1000 * more:.0f} ms for the commons (medians of 25 pairs)")
    worker.stop(), asker.stop()


def demo():
    seconds = timed(lambda: subprocess.run([HEARTH, "demo", "--dir", ROOT / "demo", "--json"], check=True,
                                           stdout=subprocess.DEVNULL))
    print(f"demo: {seconds:.1f} s")


def transfer(size=1 << 30):
    giver, taker = Node("giver", False), Node("taker", False)
    file = ROOT / "big.safetensors"
    lora(file, size)
    pair(giver, taker)
    before = sum(f.stat().st_blocks * 512 for f in giver.home.rglob("*") if f.is_file())
    importing = timed(lambda: giver.run("model", "add", file, "--title", "big"))
    grown = sum(f.stat().st_blocks * 512 for f in giver.home.rglob("*") if f.is_file()) - before
    print(f"import of 1 GiB: {importing:.2f} s, the node's home grew by {grown / 1e6:.1f} MB")
    until(lambda: any(m["title"] == "big" and m["seeders"] for m in taker.run("model", "list")["models"]))
    plain_binary = HERE / "plain_iroh/target/release/plain-iroh"
    def ours():
        taken = taker.run("model", "fetch", "big")["took"] / 1000
        taker.run("model", "rm", "big")
        return taken
    def plain(round):
        where = ROOT / f"plain-{round}"
        done = subprocess.run([plain_binary, where, file], capture_output=True, text=True, check=True)
        shutil.rmtree(where)
        return float(done.stdout)
    mb = os.path.getsize(file) / 1e6
    rounds = [(plain(i), ours()) for i in range(3)]
    for theirs, mine in rounds:
        print(f"1 GiB: {mb / mine:.0f} MB/s here, {mb / theirs:.0f} MB/s with iroh-blobs alone: {100 * theirs / mine:.0f} %")
    giver.stop(), taker.stop()


try:
    for row in sys.argv[2:] or ["up", "status", "idle", "path", "demo", "transfer"]:
        globals()[row]()
finally:
    shutil.rmtree(ROOT, ignore_errors=True)
