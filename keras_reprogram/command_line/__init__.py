"""The command line, `keras-reprogram`."""

import os
import sys

from keras_reprogram import is_command
from keras_reprogram.command_line.app import main
from keras_reprogram.command_line.startup_noise import hold_back_noise

__all__ = ["main"]

# Nothing of the above imports TensorFlow, which would speak before it could be stopped.
if is_command(sys.orig_argv) and os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "0":
    hold_back_noise()
