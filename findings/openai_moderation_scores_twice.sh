#!/usr/bin/env bash
# openai 3.57.0: `model_dump()` of a moderation's scores holds eight of thirteen categories twice.
#
# Expected: the thirteen scores of the answer, once each.
# Happens: `model_dump()` of a parsed `category_scores` has 21
#   entries. A category whose name has a slash or a hyphen is there as `violence_graphic` and as
#   `violence/graphic`, with the same number. Fields are filled by their alias, and the alias stays
#   among the extra fields too.
# Not so: with `by_alias=True` and with `to_dict()`, whose names fall together: 13 entries.
# Hurts: code that takes a sum, a mean or a vector of all scores counts `violence/graphic`,
#   `self-harm` and six others double, and its vector has 21 numbers where a raw HTTP answer has 13.
# Way round: `model_dump(by_alias=True)`, `to_dict()`, or the names that one means.
#
# Seen on 2026-11-30 (Linux, Python 3.11):
#   openai 3.57.0
#   entries: 21, by alias 13, to_dict 13
#   sum of scores: 1.0, by alias 0.5
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" -q --disable-pip-version-check install openai==3.57.0

"$folder/venv/bin/python" - <<'PYTHON'
import sys

import httpx2  # what this version of openai stands on
import openai

NAMES = """harassment harassment/threatening hate hate/threatening illicit illicit/violent self-harm
self-harm/instructions self-harm/intent sexual sexual/minors violence violence/graphic""".split()
scores = dict.fromkeys(NAMES, 0.0) | {"violence/graphic": 0.5}
answer = {
    "id": "modr-1",
    "model": "omni-moderation-latest",
    "results": [
        {
            "flagged": False,
            "categories": dict.fromkeys(NAMES, False),
            "category_scores": scores,
            "category_applied_input_types": {name: ["image"] for name in NAMES},
        }
    ],
}
transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=answer))
client = openai.OpenAI(api_key="none", http_client=httpx2.Client(transport=transport))
picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
result = client.moderations.create(model="omni-moderation-latest", input=[picture]).results[0]
found = result.category_scores

plain, by_alias, as_dict = found.model_dump(), found.model_dump(by_alias=True), found.to_dict()
print("openai", openai.__version__)
print(f"entries: {len(plain)}, by alias {len(by_alias)}, to_dict {len(as_dict)}")
print(f"sum of scores: {sum(plain.values())}, by alias {sum(by_alias.values())}")
if (len(plain), len(by_alias), len(as_dict)) != (21, 13, 13):
    sys.exit("Not as stated: the categories are listed another number of times.")
if (sum(plain.values()), sum(by_alias.values())) != (1.0, 0.5):
    sys.exit("Not as stated: the sums differ.")
PYTHON
