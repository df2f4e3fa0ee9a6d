"""The table of published methods in docs/methods/index.md is that of the presets."""

import runpy
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "docs_site" / "methods_table.py"


@pytest.mark.slow
def test_the_table_of_methods_is_what_the_presets_are():
    script = runpy.run_path(str(SCRIPT))
    page = script["PAGE"].read_text()
    assert script["page_with"](script["table"](), page) == page
