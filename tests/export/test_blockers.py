"""What cannot be exported is refused before writing, with every reason at once."""

import pytest
from small_models import (
    NUM_CLASSES,
    frozen_source,
    opaque_source,
    saved_model_source,
    sign_source,
    small_model,
)

from keras_reprogram import MultiLabelMap, export_blockers, export_litert, export_saved_model


def unexportable():
    return small_model(opaque_source(), MultiLabelMap(NUM_CLASSES), fitted=False)


def test_an_exportable_model_has_no_blocker(tmp_path) -> None:
    assert export_blockers(small_model()) == []
    assert export_blockers(small_model(saved_model_source(tmp_path / "network"))) == []
    assert export_blockers(small_model(opaque_source()), source=frozen_source()) == []


def test_every_reason_is_listed() -> None:
    source, output_map = export_blockers(unexportable())
    assert "OpaqueSource" in source
    assert "export_halves" in source
    assert "fit_output_map" in output_map


def test_an_equivalent_of_another_kind_is_named_fact_by_fact() -> None:
    (range_,) = export_blockers(
        small_model(opaque_source(value_range=(0, 1), sum_tolerance=None)), source=frozen_source()
    )
    assert "`value_range`" in range_
    facts = export_blockers(small_model(sign_source()), source=frozen_source())
    assert [fact.split("`")[3] for fact in facts] == ["source_shape", "num_labels"]


@pytest.mark.parametrize("export", [export_saved_model, export_litert])
def test_nothing_is_written(export, tmp_path) -> None:
    model = unexportable()
    before = model.source.queries_used
    with pytest.raises(ValueError, match=r"nothing was written(.|\n)*- The source is (.|\n)*- The"):
        export(model, tmp_path / "export" / "signs.tflite")
    assert list(tmp_path.iterdir()) == []
    assert model.source.queries_used == before


def test_an_equivalent_may_say_otherwise_how_rows_are_normalised() -> None:
    """The map goes on reading scores as it was fitted."""
    assert export_blockers(small_model(opaque_source(sum_tolerance=None)), frozen_source()) == []
