"""Traffic signs behind a REST service on a real socket, which fails to order and keeps its bill."""

from keras_reprogram import LiteRTSource, embedded_path
from keras_reprogram.testing import Answer, FakeTFServing, HostedModel

LABELS = tuple(f"sign {number}" for number in range(43))
KEY = "planted-key-8461"
SIGNS = LiteRTSource(embedded_path("traffic_signs.tflite"), value_range=(0, 255))


class SignService(FakeTFServing):
    """A proxy before it repeats the key that it refuses."""

    def __init__(self, faults=(), latency=0.0, key=None, **options):
        hosted = HostedModel(SIGNS, (32, 32, 3), LABELS)
        signatures = {"serving_default": ("image", "encoded")}
        options |= {"faults": faults, "latency": latency}
        super().__init__(hosted, "signs", signatures=signatures, **options)
        self.wanted, self.model = key, SIGNS

    @property
    def url(self):
        return f"{self.address}/v1/models/signs:predict"

    @property
    def billed(self):
        return self.hosted.billed

    def respond(self, method, path, headers, body, fault):
        said = headers.get("Authorization")
        if self.wanted and said != f"Bearer {self.wanted}":
            return Answer(401, {"error": f"wrong key {said}"})
        return super().respond(method, path, headers, body, fault)
