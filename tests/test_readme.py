"""The README, the pages of docs/ and the docstrings show Python that runs."""

import inspect
import re
import runpy
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

import keras_reprogram

README = Path(__file__).parent.parent / "README.md"
FENCE = re.compile(r"^(?P<indent> *)```python\n(?P<code>.*?)^ *```$", re.MULTILINE | re.DOTALL)
SLOW = "<!-- slow -->"


class Block(NamedTuple):
    """One fenced block: where its code starts, the code, and whether it is marked slow."""

    line: int
    code: str
    slow: bool


def python_blocks(text: str) -> list[Block]:
    """The ```python blocks of a Markdown text or a docstring, in order."""
    return [
        Block(
            line=text.count("\n", 0, match.start("code")) + 1,
            code=textwrap.dedent(match["code"]),
            slow=text[: match.start()].rstrip().endswith(SLOW),
        )
        for match in FENCE.finditer(text)
    ]


def run_block(block: Block, name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a block as a script of its own in `folder`, its lines numbered as in its page."""
    monkeypatch.chdir(folder)
    script = folder / f"{name}.py"
    script.write_text("\n" * (block.line - 1) + block.code)
    runpy.run_path(str(script), run_name="__main__")


def readme_blocks() -> list[object]:
    blocks = python_blocks(README.read_text())
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(b, id=f"line {b.line}", marks=marks[b.slow]) for b in blocks]


# Fresh processes check these exports, and the others train for seconds; the tests of their folders
# have smaller ones.
_LONG = dict.fromkeys(
    (
        *("export_halves", "export_litert", "export_saved_model", "join_sources"),
        *("Calibration", "DecoderProgram", "Method", "fit_student", "train_decoder"),
        "train_random_switching",
    ),
    pytest.mark.slow,
)


def page_blocks() -> list[object]:
    pages = sorted((README.parent / "docs").rglob("*.md"))
    return [
        pytest.param(
            block, id=f"{page.name} line {block.line}", marks=[pytest.mark.slow] * block.slow
        )
        for page in pages
        for block in python_blocks(page.read_text())
    ]


def docstring_blocks() -> list[object]:
    public = {name: getattr(keras_reprogram, name) for name in keras_reprogram.__all__}
    return [
        pytest.param(name, block, id=f"{name} line {block.line}", marks=_LONG.get(name, ()))
        for name, value in public.items()
        if callable(value)
        for block in python_blocks(inspect.cleandoc(value.__doc__ or ""))
    ]


@pytest.mark.parametrize("block", readme_blocks())
def test_readme_block_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_block(block, "README", tmp_path, monkeypatch)


@pytest.mark.parametrize("block", page_blocks())
def test_block_of_a_page_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_block(block, "page", tmp_path, monkeypatch)


@pytest.mark.parametrize(("name", "block"), docstring_blocks())
def test_docstring_example_runs(
    name: str, block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_block(block, f"{name}_example", tmp_path, monkeypatch)


def test_readme_pages_and_docstrings_have_python_to_run() -> None:
    assert readme_blocks()
    assert page_blocks()
    assert docstring_blocks()


def test_readme_fits_a_minute_and_has_the_two_commands() -> None:
    lines = README.read_text().splitlines()
    assert len(lines) <= 150
    assert {"make demo", "make test"} <= {line.partition("#")[0].strip() for line in lines}


def code_lines(block: Block) -> int:
    return sum(bool(line.strip()) for line in block.code.splitlines())


def test_readme_examples_have_ten_lines() -> None:
    assert max(code_lines(block) for block in python_blocks(README.read_text())) <= 10


LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def test_readme_links_to_what_is_there() -> None:
    links = LINK.findall(README.read_text())
    assert len(links) > 20
    assert [link for link in links if not (README.parent / link).exists()] == []


PAGE = """\
A page.

```python
first = 1
```

<!-- slow -->
```python
second = 2
raise KeyError
```

- in a list:
  ```python
  if True:
      third = 3
  ```

```bash
not python
```
"""


def test_blocks_are_found_with_line_and_mark() -> None:
    first, second, third = python_blocks(PAGE)
    assert first == Block(4, "first = 1\n", slow=False)
    assert second == Block(9, "second = 2\nraise KeyError\n", slow=True)
    assert third == Block(15, "if True:\n    third = 3\n", slow=False)


def test_failing_block_fails_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyError) as error:
        run_block(python_blocks(PAGE)[1], "PAGE", tmp_path, monkeypatch)
    assert error.traceback[-1].lineno + 1 == 10
