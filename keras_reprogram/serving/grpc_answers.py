"""What TF Serving's gRPC services answer, without a gRPC server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_reprogram.serving.classification import CLASSIFY_METHOD, REGRESS_METHOD
from keras_reprogram.serving.example_lists import serialized_examples
from keras_reprogram.serving.reload_request import reload_versions
from keras_reprogram.serving.servable import Servable, signature_key
from keras_reprogram.serving.server_metrics import Call
from keras_reprogram.serving.server_state import ServerState
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.status_messages import (
    SIGNATURES_FIELD,
    metadata_message,
    status_message,
)
from keras_reprogram.serving.tensor_protos import array_of_proto, proto_of_array


class GrpcAnswers:
    """Answers the methods of PredictionService and ModelService.

    Args:
        state: of the server.
    """

    def __init__(self, state: ServerState) -> None:
        self._state = state

    def predict(self, request: Any, call: Call) -> Any:
        """A `PredictResponse`."""
        from tensorflow_serving.apis import predict_pb2

        servable, name = self._servable(request.model_spec, call)
        if servable.signature(name) is None:
            raise ServingError(
                f'Serving signature key "{signature_key(name)}" not found.', "FAILED_PRECONDITION"
            )
        inputs = self._arrays(request.inputs)
        wanted = list(request.output_filter)
        outputs = self._state.calls.predict(call, servable, name, inputs, wanted)
        answer = predict_pb2.PredictResponse()
        self._name_model(answer.model_spec, servable, name)
        for alias, array in outputs.items():
            answer.outputs[alias].CopyFrom(proto_of_array(array))
        return answer

    def classify(self, request: Any, call: Call) -> Any:
        """A `ClassificationResponse`."""
        from tensorflow_serving.apis import classification_pb2

        answer = classification_pb2.ClassificationResponse()
        servable, name = self._servable(request.model_spec, call)
        self._fill_classes(answer.result, call, servable, name, request.input)
        self._name_model(answer.model_spec, servable, name)
        return answer

    def regress(self, request: Any, call: Call) -> Any:
        """A `RegressionResponse`."""
        from tensorflow_serving.apis import regression_pb2

        answer = regression_pb2.RegressionResponse()
        servable, name = self._servable(request.model_spec, call)
        self._fill_values(answer.result, call, servable, name, request.input)
        self._name_model(answer.model_spec, servable, name)
        return answer

    def multi_inference(self, request: Any, call: Call) -> Any:
        """A `MultiInferenceResponse`: several signatures on the same examples."""
        from tensorflow_serving.apis import inference_pb2

        self._check_tasks(request.tasks)
        answer = inference_pb2.MultiInferenceResponse()
        for task in request.tasks:
            servable, name = self._servable(task.model_spec, call)
            result = answer.results.add()
            if task.method_name == CLASSIFY_METHOD:
                result_of = result.classification_result
                self._fill_classes(result_of, call, servable, name, request.input)
            else:
                result_of = result.regression_result
                self._fill_values(result_of, call, servable, name, request.input)
            self._name_model(result.model_spec, servable, name)
        return answer

    def metadata(self, request: Any, call: Call) -> Any:
        """A `GetModelMetadataResponse`."""
        if not request.HasField("model_spec"):
            raise ServingError("Missing ModelSpec")
        if not request.metadata_field:
            raise ServingError("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURES_FIELD:
                raise ServingError(f"Metadata field {field} is not supported")
        servable, _ = self._servable(request.model_spec, call)
        return metadata_message(servable, self._state.versions.model_name)

    def status(self, request: Any, call: Call) -> Any:
        """A `GetModelStatusResponse`."""
        del call
        if not request.HasField("model_spec"):
            raise ServingError("Missing ModelSpec")
        return status_message(self._state.versions.statuses(*_spec(request.model_spec)))

    def reload(self, request: Any, call: Call) -> Any:
        """A `ReloadConfigResponse`."""
        from tensorflow_serving.apis import model_management_pb2

        del call
        reload_versions(request.config, self._state.versions)
        answer = model_management_pb2.ReloadConfigResponse()
        answer.status.SetInParent()
        return answer

    def _servable(self, spec: Any, call: Call) -> tuple[Servable, str]:
        servable = self._state.versions.find(*_spec(spec))
        if servable.signature(spec.signature_name) is not None:
            call.signature = signature_key(spec.signature_name)
        return servable, spec.signature_name

    def _arrays(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        most = self._state.limits.request_bytes
        return {name: array_of_proto(proto, most) for name, proto in inputs.items()}

    def _fill_classes(
        self, result: Any, call: Call, servable: Servable, name: str, given: Any
    ) -> None:
        rows = self._state.calls.classify(call, servable, name, serialized_examples(given))
        for row in rows:
            added = result.classifications.add()
            for label, score in row:
                added.classes.add(label=label.decode("utf-8", "replace"), score=score)

    def _fill_values(
        self, result: Any, call: Call, servable: Servable, name: str, given: Any
    ) -> None:
        for value in self._state.calls.regress(call, servable, name, serialized_examples(given)):
            result.regressions.add(value=value)

    def _check_tasks(self, tasks: Any) -> None:
        if not tasks:
            raise ServingError("Inference request must have at least one task.")
        names = [signature_key(task.model_spec.signature_name) for task in tasks]
        for number, (task, name) in enumerate(zip(tasks, names, strict=True)):
            if not task.model_spec.name:
                raise ServingError("Found ModelSpec with an empty model name.")
            if task.model_spec.name != tasks[0].model_spec.name:
                raise ServingError(
                    "All ModelSpecs in a MultiInferenceRequest must access the same model name."
                )
            if name in names[:number]:
                raise ServingError(f"Duplicate evaluation of signature: {name}")
            if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
                raise ServingError(
                    f"Unsupported signature method_name: {task.method_name}", "UNIMPLEMENTED"
                )

    def _name_model(self, spec: Any, servable: Servable, signature_name: str) -> None:
        spec.name = self._state.versions.model_name
        spec.signature_name = signature_key(signature_name)
        spec.version.value = servable.version


def _spec(spec: Any) -> tuple[str, int | None, str | None]:
    """Model, version and label of a `ModelSpec`."""
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None
