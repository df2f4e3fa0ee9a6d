"""Answers compared byte for byte with TF Serving's documents and the words of its source."""

import json
from pathlib import Path

import pytest
from served_models import CLIENT

GOLDEN = Path(__file__).parent / "golden"


def cases(name):
    return [
        pytest.param(case, id=case["what"].replace(" ", "-"))
        for case in json.loads((GOLDEN / name).read_text())
    ]


def ask(server, case):
    content = case.get("body")
    return CLIENT.request(case["method"], f"{server.rest_address}{case['path']}", content=content)


@pytest.mark.parametrize("case", cases("half_plus_three.json"))
def test_answer(half, case):
    answer = ask(half, case)
    assert answer.status_code == case["status"]
    assert answer.headers["content-type"] == "application/json"
    assert answer.text == "\n".join(case["answer"])


@pytest.mark.parametrize("case", cases("refusals.json"))
def test_refusal(half, case):
    answer = ask(half, case)
    assert answer.status_code == case["status"]
    written = json.dumps(case["error"], ensure_ascii=False)
    assert answer.text == f'{{\n    "error": {written}\n}}'


def test_metadata(half):
    answer = CLIENT.get(f"{half.rest_address}/v1/models/half_plus_three/metadata")
    # Two messages, put together as TF Serving does.
    assert answer.text.startswith('{\n"model_spec":{\n "name": "half_plus_three",\n')
    assert '\n}\n,\n"metadata": {"signature_def": {\n "signature_def": {\n' in answer.text
    assert answer.text.endswith("\n}\n}\n}\n")
    document = answer.json()
    assert document["model_spec"] == {
        "name": "half_plus_three",
        "version": "123",
        "signature_name": "",
    }
    signature = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert signature["inputs"]["x"]["dtype"] == "DT_FLOAT"
    assert signature["inputs"]["x"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }
