"""Whether two halves and a source belong together."""

from __future__ import annotations

from typing import Any

from keras_reprogram.serving.servable import Servable
from keras_reprogram.source import Source
from keras_reprogram.source.source import fingerprinted_kind


def check_halves(program: Servable, output_map: Servable, source: Source) -> None:
    """Refuses halves of two models, and a source that they were not made for.

    Args:
        program: the first half.
        output_map: the second half.
        source: to be asked between them.

    Raises:
        ValueError: with all that differs.
    """
    for half, name in ((program, "source_images"), (output_map, "scores")):
        signature = half.signature_defs.get("serving_default")
        if not half.facts.get("source") or signature is None or name not in signature.outputs:
            raise ValueError(
                "A gateway serves the halves that `export_halves` wrote. Received: a SavedModel "
                f"without its facts, or without the output {name!r}. Export the halves again."
            )
    if program.facts["source"] != output_map.facts["source"]:
        raise ValueError(
            "Program and output map must be halves of one model. Received: halves that were made "
            "for different sources. Export both again."
        )
    if wrong := _differences(program.facts["source"], source):
        raise ValueError(
            "The source must be the one that the model was trained on. Received: "
            f"{'; '.join(wrong)}. Hand in that source."
        )


def _differences(facts: dict[str, Any], source: Source) -> list[str]:
    if "scores" in facts:
        # Halves keep their map's reading: how a row is normalised may be said otherwise.
        facts = facts | {"scores": fingerprinted_kind(facts["scores"])}
    given = {
        "source_shape": list(source.source_shape),
        "value_range": list(source.value_range),
        "num_labels": source.num_labels,
        "scores": source.fingerprinted_scores,
        "labels": list(source.labels) if source.labels else None,
    }
    wrong = [
        f"{name} {_cut(value)}, expected {_cut(facts[name])}"
        for name, value in given.items()
        # Names are known of some sources only.
        if facts.get(name) is not None and value is not None and facts[name] != value
    ]
    if not wrong and facts.get("fingerprint") not in (None, source.fingerprint):
        wrong.append(f"fingerprint {source.fingerprint[:16]}, expected {facts['fingerprint'][:16]}")
    return wrong


def _cut(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
