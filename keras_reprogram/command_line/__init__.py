"""The command line, `keras-reprogram`."""

from keras_reprogram.command_line.app import main

__all__ = ["main"]
