"""Tiny `.onnx` classifiers, written with onnx's own helper."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SHAPE, NUM_LABELS = (8, 8, 3), 6
_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
    "int32": TensorProto.INT32,
    "string": TensorProto.STRING,
}


def kernel_and_bias(seed=0, shape=SHAPE):
    """Of pixels from -1 to 1."""
    random = np.random.default_rng(seed)
    size = int(np.prod(shape))
    kernel = random.normal(0, 0.15, (size, NUM_LABELS))
    return kernel.astype("float32"), random.normal(0, 0.5, NUM_LABELS).astype("float32")


def expected_scores(images, seed=0, shape=SHAPE):
    """The same in NumPy: `(n, H, W, C)` from 0 to 255 -> probabilities."""
    kernel, bias = kernel_and_bias(seed, shape)
    pixels = np.asarray(images, "float32") / np.float32(127.5) - 1
    logits = pixels.reshape(len(pixels), -1) @ kernel + bias
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def write_onnx(
    path,
    *,
    shape=SHAPE,
    channels_first=True,
    batch="images",
    sides=None,
    dtype="float32",
    normalises=True,
    activation="Softmax",
    flat=True,
    opset=17,
    names=("image", "scores"),
    extra_outputs=(),
    seed=0,
):
    """Writes a linear classifier of `shape`; it takes pixels from 0 to 255 if it `normalises`.

    `sides` overrides the height and width that the file declares; `flat=False` reshapes to one
    row, whatever the batch.
    """
    kernel, bias = kernel_and_bias(seed, shape)
    height, width = sides or shape[:2]
    declared = (shape[2], height, width) if channels_first else (height, width, shape[2])
    size = -1 if flat else kernel.shape[0]
    constants = {
        "kernel": kernel,
        "bias": bias,
        "rows": np.array([0 if flat else 1, size]),
        "scale": np.float32(1 / 127.5),
        "minus": np.float32(-1),
    }
    image, scores = names
    nodes = [helper.make_node("Cast", [image], ["pixels"], to=TensorProto.FLOAT)]
    last = "pixels"
    if normalises:
        nodes.append(helper.make_node("Mul", ["pixels", "scale"], ["scaled"]))
        nodes.append(helper.make_node("Add", ["scaled", "minus"], ["moved"]))
        last = "moved"
    if channels_first:
        nodes.append(helper.make_node("Transpose", [last], ["last"], perm=[0, 2, 3, 1]))
        last = "last"
    nodes += [
        helper.make_node("Reshape", [last, "rows"], ["flat"]),
        helper.make_node("MatMul", ["flat", "kernel"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits"]),
        helper.make_node(activation, ["logits"], [scores]),
    ]
    outputs = [helper.make_tensor_value_info(scores, TensorProto.FLOAT, [batch, NUM_LABELS])]
    for name, kind in extra_outputs:
        nodes.append(helper.make_node("ArgMax", [scores], [name], axis=1, keepdims=0))
        outputs.append(helper.make_tensor_value_info(name, kind, [batch]))
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info(image, _TYPES[dtype], [batch, *declared])],
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return save(path, graph, opset)


def save(path, graph, opset=17):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def write_graph(path, nodes, inputs, outputs, constants=()):
    """Any small graph: inputs and outputs as `(name, type name, shape)`."""

    def infos(values):
        return [helper.make_tensor_value_info(n, _TYPES[kind], shape) for n, kind, shape in values]

    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants]
    return save(path, helper.make_graph(nodes, "graph", infos(inputs), infos(outputs), tensors))
