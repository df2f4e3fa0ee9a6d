"""Writes the table of published methods into docs/methods/index.md, from the presets themselves.

    python docs_site/methods_table.py

Each method is built for digits (8 x 8 pixels, ten classes) on the embedded traffic-sign source
(32 x 32 pixels, 43 labels), so that the numbers of trained weights can be compared.
"""

import math
from pathlib import Path

import keras

from keras_reprogram import FrozenSource, build_method, embedded_path, method_names

PAGE = Path(__file__).parent.parent / "docs" / "methods" / "index.md"
BEGIN, END = "<!-- methods_table.py writes from here -->", "<!-- to here -->"
# Methods that read features instead of scores.
READS_FEATURES = ("kloberdanz_2020", "lor_vp_2025")
# Methods that take no images.
OF_SERIES = ("voice2series_2021",)


def table() -> str:
    """The table in Markdown, a row a method."""
    network = keras.models.load_model(embedded_path("traffic_signs.keras"), compile=False)
    rows = [
        "| method | program | map | weights of the program | loss | optimizer | epochs | batch |",
        "| --- | --- | --- | ---: | --- | --- | ---: | ---: |",
    ]
    for name in method_names():
        if name in OF_SERIES:
            continue
        output = "features" if name in READS_FEATURES else "scores"
        source = FrozenSource(network, value_range=(0, 255), output=output)
        method = build_method(name, source, (8, 8, 1), num_classes=10)
        rows.append(f"| {' | '.join(cells(name, method))} |")
    return "\n".join(rows)


def cells(name: str, method: object) -> list[str]:
    """The cells of one method."""
    model = method.model
    weights = sum(math.prod(variable.shape) for variable in model.program.trainable_variables)
    output_map = type(model.output_map).__name__
    assignment = getattr(model.output_map, "assignment", None)
    return [
        f"[{name}]({page_of(name)}.md)",
        type(model.program).__name__,
        output_map if assignment is None else f"{output_map}, {assignment}",
        f"{weights:,}",
        loss_name(model.loss),
        type(model.optimizer).__name__,
        str(method.epochs),
        str(method.batch_size),
    ]


def page_of(name: str) -> str:
    """The page that describes a method: her variants share one."""
    variant = name.startswith("kloberdanz_2020_")
    return "kloberdanz_2020_variant" if variant else name


def loss_name(loss: object) -> str:
    """Cross-entropy, or the class of another loss."""
    if loss == "sparse_categorical_crossentropy":
        return "cross-entropy"
    return type(loss).__name__


def page_with(rows: str, page: str) -> str:
    """The page with the table between its two marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{rows}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    PAGE.write_text(page_with(table(), PAGE.read_text()))
