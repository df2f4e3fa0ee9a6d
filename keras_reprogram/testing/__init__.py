"""Fake services on real sockets, for tests and dry runs: vendors' wire formats, your model."""

from keras_reprogram.testing.fake_azure_content_safety import FakeAzureContentSafety
from keras_reprogram.testing.fake_clarifai import FakeClarifai
from keras_reprogram.testing.fake_custom_vision import FakeCustomVision
from keras_reprogram.testing.fake_google_vision import FakeGoogleVision
from keras_reprogram.testing.fake_hugging_face import FakeHuggingFace
from keras_reprogram.testing.fake_kserve import FakeKServe
from keras_reprogram.testing.fake_openai_moderation import FakeOpenAIModeration
from keras_reprogram.testing.fake_rekognition import FakeRekognition
from keras_reprogram.testing.fake_sagemaker import FakeSageMaker
from keras_reprogram.testing.fake_tf_serving import FakeTFServing
from keras_reprogram.testing.fake_tf_serving_grpc import FakeTFServingGRPC
from keras_reprogram.testing.fake_vertex_ai import FakeVertexAI
from keras_reprogram.testing.grpc_fake import GRPCFake
from keras_reprogram.testing.hosted_model import (
    MALFORMED_ANSWERS,
    TRANSPORT_FAULTS,
    BadImageError,
    Faults,
    HostedModel,
)
from keras_reprogram.testing.http_fake import Answer, HTTPFake

__all__ = [
    "MALFORMED_ANSWERS",
    "TRANSPORT_FAULTS",
    "Answer",
    "BadImageError",
    "FakeAzureContentSafety",
    "FakeClarifai",
    "FakeCustomVision",
    "FakeGoogleVision",
    "FakeHuggingFace",
    "FakeKServe",
    "FakeOpenAIModeration",
    "FakeRekognition",
    "FakeSageMaker",
    "FakeTFServing",
    "FakeTFServingGRPC",
    "FakeVertexAI",
    "Faults",
    "GRPCFake",
    "HTTPFake",
    "HostedModel",
]
