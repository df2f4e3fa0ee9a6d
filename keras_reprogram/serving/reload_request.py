"""HandleReloadConfigRequest, as far as a server of one model can obey it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from keras_reprogram.serving.model_versions import ModelVersions
from keras_reprogram.serving.serving_error import ServingError
from keras_reprogram.serving.version_policy import VersionPolicy


def reload_versions(config: Any, versions: ModelVersions) -> None:
    """Takes over versions and labels of a new config.

    Args:
        config: a `ModelServerConfig`.
        versions: of the served model.

    Raises:
        ServingError: for any other model or folder, and for labels of versions that do not answer.
    """
    configs = config.model_config_list.config
    if config.WhichOneof("config") != "model_config_list" or len(configs) != 1:
        raise ServingError(
            "This server serves one model: the config must be a model_config_list of one. "
            f"Received: {len(configs)} models."
        )
    (model,) = configs
    if model.name != versions.model_name:
        raise ServingError(
            f"This server serves the model {versions.model_name} only. Received: {model.name}."
        )
    if Path(model.base_path).expanduser().resolve() != versions.folder.path.resolve():
        raise ServingError(
            "This server serves one folder; the base_path must stay what it is. "
            f"Received: {model.base_path}."
        )
    if model.model_platform not in ("", "tensorflow"):
        raise ServingError(
            f"The model_platform must be tensorflow. Received: {model.model_platform}."
        )
    versions.change(_policy(model.model_version_policy), dict(model.version_labels))


def _policy(policy: Any) -> VersionPolicy:
    choice = policy.WhichOneof("policy_choice")
    if choice == "all":
        return VersionPolicy.of("all")
    try:
        if choice == "specific":
            return VersionPolicy.of(list(policy.specific.versions))
        return VersionPolicy(newest=policy.latest.num_versions or 1)
    except ValueError as error:
        raise ServingError(str(error)) from None
