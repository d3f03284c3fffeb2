"""Which parts may know of which: the pure ones know neither the event loop nor any client, and `--help` knows next to nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ps2daemon

PACKAGE = Path(ps2daemon.__file__).parent
PURE = ("model", "analysis")
CLIENTS = {
    "aiokafka", "anyio", "asyncio", "click", "confluent_kafka", "elastic_transport", "elasticsearch", "httpcore",
    "httpx", "hypercorn", "persistqueue", "prometheus_client", "rich", "sdnotify", "socket", "sqlite3", "starlette",
    "structlog", "trio", "trio_util", "trio_websocket", "urllib3", "vl_convert", "wsproto",
}  # fmt: skip
"""What does I/O, or knows how others do it."""
KNOWN_TO_THE_PURE = {"ps2daemon.errors", "ps2daemon.store.base"}
"""Beside themselves: values, errors and promises."""


def modules(part: str) -> list[Path]:
    return sorted((PACKAGE / part).rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in an import, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def loaded_by(*names: str) -> set[str]:
    """The modules that a fresh interpreter has after importing these."""
    code = f"import sys\nfor name in {names!r}: __import__(name)\nprint('\\n'.join(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.split())


def test_the_walk_finds_what_it_should() -> None:
    assert {"trio", "ps2daemon.census.limits"} <= set(imported(PACKAGE / "supervisor.py"))
    assert len(modules("model")) > 5
    assert modules("analysis")


@pytest.mark.parametrize("part", PURE)
def test_the_pure_parts_name_no_client_and_no_outer_part(part: str) -> None:
    for path in modules(part):
        for name in imported(path):
            assert name.partition(".")[0] not in CLIENTS, f"{path} imports {name}"
            if name.startswith("ps2daemon."):
                allowed = (*(f"ps2daemon.{each}" for each in PURE), *KNOWN_TO_THE_PURE)
                inside = any(name == each or name.startswith(f"{each}.") for each in allowed)
                assert inside, f"{path} imports {name}"


def test_the_model_does_not_know_the_analysis() -> None:
    for path in modules("model"):
        assert not [name for name in imported(path) if name.startswith("ps2daemon.analysis")], path


def test_neither_the_program_nor_the_benchmark_knows_the_tests() -> None:
    """And the program knows no benchmark."""
    root = PACKAGE.parent
    for folder, unknown in (("ps2daemon", {"tests", "bench"}), ("bench", {"tests"})):
        for path in (root / folder).rglob("*.py"):
            assert not {name.partition(".")[0] for name in imported(path)} & unknown, path


def test_importing_the_pure_parts_loads_no_client() -> None:
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for part in PURE
        for path in modules(part)
    ]
    loaded = {name.partition(".")[0] for name in loaded_by(*names)}
    assert "msgspec" in loaded
    assert not loaded & (CLIENTS - {"asyncio", "socket"}), "the standard library may load its own"


def test_help_loads_nothing_but_the_table_of_commands() -> None:
    code = (
        "import sys; sys.argv = ['ps2daemon', '--help']\n"
        "from ps2daemon.__main__ import main; main()\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in result.stdout
    ours = {name for name in result.stderr.split() if name.startswith("ps2daemon")}
    assert ours == {"ps2daemon", "ps2daemon.__main__", "ps2daemon.commands"}
    assert not {name.partition(".")[0] for name in result.stderr.split()} & (CLIENTS | {"msgspec", "tomllib"})


def test_the_command_line_loads_no_command() -> None:
    loaded = {name.partition(".")[0] for name in loaded_by("ps2daemon.cli")}
    assert not loaded & (CLIENTS - {"click", "asyncio", "socket"})
    assert "msgspec" not in loaded
