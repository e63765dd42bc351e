"""The programs of `examples` as pages show them: whole, or some of their definitions by name.

- `<!-- code: doubler -->` shows a program of the tutorial, in tabs for both languages;
- `<!-- code: ways_to_wait show_lock main -->` shows definitions of it, under the same names in both;
- `<!-- code: guides/deadlines limit -->` shows the program of a guide, in its one language;
- `<!-- output: doubler -->` shows what it prints, as `examples/expected` has it;
- `<!-- notebook: guides/notebook -->` shows the cells of a notebook, and what they have shown.
"""

import ast
import json
import re
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

_MARK = re.compile(
    r"^( *)<!-- (code|output|notebook): ([\w/]+)((?: \w+)*) -->$", re.MULTILINE
)
# What a line of Rust is that belongs to the item below it.
_ABOVE = ("///", "#[", "//")


def expand(markdown: str) -> str:
    """Puts code and output into a page."""
    return _MARK.sub(_expanded, markdown)


def _expanded(match: re.Match[str]) -> str:
    indent, kind, program, names = match[1], match[2], match[3], match[4].split()
    if kind == "output":
        path = EXAMPLES / "expected" / f"{program}.txt"
        block = _fenced("text", _of_procession(path.read_text()))
    elif kind == "notebook":
        block = notebook(EXAMPLES / f"{program}.ipynb")
    elif "/" in program:
        block = _fenced("python", python(EXAMPLES / f"{program}.py", names))
    else:
        block = _tab(
            "Python", "python", python(EXAMPLES / f"python/{program}.py", names)
        )
        block += _tab("Rust", "rust", rust(EXAMPLES / f"rust/{program}.rs", names))
    return "\n".join(indent + line if line else line for line in block.split("\n"))


def notebook(path: Path) -> str:
    """Returns the cells of a notebook as a part of a page, without its title."""
    blocks: list[str] = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            blocks.append(re.sub(r"^# .*\n+", "", source))
            continue
        blocks.append(_fenced("python", source))
        for output in cell["outputs"]:
            text = output.get("text") or output["data"]["text/plain"]
            blocks.append(_fenced("text", "".join(text)))
    return "\n\n".join(blocks)


def python(path: Path, names: list[str]) -> str:
    """Returns a program, or its functions and classes of these names; `main` is what stands under the guard."""
    text = path.read_text()
    lines = text.splitlines()
    found: dict[str | None, str] = {}
    for node in ast.parse(text).body:
        name = getattr(node, "name", None)
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test):
            name = "main"
        decorators = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(one.lineno for one in decorators)])
        found[name] = "\n".join(lines[first - 1 : node.end_lineno])
    return "\n\n\n".join(_each(path, names, found)) if names else text


def rust(path: Path, names: list[str]) -> str:
    """Returns a program, or its items of these names with their comments."""
    text = path.read_text()
    lines = text.splitlines()
    found: dict[str | None, str] = {}
    for number, line in enumerate(lines):
        item = re.match(
            r"(?:pub )?(?:fn|struct|enum|impl|type) (\w+)(?:.* for (\w+))?", line
        )
        if item is None:
            continue
        first, last = number, number
        while lines[first - 1].startswith(_ABOVE):
            first -= 1
        while not line.endswith((";", "{}")) and lines[last] != "}":
            last += 1
        name = item[2] or item[1]
        shown = "\n".join(lines[first : last + 1])
        found[name] = f"{found[name]}\n\n{shown}" if name in found else shown
    return "\n\n".join(_each(path, names, found)) if names else text


def _each(path: Path, names: list[str], found: dict[str | None, str]) -> list[str]:
    missing = [name for name in names if name not in found]
    if missing:
        raise KeyError(f"{path} has no {', '.join(missing)}")
    return [found[name] for name in names]


def _of_procession(expected: str) -> str:
    """Returns the lines that procession prints, of those that are marked as one library's."""
    kept = [
        line
        for line in expected.splitlines()
        if not line.startswith("[multiprocessing] ")
    ]
    return "\n".join(line.removeprefix("[procession] ") for line in kept)


def _tab(title: str, language: str, text: str) -> str:
    inner = "\n".join(
        f"    {line}" if line else line for line in _fenced(language, text).split("\n")
    )
    return f'=== "{title}"\n\n{inner}\n\n'


def _fenced(language: str, text: str) -> str:
    return f"~~~~{language}\n{text.rstrip()}\n~~~~"
