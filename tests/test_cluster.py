"""The map over clips on a real Ray cluster of two nodes: the executor's contract, equal outputs, and what may go wrong."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray
import toys
import yaml
from test_executor import Contract, Toy, results

from vfer.clips import cluster
from vfer.clips.cluster import connection as link
from vfer.clips.cluster import driver, node
from vfer.clips.executor import each_clip
from vfer.data import sample
from vfer.errors import ClusterError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="several Ray nodes on one machine need Linux")
HOME = Path(__file__).resolve().parents[1]
PATHS = os.pathsep.join(str(HOME / folder) for folder in ("src", "", "tests"))
SMALL = ["--num-cpus=1", "--object-store-memory=80000000", "--min-worker-port=0", "--max-worker-port=0", "--include-log-monitor=false"]
QUICK = {"RAY_health_check_period_ms": "1000", "RAY_health_check_failure_threshold": "3", "RAY_USAGE_STATS_ENABLED": "0"}


class Nodes:
    """Ray nodes of one CPU on this machine, each in a session of its own, so that all of its processes can be ended."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.running = folder, free_port(), dict[str, subprocess.Popen[bytes]]()
        self.address = f"127.0.0.1:{self.port}"

    def begin(self) -> None:
        options = [f"--port={self.port}", f"--ray-client-server-port={free_port()}", f"--temp-dir={self.folder}"]
        self.start("head", ["--head", "--include-dashboard=false", "--no-monitor", *options])
        wait_until(lambda: listens(self.port) or self.running["head"].poll() is not None)
        self.add("second")
        self.check_start("head")

    def add(self, name: str, *before: str) -> None:
        self.start(name, [f"--address={self.address}"], *before)
        self.check_start(name)

    def start(self, name: str, options: list[str], *before: str) -> None:
        command = [*before, sys.executable, "-m", "ray.scripts.scripts", "start", f"--node-name={name}", *options, *SMALL]
        environment = os.environ | QUICK | {"PYTHONPATH": PATHS}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log, start_new_session=True)

    def check_start(self, name: str) -> None:
        assert self.running[name].wait(timeout=300) == 0, (self.folder / f"{name}.log").read_text()

    def kill(self, name: str) -> None:
        """End all processes of a node at once, as a power cut does."""
        process = self.running.pop(name)
        wait_until(lambda: not [os.kill(member, signal.SIGKILL) for member in members(process.pid)])
        process.wait()


def members(session: int) -> list[int]:
    """Living processes of a session."""
    pids = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = path.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(its_session) == session and state != "Z":
            pids.append(int(path.parent.name))
    return pids


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A cluster of two nodes; the name of its folder is short, since sockets lie in it."""
    running = Nodes(Path(tempfile.mkdtemp(prefix="ray-")))
    try:
        running.begin()
        yield running
    finally:
        for name in list(running.running):
            running.kill(name)
        shutil.rmtree(running.folder)


@pytest.fixture
def address(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("VFER_RAY_ADDRESS", nodes.address)
    return nodes.address


@pytest.fixture(scope="module")
def connection(nodes: Nodes) -> Iterator[None]:
    """One connection for many maps, so that Ray keeps its worker processes."""
    with link.connected(nodes.address):
        yield


@pytest.mark.usefixtures("address", "connection")
class TestCluster(Contract):
    tries = driver.TRIES


@dataclass(frozen=True)
class Where:
    clip: str
    folder: Path


def where(job: Where) -> str:
    """Say which node it runs on, and wait until it may end."""
    here = str(ray.get_runtime_context().get_node_id())
    (job.folder / f"{job.clip}-{here}").touch()
    wait_until((job.folder / "go").exists)
    return here


@pytest.mark.usefixtures("address", "connection")
def test_a_node_that_joins_gets_work_and_one_that_dies_loses_none(nodes: Nodes, tmp_path: Path) -> None:
    old = {there["NodeID"] for there in link.nodes()}
    clips = [str(number) for number in range(12)]

    def clips_on_the_third() -> set[str]:
        return {path.name.partition("-")[0] for path in tmp_path.iterdir() if path.name.partition("-")[2] not in old}

    def join_and_die() -> set[str]:
        nodes.add("third")
        wait_until(lambda: bool(clips_on_the_third()))
        nodes.kill("third")
        names = clips_on_the_third()
        (tmp_path / "go").touch()
        return names

    with ThreadPoolExecutor(1) as aside:
        future = aside.submit(join_and_die)
        node_of = {job.clip: there for job, there in each_clip(where, [Where(clip, tmp_path) for clip in clips], workers=2)}
    assert sorted(node_of) == sorted(clips)
    assert future.result()
    assert set(node_of.values()) <= old
    assert all(len(list(tmp_path.glob(f"{clip}-*"))) >= 2 for clip in future.result())


def stage(name: str, out: str, workspace: Path, address: str, *options: str) -> str:
    environment = os.environ | {"PYTHONPATH": PATHS, "VFER_RAY_ADDRESS": address, "VFER_STORE": "none", "VFER_WORKERS": "1"}
    command = [sys.executable, "-m", f"stages.{name}", *options, "--params", str(HOME / "params.yaml"), "--out", f"{out}/{name}"]
    process = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    return process.stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.timeout(600)  # six stages, three of them through Ray
def test_the_stages_write_the_same_bytes_as_here(nodes: Nodes, tmp_path: Path) -> None:
    """Paths are relative, as `dvc repro` gives them; the weights' folder is empty, so CenterFace is the detector."""
    sample.write(tmp_path / "data", actors=1, recordings=1, seconds=1, stills=1, modalities=["02"])
    toys.cnn(tmp_path / "cnn.onnx")
    output = {}
    for out, address in (("here", ""), ("there", nodes.address)):
        output[out] = stage("frames", out, tmp_path, address, "--clips", "data/clips.csv")
        output[out] += stage("faces", out, tmp_path, address, "--frames", f"{out}/frames/clips", "--weights", "weights")
        arguments = ("--faces", f"{out}/faces/clips", "--model", "cnn.onnx", "--clips", "data/clips.csv")
        output[out] += stage("features", out, tmp_path, address, *arguments)
    here, there = contents(tmp_path / "here"), contents(tmp_path / "there")
    assert len([name for name in here if name.endswith(".parquet")]) == 2 * 7 + 1
    assert there == here
    assert len(output["there"].splitlines()) == len(output["here"].splitlines())  # Ray says nothing
    assert not list(tmp_path.glob(".vfer*"))


DRIVER = """
import sys
from pathlib import Path
from test_executor import Toy, work
from vfer.clips.executor import each_clip
jobs = [Toy("0", "exit"), *(Toy(str(number), folder=Path("begun"), seconds=0.2) for number in range(1, 2000))]
try:
    for job, result in each_clip(work, jobs, workers=2):
        print(job.clip, result, flush=True)
except KeyboardInterrupt:
    print("stopped")
"""


@pytest.mark.usefixtures("address")
def test_ctrl_c_ends_what_is_under_way_and_ray_says_nothing_of_dead_workers(tmp_path: Path) -> None:
    marks = tmp_path / "begun"
    marks.mkdir()
    command = [sys.executable, "-c", DRIVER]
    environment = os.environ | {"PYTHONPATH": PATHS}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stdout
        assert driver.stderr
        lines = []
        for line in driver.stdout:
            lines.append(line)
            if line.startswith("0 "):
                driver.send_signal(signal.SIGINT)
        assert driver.stderr.read() == ""
    assert lines[-1] == "stopped\n"
    assert all(line.split()[0].isdecimal() for line in lines[:-1])
    assert driver.returncode == 0
    count = len(list(marks.iterdir()))
    assert count < 1999
    time.sleep(0.5)  # two jobs' time
    assert len(list(marks.iterdir())) == count


@pytest.mark.usefixtures("address", "connection")
@pytest.mark.parametrize("name", ["vfer", "onnxruntime"])
def test_other_code_than_the_drivers_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    here = node.code()
    monkeypatch.setattr(node, "code", lambda: here | {name: "another"})
    with pytest.raises(ClusterError, match=f"^Ray node (head|second): has {name} {here[name]}, the driver has another; install the same"):
        results([Toy("1")], 1)


@pytest.mark.usefixtures("address", "connection")
def test_a_node_that_does_not_see_the_workspace_is_named(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs "$0" && exec "$@"', str(tmp_path)]
    if subprocess.run([*wrapper, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets no process have mounts of its own")
    monkeypatch.chdir(tmp_path)
    nodes.add("blind", *wrapper)
    try:
        with pytest.raises(ClusterError, match=f"^Ray node blind: does not see {tmp_path} as the driver does; mount the storage"):
            results([Toy("1")], 1)
    finally:
        nodes.kill("blind")


def test_the_code_is_told_by_the_content_of_each_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(HOME / "src" / "vfer", tmp_path / "vfer", ignore=shutil.ignore_patterns("__pycache__"))
    before = node.code()
    monkeypatch.setattr(node.vfer, "__file__", str(tmp_path / "vfer" / "__init__.py"))
    assert node.code() == before
    with (tmp_path / "vfer" / "faces" / "track.py").open("a") as file:
        file.write("\n")
    assert node.code()["vfer"] != before["vfer"]


SILENT = """
from vfer import errors
from vfer.clips import cluster
cluster.connection.ANSWER = 1.0
try:
    next(cluster.each_clip("127.0.0.1:{port}", len, [1], workers=1))
except errors.ClusterError as error:
    print(error)
"""


def test_an_address_that_does_not_answer_is_said_in_one_line() -> None:
    """In a process of its own, since Ray goes on trying in a thread until the process ends."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        code = [sys.executable, "-c", SILENT.format(port=port)]
        process = subprocess.run(code, capture_output=True, text=True, check=True, timeout=60)
    assert process.stdout.startswith(f"VFER_RAY_ADDRESS: no Ray cluster at 127.0.0.1:{port} (no answer within 1 s); check the address")


def test_an_address_where_nothing_listens_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ClusterError, match=rf"^VFER_RAY_ADDRESS: no Ray cluster at 127\.0\.0\.1:{port} \(Connection refused\)"):
        next(cluster.each_clip(f"127.0.0.1:{port}", len, [Toy("1")], workers=1))


def test_as_many_jobs_are_under_way_as_the_cluster_has_room_for(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    cpus: list[float] = []
    monkeypatch.setattr(driver, "nodes", lambda: [{"Resources": {"CPU": count} if count else {}} for count in cpus])
    monkeypatch.setattr(driver, "LOOK", 0)
    room = driver.Room(2)
    assert [room(), room()] == [2, 2]
    assert caplog.messages == ["no node of the Ray cluster has a CPU to work with; the clips wait until one joins"]
    cpus += [0, 4.0, 16.0]
    assert room() == 3 * 20
    cpus.pop()
    assert room() == 3 * 4
    assert len(caplog.messages) == 1


def test_the_manifests_of_the_docs_mount_the_same_on_head_and_workers() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (HOME / "docs" / "scale.md").read_text(), re.DOTALL)
    manifests = {manifest["kind"]: manifest for block in blocks for manifest in yaml.safe_load_all(block)}
    pods = [manifests["RayCluster"]["spec"]["headGroupSpec"], *manifests["RayCluster"]["spec"]["workerGroupSpecs"]]
    first, *others = [pod["template"]["spec"] for pod in pods]
    assert others == [first]
    claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in first["volumes"]}
    assert {mount["name"] for mount in first["containers"][0]["volumeMounts"]} == set(claims)
    assert manifests["PersistentVolumeClaim"]["metadata"]["name"] in claims.values()
    assert manifests["PersistentVolumeClaim"]["spec"]["volumeName"] == manifests["PersistentVolume"]["metadata"]["name"]
