"""params.yaml: what it may hold, and the one line that says what is wrong."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field

from vfer import params
from vfer.data.catalogue.labels import LabelsParams
from vfer.data.tables.params import FeaturesParams
from vfer.errors import ParamsError
from vfer.faces.params import FacesParams
from vfer.params import Params
from vfer.register.params import RegisterParams
from vfer.video.frames import FramesParams

HOME = Path(__file__).resolve().parents[1]


class Toy(Params):
    units: Annotated[int, Field(ge=1, le=8)]
    rate: Annotated[float, Field(gt=0)] = 0.5
    policy: Literal["largest", "central"] = "largest"


def load(tmp_path: Path, text: str) -> Toy:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return params.load(path, "lstm", Toy)


def refusal(tmp_path: Path, text: str) -> str:
    """Return the one line that the params are refused with."""
    with pytest.raises(ParamsError) as excinfo:
        load(tmp_path, text)
    line = str(excinfo.value)
    assert "\n" not in line
    assert line.startswith(f"{tmp_path / 'params.yaml'}: ")
    return line.removeprefix(f"{tmp_path / 'params.yaml'}: ")


def test_a_section_becomes_its_class(tmp_path: Path) -> None:
    section = load(tmp_path, "seed: 1\nlstm: {units: 4, policy: central}\n")
    assert section == Toy(units=4, rate=0.5, policy="central")
    with pytest.raises(ValueError, match="frozen"):
        section.units = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("lstm: {units: 4}\nlsmt: {}", "lsmt: unknown section; expected one of seed, labels,"),
        ("lstm: {units: 4, unit: 5}", "lstm.unit: unknown key; lstm has units, rate, policy"),
        ("lstm: {units: 9}", "lstm.units: input should be less than or equal to 8, got 9"),
        ("lstm: {units: 4, rate: 0}", "lstm.rate: input should be greater than 0, got 0"),
        ("lstm: {units: 4, rate: .nan}", "lstm.rate: input should be a finite number, got nan"),
        ("lstm: {units: 4, rate: .inf}", "lstm.rate: input should be a finite number, got inf"),
        ("lstm: {units: many}", "lstm.units: input should be a valid integer, unable to parse string as an integer, got 'many'"),
        ("lstm: {units: 4.5}", "lstm.units: input should be a valid integer, got a number with a fractional part, got 4.5"),
        ("lstm: {units: 4, policy: biggest}", "lstm.policy: input should be 'largest' or 'central', got 'biggest'"),
        ("lstm: {rate: 1}", "lstm.units: field required"),
        ("lstm: 4", "lstm: input should be a valid dictionary or instance of toy, got 4"),
        ("lstm:", "lstm: input should be a valid dictionary or instance of toy, got None"),
        ("frames: {}", "lstm: the section is missing"),
        ("lstm: {units: [", "is not valid YAML: while parsing a flow"),
        ("", "holds no sections; expected seed, labels,"),
        ("- lstm", "holds no sections; expected seed, labels,"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, text: str, line: str) -> None:
    assert refusal(tmp_path, text).startswith(line)


def test_a_missing_file_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"params\.yaml: cannot be read \(No such file or directory\); restore it with `git checkout"):
        params.read(tmp_path / "params.yaml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(b"lstm: \xff\xfe\x00")
    with pytest.raises(ParamsError, match=r"^[^\n]*params\.yaml: is not valid YAML"):
        params.load(path, "lstm", Toy)


@pytest.mark.parametrize(("text", "value"), [("seed: 0", 0), ("seed: 4294967295", 4294967295)])
def test_the_seed_is_read(tmp_path: Path, text: str, value: int) -> None:
    (tmp_path / "params.yaml").write_text(text)
    assert params.seed(tmp_path / "params.yaml") == value


@pytest.mark.parametrize("value", ["-1", "4294967296", "1.5", "true", "x", "null", "[1]"])
def test_a_seed_that_is_no_seed_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "params.yaml").write_text(f"seed: {value}")
    with pytest.raises(ParamsError, match="seed: expected an integer from 0 to 4294967295, got"):
        params.seed(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("frames", FramesParams),
        ("faces", FacesParams),
        ("labels", LabelsParams),
        ("features", FeaturesParams),
        ("register", RegisterParams),
    ],
)
def test_a_default_in_the_code_is_that_of_the_file(section: str, kind: type[Params]) -> None:
    """The package has defaults for when it is used without a repository; the file is what users read."""
    values = params.load(HOME / "params.yaml", section, kind)
    defaults = {name: field.get_default(call_default_factory=True) for name, field in kind.model_fields.items() if not field.is_required()}
    assert defaults
    assert {name: getattr(values, name) for name in defaults} == defaults
