"""Target image -> source images: the trained stage of the pipeline."""

from keras_reprogram.program.decoder_program import DecoderProgram
from keras_reprogram.program.decoder_training import train_decoder
from keras_reprogram.program.placement import Placement, View
from keras_reprogram.program.program_layer import ProgramLayer
from keras_reprogram.program.views import draw_views, suggested_style

__all__ = [
    "ProgramLayer",
    "DecoderProgram",
    "train_decoder",
    "Placement",
    "View",
    "draw_views",
    "suggested_style",
]
