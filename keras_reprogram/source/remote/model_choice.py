"""Which model of a server is asked, and which of its outputs holds the scores."""

from __future__ import annotations

from collections.abc import Iterable

INPUT_FORMATS = ("pixels", "encoded")


def check_model(
    model_name: str, version: int | None, version_label: str | None, input_format: str
) -> None:
    """Raises a ValueError unless TF Serving can be asked like that.

    Args:
        model_name: any name without `/` and `:`.
        version: 0 or above, or `None`.
        version_label: instead of a version.
        input_format: one of `INPUT_FORMATS`.
    """
    if not model_name or set("/:") & set(model_name):
        raise ValueError(
            "`model_name` must be a name without / and :. "
            f"Received: {model_name!r}. Pass the server's `--model_name`, and not a path."
        )
    if version is not None and (version_label is not None or version < 0):
        raise ValueError(
            "`version` must be a number of at least 0, without a `version_label`. Received: "
            f"version={version}, version_label={version_label!r}. Pass one of them, or none."
        )
    if input_format not in INPUT_FORMATS:
        raise ValueError(
            f"`input_format` must be one of {INPUT_FORMATS}. Received: {input_format!r}."
        )


def chosen_output(names: Iterable[str], output_name: str | None) -> str:
    """The output that holds the scores.

    Args:
        names: of the outputs that the model has.
        output_name: the one that is wanted, or `None` for the only one.

    Raises:
        ValueError: if there is no such output, or several and none is wanted.
    """
    there = sorted(names)
    if output_name in there:
        return str(output_name)
    if output_name is None and len(there) == 1:
        return there[0]
    raise ValueError(
        f"`output_name` must be an output of the model: {', '.join(there)}. "
        f"Received: {output_name!r}. Pass the one that holds the scores."
    )
