"""What pages show of a program is what stands in it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def snippets() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "snippets", ROOT / "tools/site/snippets.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_functions_of_python_come_with_their_decorators(snippets, tmp_path) -> None:
    path = tmp_path / "program.py"
    path.write_text(
        "import os\n\n\n@cache\ndef first():\n    return 1\n\n\ndef second():\n    pass\n\n\n"
        "if __name__ == '__main__':\n    first()\n"
    )
    shown = snippets.python(path, ["first", "main"])
    assert shown == (
        "@cache\ndef first():\n    return 1\n\n\nif __name__ == '__main__':\n    first()"
    )


def test_items_of_rust_come_with_their_comments_and_implementations(
    snippets, tmp_path
) -> None:
    path = tmp_path / "program.rs"
    path.write_text(
        "use std::fs;\n\n/// One.\n#[derive(Debug)]\nstruct One;\n\nimpl Run for One {\n    fn run() {}\n}\n\n"
        "/// Two.\nfn two() {\n    if true {\n    }\n}\n\nfn none() {}\n"
    )
    assert snippets.rust(path, ["One", "none"]) == (
        "/// One.\n#[derive(Debug)]\nstruct One;\n\nimpl Run for One {\n    fn run() {}\n}\n\nfn none() {}"
    )
    assert snippets.rust(path, ["two"]).endswith("}\n}")


def test_name_that_is_not_there_is_an_error(snippets) -> None:
    with pytest.raises(KeyError, match=r"doubler\.py has no gone"):
        snippets.expand("<!-- code: doubler gone -->")


def test_output_has_the_lines_of_procession_only(snippets) -> None:
    shown = snippets.expand("<!-- output: bring_results_home -->")
    assert "result: 30" in shown
    assert "skipped" not in shown
    assert "[procession]" not in shown


def test_notebook_has_its_texts_code_and_results(snippets) -> None:
    shown = snippets.expand("<!-- notebook: guides/notebook -->")
    assert "# Processes" not in shown
    assert "~~~~python\nprocession.get_pool(2).map(times, range(5))\n~~~~" in shown
    assert "~~~~text\n[0, 10, 20, 30, 40]\n~~~~" in shown
    assert "~~~~text\n3 posix._exit\n~~~~" in shown
