"""The recipes of the network that comes with vfer."""

from pathlib import Path

import pytest
import yaml

from benchmarks import network, processes
from vfer import params
from vfer.cnn.params import CnnParams


def test_what_is_missing_is_trained_by_its_recipe_and_the_student_learns_from_the_teachers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[str, str]] = []

    def show(command: list[str], _: Path) -> None:
        stage, out = command[2].removeprefix("stages."), Path(command[-1])
        config = Path(command[command.index("--params") + 1])
        section = params.load(config, "cnn", CnnParams)
        assert params.read(config)["pretrain"]["enabled"] == (section.architecture == "mobilenet")
        ran.append((out.parent.name, stage))
        if stage == "cnn":
            taught = sorted(path.name for path in (tmp_path / "weights" / "teachers").glob("*.onnx"))
            assert bool(section.distillation) == (out.parent.name == "student")
            assert not section.distillation or taught == ["first.onnx", "second.onnx"]
            out.mkdir()
            (out / "model.onnx").write_bytes(b"network")
            (out / "run.json").write_text("{}")

    monkeypatch.setattr(processes, "show", show)
    network.main(tmp_path / "stills.parquet", tmp_path / "faceres", tmp_path, teachers_only=True)
    assert [name for name, _ in ran] == ["first", "first", "second", "second"]
    network.main(tmp_path / "stills.parquet", tmp_path / "faceres", tmp_path)
    assert ran[4:] == [("student", "pretrain"), ("student", "cnn")]


def test_every_recipe_is_complete() -> None:
    recipes = yaml.safe_load(network.RECIPES.read_text())
    for recipe in (*recipes["teachers"].values(), recipes["student"]):
        assert CnnParams.model_validate(recipe).votes
