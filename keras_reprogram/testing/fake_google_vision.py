"""FakeGoogleVision: Google Cloud Vision on a real socket of this machine, your model behind it."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_reprogram.optional_packages import needs_extra
from keras_reprogram.testing.grpc_fake import GRPCFake
from keras_reprogram.testing.hosted_model import BadImageError, Fault, HostedModel

_SERVICE = "google.cloud.vision.v1.ImageAnnotator"
_MOST_IMAGES, _FEWEST_RESULTS = 16, 10
_LARGEST_IMAGE = 20 * 2**20
_SAFE_SEARCH = ("adult", "spoof", "medical", "violence", "racy")
_LEVELS_AT = np.array([0.2, 0.4, 0.6, 0.8])
_INVALID_ARGUMENT = 3


class FakeGoogleVision(GRPCFake):
    """Answers `BatchAnnotateImages` as Google does, and bills every feature of every image.

    Label detection lists the hosted labels; SafeSearch makes levels of the first five scores, at
    0.2, 0.4, 0.6 and 0.8.

    Args:
        hosted: the model and its bill.
        lowest_score: labels below it are not listed.
        largest_image: bytes that an image may have.
        options: as of `GRPCFake`: `faults`, `latency`, `key`, `threads`.

    Raises:
        ImportError: if google-cloud-vision is not installed.

    Example:
    ```python
    import numpy as np
    from keras_reprogram.testing import HostedModel
    from keras_reprogram.testing.fake_google_vision import FakeGoogleVision

    hosted = HostedModel(lambda pixels: np.full((len(pixels), 2), 0.5), (8, 8, 3), ["cat", "dog"])
    with FakeGoogleVision(hosted) as fake:
        assert fake.address.startswith("127.0.0.1:") and fake.bill == 0
    ```
    """

    def __init__(
        self,
        hosted: HostedModel,
        *,
        lowest_score: float = 0.0,
        largest_image: int = _LARGEST_IMAGE,
        **options: Any,
    ) -> None:
        with needs_extra("google-cloud-vision", "google"):
            import google.cloud.vision as vision
        super().__init__(hosted, "google", **options)
        self.lowest_score, self.largest_image, self.vision = lowest_score, largest_image, vision
        self.server.add_generic_rpc_handlers((self._handler(),))
        self.start()

    def respond(self, request: Any, context: Any, fault: Fault) -> Any:
        """The answer to a `BatchAnnotateImagesRequest`."""
        self._check(request, dict(context.invocation_metadata()), context)
        responses = [self._annotate(one, fault) for one in request.requests]
        return self.vision.BatchAnnotateImagesResponse(responses=responses)

    def _check(self, request: Any, sent: dict[str, str], context: Any) -> None:
        import grpc

        key, codes = sent.get("x-goog-api-key"), grpc.StatusCode
        if self.key is not None and key is None:
            context.abort(codes.PERMISSION_DENIED, "The request is missing a valid API key.")
        if self.key is not None and key != self.key:
            context.abort(codes.INVALID_ARGUMENT, "API key not valid. Please pass a valid API key.")
        if len(request.requests) > _MOST_IMAGES:
            context.abort(codes.INVALID_ARGUMENT, "Too many images per request: 16 at most.")

    def _annotate(self, request: Any, fault: Fault) -> Any:
        """Annotates one image; an error in it does not affect the others."""
        image = request.image.content
        if len(image) > self.largest_image:
            return self._failed("Request size limit exceeded.")
        response = self.vision.AnnotateImageResponse()
        for feature in request.features:
            try:
                scores, names = self.hosted.score([image], fault)
            except BadImageError:
                return self._failed("Bad image data.")
            if feature.type_ == self.vision.Feature.Type.LABEL_DETECTION:
                most = feature.max_results or _FEWEST_RESULTS
                response.label_annotations = self._labels(scores[0], names, most)
            elif fault != "wrong labels":
                response.safe_search_annotation = self._levels(scores[0])
        return response

    def _labels(self, scores: Any, names: list[str], most: int) -> list[Any]:
        best = [number for number in np.argsort(-scores) if not scores[number] < self.lowest_score]
        return [
            self.vision.EntityAnnotation(
                mid=f"/m/{row:05d}",
                description=names[row],
                score=scores[row],
                topicality=scores[row],
            )
            for row in best[:most]
        ]

    def _levels(self, scores: Any) -> Any:
        likelihood = self.vision.Likelihood
        levels = {
            name: likelihood.UNKNOWN if np.isnan(score) else 1 + int(np.sum(score >= _LEVELS_AT))
            for name, score in zip(_SAFE_SEARCH, scores, strict=False)
        }
        return self.vision.SafeSearchAnnotation(**levels)

    def _failed(self, message: str) -> Any:
        return self.vision.AnnotateImageResponse(
            error={"code": _INVALID_ARGUMENT, "message": message}
        )

    def _handler(self) -> Any:
        import grpc

        def annotate(request: Any, context: Any) -> Any:
            return self.serve(context, lambda fault: self.respond(request, context, fault))

        method = grpc.unary_unary_rpc_method_handler(
            annotate,
            request_deserializer=self.vision.BatchAnnotateImagesRequest.deserialize,
            response_serializer=self.vision.BatchAnnotateImagesResponse.serialize,
        )
        return grpc.method_handlers_generic_handler(_SERVICE, {"BatchAnnotateImages": method})
