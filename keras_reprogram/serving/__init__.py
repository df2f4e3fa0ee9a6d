"""A server that speaks TensorFlow Serving's REST and gRPC; needs the extra `server`."""

from keras_reprogram.serving.model_server import ModelServer
from keras_reprogram.serving.servable import Servable
from keras_reprogram.serving.server_limits import ServerLimits
from keras_reprogram.serving.serving_error import ServingError

__all__ = ["ModelServer", "Servable", "ServerLimits", "ServingError"]
