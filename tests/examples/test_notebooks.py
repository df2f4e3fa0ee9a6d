"""The notebooks were executed, show nothing of the machine that did it, and run from scratch."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NAMES = (
    "white_box_in_ten_lines",
    "opaque_api_under_a_budget",
    "from_training_to_tf_serving_and_a_phone",
    "chest_x_rays_in_dicom",
    "a_paid_moderation_api",
)
# Fixtures that skip where this machine lacks what a notebook fetches.
FILES = {"chest_x_rays_in_dicom": ("keras_home",)}
LARGEST = 300_000
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|Users|private|opt|usr|var|mnt)/\w")
NOISE = re.compile(r"Warning|cudart|cuInit|absl::|oneDNN|XNNPACK|Assets written|\x1b\[")
# Without it TensorFlow's C++ lines would be outputs too.
NO_C_OUTPUT = "--IPKernelApp.capture_fd_output=False"


def read(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def complaints(notebook: dict[str, Any]) -> list[str]:
    """What is wrong with a stored notebook."""
    cells = code_cells(notebook)
    found = []
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("not executed from top to bottom")
    outputs = [output for cell in cells for output in cell["outputs"]]
    if len(outputs) < len(cells) // 2:
        found.append("outputs are missing")
    if any(output["output_type"] == "error" for output in outputs):
        found.append("a cell failed")
    if any(output.get("name") == "stderr" for output in outputs):
        found.append("a cell wrote to stderr")
    text = words(notebook)
    found += [f"path {match}" for match in MACHINE_PATH.findall(text)]
    found += [f"noise {match}" for match in NOISE.findall(text)]
    found += [f"unfinished {match}" for match in re.findall(r"TODO|FIXME|XXX", text)]
    return found


def words(notebook: dict[str, Any]) -> str:
    """Everything but pictures, whose base64 may spell anything."""
    parts = ["".join(cell["source"]) for cell in notebook["cells"]]
    for cell in code_cells(notebook):
        for output in cell["outputs"]:
            parts += ["".join(output.get("text", ""))]
            kinds = output.get("data", {}).items()
            parts += ["".join(data) for kind, data in kinds if kind.startswith("text/")]
    return "\n".join([*parts, json.dumps(notebook["metadata"])])


def test_each_notebook_is_tested() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_notebook_holds_clean_outputs(name: str) -> None:
    assert complaints(read(name)) == []
    assert (FOLDER / f"{name}.ipynb").stat().st_size < LARGEST


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"execution_count": None}, "not executed"),
        ({"outputs": [{"output_type": "error"}]}, "a cell failed"),
        ({"outputs": [{"output_type": "stream", "name": "stderr", "text": []}]}, "stderr"),
        ({"outputs": [{"output_type": "stream", "text": ["in /home/me/x"]}]}, "path"),
        ({"outputs": [{"output_type": "stream", "text": ["UserWarning: x"]}]}, "noise Warning"),
        (
            {"outputs": [{"output_type": "display_data", "data": {"text/html": ["/tmp/a"]}}]},
            "path",
        ),
        ({"source": ["# TODO"]}, "unfinished"),
    ],
)
def test_complaints_are_found(change: dict[str, Any], complaint: str) -> None:
    notebook = read(NAMES[0])
    code_cells(notebook)[0].update(change)
    assert any(complaint in found for found in complaints(notebook))


def test_a_notebook_without_outputs_is_found() -> None:
    notebook = read(NAMES[0])
    for cell in code_cells(notebook):
        cell["outputs"] = []
    assert complaints(notebook) == ["outputs are missing"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs_from_scratch(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for fixture in FILES.get(name, ()):
        request.getfixturevalue(fixture)
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    stored = [bool(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
        extra_arguments=[NO_C_OUTPUT],
    )
    client.execute()

    assert complaints(json.loads(nbformat.writes(notebook))) == []
    again = [bool(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    assert again == stored
    assert list(tmp_path.iterdir()) == [], "a notebook leaves nothing where it runs"
