"""Remote sources: services that cost money, may fail, and answer late."""

from keras_reprogram.source.errors import (
    SourceBusyError,
    SourceDriftedError,
    SourceRefusedError,
    SourceUnavailableError,
)
from keras_reprogram.source.remote.azure_content_safety import AzureContentSafetySource
from keras_reprogram.source.remote.clarifai import ClarifaiSource
from keras_reprogram.source.remote.client import ServiceClient
from keras_reprogram.source.remote.custom_vision import CustomVisionSource
from keras_reprogram.source.remote.google_vision import GoogleVisionSource
from keras_reprogram.source.remote.http_source import HTTPClient, HTTPSource
from keras_reprogram.source.remote.hugging_face import HuggingFaceSource
from keras_reprogram.source.remote.kserve import KServeSource
from keras_reprogram.source.remote.openai_moderation import OpenAIModerationSource
from keras_reprogram.source.remote.payloads import named_scores
from keras_reprogram.source.remote.rekognition import RekognitionSource
from keras_reprogram.source.remote.remote_source import RemoteSource
from keras_reprogram.source.remote.sagemaker import SageMakerSource
from keras_reprogram.source.remote.tf_serving import TFServingSource
from keras_reprogram.source.remote.tf_serving_grpc import TFServingGRPCSource
from keras_reprogram.source.remote.vertex_ai import VertexAISource

__all__ = [
    "AzureContentSafetySource",
    "ClarifaiSource",
    "CustomVisionSource",
    "GoogleVisionSource",
    "HTTPClient",
    "HTTPSource",
    "HuggingFaceSource",
    "KServeSource",
    "OpenAIModerationSource",
    "RekognitionSource",
    "RemoteSource",
    "SageMakerSource",
    "ServiceClient",
    "SourceBusyError",
    "SourceDriftedError",
    "SourceRefusedError",
    "SourceUnavailableError",
    "TFServingGRPCSource",
    "TFServingSource",
    "VertexAISource",
    "named_scores",
]
