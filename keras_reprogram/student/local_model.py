"""The model that a student becomes: a local source sees the whole image, a map reads it."""

from __future__ import annotations

from keras_reprogram.model.reprogrammed_model import ReprogrammedModel
from keras_reprogram.output_map.output_map import OutputMap
from keras_reprogram.program.program_layer import ProgramLayer
from keras_reprogram.source.source import Source


def local_model(
    teacher: ReprogrammedModel, source: Source, output_map: OutputMap
) -> ReprogrammedModel:
    """A model of the teacher's images and classes around another source.

    Args:
        teacher: whose images, classes and seed it has.
        source: what it asks.
        output_map: what reads the answers.
    """
    program = ProgramLayer(
        teacher.program.target_shape,
        source.source_shape,
        source_range=source.value_range,
        target_range=teacher.program.target_range,
        placement="full",
    )
    return ReprogrammedModel(
        program,
        source,
        output_map,
        class_names=teacher.class_names,
        seed=teacher.seed,
        name="student",
    )
