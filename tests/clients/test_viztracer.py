"""viztracer, which traces children by changing how they are started."""

import json
import os
import sys
import textwrap

import library as tested
import pytest
import script
from clients.test_coverage import PROGRAM

pytestmark = [pytest.mark.slow, pytest.mark.installs("viztracer")]


@pytest.mark.parametrize(
    ("library", "runner"),
    [("installed", []), ("named", []), ("standard", ["-m", "procession"])],
)
def test_what_runs_in_children_is_traced(method, tmp_path, library, runner) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    if tested.name == "multiprocessing":
        library, runner = "standard", []
    tool = ["-m", "viztracer", "--quiet", "-o", "trace.json"]
    command = [sys.executable, *runner, *tool, "program.py", method, library]
    # It leaves files there.
    env = os.environ | {"TMPDIR": str(tmp_path)}
    code, out, err = script.run(command, cwd=tmp_path, env=env)
    assert (code, err) == (0, ""), out
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    places = [
        (event["name"].partition(" ")[0], event["pid"])
        for event in events
        if "program.py" in event["name"]
    ]
    names = [name for name, _ in places]
    assert (names.count("work"), names.count("only_in_a_child")) == (6, 1)
    main = {pid for name, pid in places if name == "<module>"}
    children = {pid for name, pid in places if name in ("work", "only_in_a_child")}
    assert len(children) >= 2
    assert len(main | children) > len(children)
