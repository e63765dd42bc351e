"""ansible, whose processes and managers are subclasses with constructors of their own."""

import sys

import pytest

PACKAGE = "ansible"
# It forks, whatever the start method.
pytestmark = [pytest.mark.slow, pytest.mark.methods("fork")]


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """Keeps ansible in the test's folder, with four hosts that are this machine."""
    for name in ("HOME", "ANSIBLE_HOME", "ANSIBLE_LOCAL_TEMP", "ANSIBLE_REMOTE_TMP"):
        monkeypatch.setenv(name, str(tmp_path / ".ansible"))
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("ANSIBLE_NOCOLOR", "1")
    (tmp_path / "hosts").write_text(
        f"h[1:4] ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    )


RUN = """
    import sys
    from ansible.cli.{command} import main

    if __name__ == "__main__":
        sys.exit(main())
"""


def test_ping_is_answered_by_each_host(program) -> None:
    text = RUN.format(command="adhoc")
    code, out, err = program(text, "all", "-i", "hosts", "-m", "ping")
    assert code == 0, out + err
    assert out.count('"ping": "pong"') == 4


def test_playbook_runs_with_forks(program, tmp_path) -> None:
    (tmp_path / "play.yml").write_text("""
- hosts: all
  gather_facts: false
  tasks:
    - command: echo "{{ inventory_hostname }} is here"
      register: said
    - debug: msg="{{ said.stdout }}"
    - add_host:
        name: "{{ inventory_hostname }}-twin"
""")
    text = RUN.format(command="playbook")
    code, out, err = program(text, "-f", "4", "-i", "hosts", "play.yml")
    assert code == 0, out + err
    assert sorted(line.strip() for line in out.splitlines() if "is here" in line) == [
        f'"msg": "h{number} is here"' for number in range(1, 5)
    ]
    assert out.count("failed=0") == 4
