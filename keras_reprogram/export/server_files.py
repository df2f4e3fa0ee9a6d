"""How to start TF Serving on an export: sample configurations and the docker command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from keras_reprogram.whole_file import write_whole_file

_MODELS = """\
model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
  }}
}}
"""

_BATCHING = """\
max_batch_size {{ value: {largest} }}
batch_timeout_micros {{ value: 1000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: 4 }}
"""


def served_name(base_dir: Path) -> str:
    """What the server calls the model: the folder's name, without what URLs do not take.

    Args:
        base_dir: holds the versions.

    Returns:
        The name.
    """
    return re.sub(r"[^A-Za-z0-9_.-]", "-", base_dir.resolve().name) or "model"


def docker_command(base_dir: Path) -> str:
    """The line that serves a folder of versions over gRPC (8500) and REST (8501).

    Args:
        base_dir: holds the versions and the sample configurations.

    Returns:
        A line for a shell.
    """
    name = served_name(base_dir)
    mount = f"type=bind,source={base_dir.resolve()},target=/models/{name},readonly"
    return (
        f"docker run --rm -p 8500:8500 -p 8501:8501 --mount {shlex.quote(mount)} "
        f"tensorflow/serving --model_config_file=/models/{name}/models.config "
        f"--enable_batching --batching_parameters_file=/models/{name}/batching.config"
    )


def write_server_files(base_dir: Path, batch_sizes: Sequence[int]) -> None:
    """Writes models.config, batching.config and serve.sh, unless they are there already.

    Args:
        base_dir: holds the versions; a server ignores what is no number in it.
        batch_sizes: the sizes that the warm-up requests have, which a batching server fills up
            to.
    """
    sizes = sorted(set(batch_sizes))
    allowed = "".join(f"allowed_batch_sizes: {size}\n" for size in sizes)
    contents = {
        "models.config": _MODELS.format(name=served_name(base_dir)),
        "batching.config": _BATCHING.format(largest=sizes[-1]) + allowed,
        "serve.sh": f"#!/bin/sh\nexec {docker_command(base_dir)}\n",
    }
    for name, content in contents.items():
        # They are samples: whoever changed them wants them to stay.
        if not (base_dir / name).exists():
            write_whole_file(base_dir / name, content.encode())
