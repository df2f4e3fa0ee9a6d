"""Target image -> source images: the trained stage of the pipeline."""

from keras_reprogram.program.decoder_program import DecoderProgram, train_decoder
from keras_reprogram.program.placement import Placement, View
from keras_reprogram.program.program import Program
from keras_reprogram.program.program_for_task import program_for
from keras_reprogram.program.program_layer import ProgramLayer
from keras_reprogram.program.sample_mask_program import SampleMaskProgram
from keras_reprogram.program.scaled_program import ScaledProgram
from keras_reprogram.program.series_program import SeriesProgram
from keras_reprogram.program.series_views import SeriesView, draw_series_views, repeated_view
from keras_reprogram.program.text_program import TextProgram
from keras_reprogram.program.views import draw_views, suggested_style
from keras_reprogram.program.vocabulary import Vocabulary

__all__ = [
    "Program",
    "ProgramLayer",
    "program_for",
    "DecoderProgram",
    "train_decoder",
    "ScaledProgram",
    "SampleMaskProgram",
    "SeriesProgram",
    "SeriesView",
    "draw_series_views",
    "repeated_view",
    "TextProgram",
    "Vocabulary",
    "Placement",
    "View",
    "draw_views",
    "suggested_style",
]
