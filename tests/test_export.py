"""What makes an ONNX file's bytes depend on its content alone."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import toys
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from vfer.features.cache import Embeddings
from vfer.lstm.sequences import pad
from vfer.nets.export import annotate, settle
from vfer.nets.session import Session

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # those of TensorFlow and tf2onnx


def graph(names: dict[str, str], order: tuple[int, ...]) -> onnx.GraphProto:
    """The same sums under other names, in another order of nodes that do not wait for each other; `dead` is read by none."""
    n = names.get
    nodes = [
        helper.make_node("Add", ["x", n("one", "one")], [n("a", "a")], name=n("a", "a") + "/node"),
        helper.make_node("Mul", ["x", n("two", "two")], [n("b", "b")]),
        helper.make_node("Relu", ["x"], [n("dead", "dead")]),
        helper.make_node("Sub", [n("a", "a"), n("b", "b")], ["y"]),
    ]
    constants = [onnx.numpy_helper.from_array(np.array([v], np.float32), n(k, k)) for k, v in (("one", 1), ("two", 2))]
    if order[0]:
        constants.reverse()
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in "xy"]
    return helper.make_graph([nodes[i] for i in order], "toy", ends[:1], ends[1:], constants)


def test_names_and_order_of_a_graph_do_not_reach_its_bytes() -> None:
    one, other = graph({}, (0, 1, 2, 3)), graph({"a": "q__17", "b": "a", "one": "z", "two": "b", "dead": "one"}, (2, 1, 0, 3))
    settle(one)
    settle(other)
    assert one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)
    assert [node.op_type for node in one.node] == ["Add", "Mul", "Sub"]
    assert (one.input[0].name, one.output[0].name) == ("x", "y")
    model = helper.make_model(one, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model)
    (output,) = ReferenceEvaluator(model).run(None, {"x": np.array([3, 5], np.float32)})
    np.testing.assert_array_equal(output, [3 + 1 - 2 * 3, 5 + 1 - 2 * 5])


def test_of_two_equal_results_of_a_loop_the_second_is_the_copy() -> None:
    def body(first: str, second: str) -> onnx.GraphProto:
        nodes = [helper.make_node("Neg", ["s"], ["v"]), helper.make_node("Identity", ["v"], ["w"])]
        ends = [helper.make_tensor_value_info(name, kind, []) for name, kind in (("i", TensorProto.INT64), ("c", TensorProto.BOOL))]
        state = helper.make_tensor_value_info("s", TensorProto.FLOAT, [])
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in (first, second)]
        return helper.make_graph(nodes, "body", [*ends, state], [ends[1], *outputs])

    def outer(inner: onnx.GraphProto) -> bytes:
        node = helper.make_node("Loop", ["m", "k", "x"], ["y", "all"], body=inner)
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [])]
        outputs = [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, []),
            helper.make_tensor_value_info("all", TensorProto.FLOAT, ["n"]),
        ]
        constants = [onnx.numpy_helper.from_array(np.array(3), "m"), onnx.numpy_helper.from_array(np.array(True), "k")]
        loop_graph = helper.make_graph([node], "toy", inputs, outputs, constants)
        settle(loop_graph)
        onnx.checker.check_model(helper.make_model(loop_graph, opset_imports=[helper.make_opsetid("", 17)]))
        return loop_graph.SerializeToString(deterministic=True)

    assert outer(body("v", "w")) == outer(body("w", "v"))


def test_texts_are_added_to_a_file_and_change_neither_the_others_nor_the_answers(tmp_path: Path) -> None:
    path = toys.good_lstm(tmp_path / "model.onnx")
    batch = pad([Embeddings(np.random.default_rng(0).random((3, 2)).astype(np.float32), np.arange(3.0))], 3)
    plain = Session(path)
    before = plain(batch)["probabilities"]
    annotate(path, {"first": "one", "second": "zwei ü"})
    annotate(path, {"second": "two"})
    session = Session(path)
    assert session.metadata == plain.metadata | {"first": "one", "second": "two"}
    assert session.classes == toys.CLASSES
    np.testing.assert_array_equal(session(batch)["probabilities"], before)
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
