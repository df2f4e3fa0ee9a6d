"""The frame of an HTML report: head, style, title."""

from html import escape
from string import Template

_STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #52606d; --paper: #ffffff;
  --line: #d9dee4; --shade: #f5f7fa; --accent: #0072b2; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7eb; --quiet: #a3adb8;
  --paper: #16191d; --line: #38404a; --shade: #20252b; --accent: #56b4e9; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 70rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.9rem; line-height: 1.2; }
h2 { margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line);
  font-size: 1.3rem; }
p { max-width: 45rem; margin: 0 0 .9rem; }
.note { color: var(--quiet); font-size: .875rem; }
.scroll { overflow-x: auto; margin: 1rem 0 .5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .9rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
thead th { border-bottom: 2px solid var(--accent); font-size: .875rem; }
tbody th { font-weight: 600; }
tbody tr:hover { background: var(--shade); }
.number { text-align: right; white-space: nowrap; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem;
  margin: 1rem 0; }
dt { color: var(--quiet); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
dd dl { margin: 0; }
figure { width: fit-content; max-width: 100%; margin: 1rem 0; padding: .75rem;
  overflow-x: auto; background: #ffffff; border: 1px solid var(--line); border-radius: 6px; }
img { display: block; max-width: 100%; height: auto; }
.wide img { max-width: none; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dt { margin-top: .5rem; } }
@media print { body { max-width: none; } .wide img { max-width: 100%; } }
"""

_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
<h1>$title</h1>
$body</main>
</body>
</html>
"""
)


def html_page(title: str, body: str) -> str:
    """Puts a body into a page that needs no other file, no script and no network.

    Args:
        title: Plain text; escaped here.
        body: HTML; escaped already by whoever made it.

    Returns:
        The whole document, in light and dark.

    Example:
        ```python
        from keras_reprogram.report.html_page import html_page

        assert "<title>A &lt; B</title>" in html_page("A < B", "<p>Hello</p>")
        ```
    """
    return _PAGE.substitute(title=escape(title), style=_STYLE, body=body)
