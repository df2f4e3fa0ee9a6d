"""`tf.Example`s in the messages of Classify, Regress and MultiInference."""

from __future__ import annotations

from typing import Any


def serialized_examples(given: Any) -> list[bytes]:
    """The examples of an `Input`, each with what stands in its context.

    Args:
        given: an `Input`.

    Returns:
        Serialized `tf.Example`s.
    """
    if given.WhichOneof("kind") == "example_list_with_context":
        listed = given.example_list_with_context
        # Serialized messages merge where one follows the other.
        context = listed.context.SerializeToString()
        return [context + example.SerializeToString() for example in listed.examples]
    return [example.SerializeToString() for example in given.example_list.examples]
