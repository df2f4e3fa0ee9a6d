"""A server that speaks TensorFlow Serving's REST and gRPC; needs the extra `server`."""

from keras_reprogram.serving.errors import ServingError
from keras_reprogram.serving.model_server import ModelServer
from keras_reprogram.serving.servable import Servable
from keras_reprogram.serving.server_state import ServerLimits

__all__ = ["ModelServer", "Servable", "ServerLimits", "ServingError"]
