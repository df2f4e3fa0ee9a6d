"""The ONNX graphs before and after a source, and the three of them as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.output_map.dense_map import SMALLEST_REST, STD_FLOOR, DenseMap
from keras_reprogram.output_map.label_map import SMALLEST_MASS, MultiLabelMap
from keras_reprogram.output_map.new_head import NewHead
from keras_reprogram.output_map.output_map import OutputMap
from keras_reprogram.program.program import FixedProgram
from keras_reprogram.source.onnx_source import ONNXSource

if TYPE_CHECKING:
    import onnx

# Min and Max broadcast since opset 8, Round is there since 11; axes are an input of ReduceMean
# since 18. Nothing else that is used here has changed.
LEAST_OPSET, LEAST_OPSET_TO_ROUND, _AXES_ARE_AN_INPUT = 8, 11, 18
_LEAST_IR_VERSION = 8
_SOURCE, _OURS = "source/", "reprogram/"
_MAIN = ("", "ai.onnx")


class _Steps:
    """Operations in order; each returns the name of what it computes."""

    def __init__(self, part: str, opset: int) -> None:
        with needs_extra("onnx", "onnx"):
            import onnx
        self._onnx, self._part, self.opset = onnx, part, opset
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, value: Any, dtype: str = "float32") -> str:
        name = f"{_OURS}{self._part}/constant_{len(self.constants)}"
        array = np.ascontiguousarray(np.asarray(value, dtype)).reshape(np.shape(value))
        self.constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def apply(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        output = output or f"{_OURS}{self._part}/{kind}_{len(self.nodes)}"
        node = self._onnx.helper.make_node(kind, inputs, [output], name=output, **attributes)
        self.nodes.append(node)
        return output

    def with_constant(self, kind: str, value: str, constant: Any) -> str:
        return self.apply(kind, value, self.constant(constant))

    def reshape(self, value: str, *shape: int) -> str:
        return self.apply("Reshape", value, self.constant(shape, "int64"))

    def cast(self, value: str, dtype: str, output: str | None = None) -> str:
        kind = self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.apply("Cast", value, output=output, to=kind)

    def mean(self, value: str, axis: int, keepdims: int) -> str:
        if self.opset < _AXES_ARE_AN_INPUT:
            return self.apply("ReduceMean", value, axes=[axis], keepdims=keepdims)
        axes = self.constant([axis], "int64")
        return self.apply("ReduceMean", value, axes, keepdims=keepdims)

    def model(self, takes: Any, gives: Sequence[Any], opsets: Any) -> Any:
        """The operations as a model; its input and outputs are `(name, dtype, shape)` each."""
        helper = self._onnx.helper
        infos = [
            helper.make_tensor_value_info(
                name, helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), shape
            )
            for name, dtype, shape in (takes, *gives)
        ]
        graph = helper.make_graph(
            self.nodes, f"{_OURS}{self._part}", infos[:1], infos[1:], self.constants
        )
        model = helper.make_model(graph, opset_imports=opsets)
        model.ir_version = _LEAST_IR_VERSION
        return model


def images_a_call(model: ReprogrammedModel, source: ONNXSource) -> int | None:
    """How many target images the whole takes at once: 0 if none will do, `None` for any."""
    if source.images_a_call is None:
        return None
    images, left = divmod(source.images_a_call, model.queries_per_prediction)
    return 0 if left else images


def main_opset(network: onnx.ModelProto) -> int:
    """The version of ONNX's own operations that a network uses."""
    return max((each.version for each in network.opset_import if each.domain in _MAIN), default=1)


def joined_graph(
    model: ReprogrammedModel, fixed: FixedProgram, source: ONNXSource
) -> onnx.ModelProto:
    """Program, source and output map as one ONNX model, `image` -> `scores`."""
    with needs_extra("onnx", "onnx"):
        import onnx

    network = _prefixed(onnx.load(str(source.model_path)), source)
    opset, batch = main_opset(network), images_a_call(model, source)
    opsets = [onnx.helper.make_opsetid("", opset)]
    rows = "images" if batch is None else batch
    before = _before(model, fixed, source, opset)
    pixels = (before.nodes[-1].output[0], source.file.dtype, [None] * 4)
    front = before.model(("image", "float32", [rows, *model.input_shape[1:]]), [pixels], opsets)
    after = _after(model, source, opset)
    taken = (f"{_OURS}answer", _score_dtype(network), [None] * len(_score_shape(network)))
    columns = [rows, model.output_map.num_classes]
    gives = [("scores", "float32", columns)]
    if model.output_map.multi_label:
        gives.append(("findings", "bool", columns))
    back = after.model(taken, gives, opsets)
    for part in (network, front, back):
        part.ir_version = max(network.ir_version, _LEAST_IR_VERSION)
    takes, answers = _SOURCE + source.file.input_name, _SOURCE + source.file.output_name
    whole = onnx.compose.merge_models(front, network, io_map=[(pixels[0], takes)])
    return onnx.compose.merge_models(whole, back, io_map=[(answers, taken[0])])


def _prefixed(network: onnx.ModelProto, source: ONNXSource) -> onnx.ModelProto:
    """The source's own graph with one input and output, under names that are no others'."""
    from onnx import compose

    graph = network.graph
    # Files of old versions list their weights among the inputs.
    for values, kept in (
        (graph.input, source.file.input_name),
        (graph.output, source.file.output_name),
    ):
        chosen = [value for value in values if value.name == kept]
        del values[:]
        values.extend(chosen)
    for value in (*graph.input, *graph.output, *graph.value_info):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param:
                size.dim_param = _SOURCE + size.dim_param
    for each in network.opset_import:
        each.domain = "" if each.domain in _MAIN else each.domain
    # `add_prefix` does not rename weights inside of branches and loops.
    has_branches = any(a.HasField("g") for node in graph.node for a in node.attribute)
    return compose.add_prefix(network, _SOURCE, rename_initializers=not has_branches)


def _score_dtype(network: onnx.ModelProto) -> np.dtype:
    from onnx import helper

    return helper.tensor_dtype_to_np_dtype(network.graph.output[0].type.tensor_type.elem_type)


def _score_shape(network: onnx.ModelProto) -> Any:
    return network.graph.output[0].type.tensor_type.shape.dim


def _before(
    model: ReprogrammedModel, fixed: FixedProgram, source: ONNXSource, opset: int
) -> _Steps:
    """Target images -> pixels as the network takes them."""
    steps = _Steps("program", opset)
    (low, high), (dark, bright) = model.program.target_range, source.value_range
    height, width, channels = source.source_shape
    views, _, rows = fixed.rows.shape
    unit = steps.with_constant("Sub", "image", low)
    unit = steps.with_constant("Div", unit, high - low)
    images = steps.reshape(unit, -1, 1, *model.input_shape[1:])
    images = steps.with_constant("MatMul", images, fixed.colours[:, None])
    images = steps.with_constant("Add", images, fixed.offsets[:, None, None])
    images = _clipped(steps, images, 0.0, 1.0)
    if fixed.gain.ndim == 0:
        images = steps.with_constant("Mul", images, fixed.gain)
    images = steps.apply("MatMul", steps.constant(fixed.columns[:, None]), images)
    images = steps.reshape(images, -1, views, rows, width * channels)
    images = steps.apply("MatMul", steps.constant(fixed.rows), images)
    images = steps.reshape(images, -1, views, height, width, channels)
    if fixed.gain.ndim:
        images = steps.with_constant("Mul", images, fixed.gain)
    images = steps.with_constant("Add", images, fixed.behind)
    images = _clipped(steps, images, dark, bright)
    _as_the_network_takes(steps, steps.reshape(images, -1, height, width, channels), source)
    return steps


def _clipped(steps: _Steps, value: str, low: float, high: float) -> str:
    return steps.with_constant("Min", steps.with_constant("Max", value, low), high)


def _as_the_network_takes(steps: _Steps, images: str, source: ONNXSource) -> None:
    """What `ONNXSource.encode` does."""
    channels = source.source_shape[2]
    if source.channel_order == "bgr":
        order = steps.constant(range(channels)[::-1], "int64")
        images = steps.apply("Gather", images, order, axis=3)
    if source.preprocessing is not None:
        scale, offset = source.preprocessing
        images = steps.with_constant("Mul", images, scale)
        images = steps.with_constant("Add", images, offset)
    if source.network_input.axes is not None:
        images = steps.apply("Transpose", images, perm=list(source.network_input.axes))
    if source.file.dtype.kind != "f":
        # `value_range` lies within the limits of the type.
        images = steps.apply("Round", images)
    steps.cast(images, source.file.dtype.name, output=f"{_OURS}pixels")


def _after(model: ReprogrammedModel, source: ONNXSource, opset: int) -> _Steps:
    """The network's answers -> target probabilities."""
    steps = _Steps("output_map", opset)
    scores = steps.cast(f"{_OURS}answer", "float32")
    scores = steps.reshape(scores, -1, model.queries_per_prediction, source.num_labels)
    logits = _MAPS[type(model.output_map)](steps, scores, model.output_map)
    add_probabilities(steps, logits, model.output_map)
    return steps


def add_probabilities(steps: _Steps, logits: str, output_map: OutputMap) -> None:
    """Logits -> the outputs."""
    if not output_map.multi_label:
        steps.apply("Softmax", logits, output="scores", axis=1)
        return
    scores = steps.apply("Sigmoid", logits, output="scores")
    # `GreaterOrEqual` is of a later opset than sources may have.
    below = steps.with_constant("Less", scores, _array(output_map.thresholds))
    steps.apply("Not", below, output="findings")


def exports(output_map: OutputMap) -> bool:
    """Whether an output map can become an ONNX graph."""
    return type(output_map) in _MAPS


def _dense(steps: _Steps, scores: str, output_map: DenseMap) -> str:
    reading, epsilon = output_map.reading, float(_array(output_map.epsilon))
    logs = scores
    if reading.logarithm:
        logs = _logarithm(steps, scores, epsilon)
    if reading.odds:
        rest = steps.apply("Sub", steps.constant(1.0), scores)
        rest = _logarithm(steps, rest, max(epsilon, SMALLEST_REST))
        logs = steps.apply("Sub", logs, rest)
    if reading.centred:
        logs = steps.apply("Sub", logs, steps.mean(logs, axis=2, keepdims=1))
    logs = steps.reshape(logs, -1, math.prod(output_map.mean.shape))
    logs = steps.with_constant("Sub", logs, _array(output_map.mean))
    logs = steps.with_constant("Div", logs, np.maximum(_array(output_map.std), STD_FLOOR))
    return _affine(steps, logs, output_map)


def _logarithm(steps: _Steps, scores: str, epsilon: float) -> str:
    positive = steps.with_constant("Max", scores, 0.0)
    return steps.apply("Log", steps.with_constant("Add", positive, epsilon))


def _new_head(steps: _Steps, features: str, output_map: NewHead) -> str:
    return _affine(steps, steps.reshape(features, -1, output_map.kernel.shape[0]), output_map)


def _affine(steps: _Steps, features: str, output_map: DenseMap | NewHead) -> str:
    products = steps.with_constant("MatMul", features, _array(output_map.kernel))
    return steps.with_constant("Add", products, _array(output_map.bias))


def _labels(steps: _Steps, scores: str, output_map: MultiLabelMap) -> str:
    if output_map.score_kind == "logits":
        scores = steps.apply("Softmax", scores, axis=2)
    elif output_map.score_kind == "independent_logits":
        scores = steps.apply("Sigmoid", scores)
    mass = steps.with_constant("MatMul", scores, _array(output_map.label_weights))
    mass = steps.mean(mass, axis=1, keepdims=0)
    return steps.apply("Log", steps.with_constant("Max", mass, SMALLEST_MASS))


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32)


_MAPS: dict[type, Any] = {DenseMap: _dense, NewHead: _new_head, MultiLabelMap: _labels}
