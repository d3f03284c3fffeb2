"""The command line's frame: help, errors, exit codes, and the settings that commands share."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ps2daemon.cli import LazyGroup, main
from ps2daemon.commands import COMMANDS, help_text
from ps2daemon.errors import ConfigError, Ps2Error, StoreUnavailable

SECRET = "VerySecretId42"


def commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command, groups included, with how it is called."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


def ps2daemon(*args: str, **options: str) -> subprocess.CompletedProcess[str]:
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith("PS2DAEMON_")
    } | options
    return subprocess.run(
        [sys.executable, "-m", "ps2daemon", *args], capture_output=True, text=True, env=environ, timeout=60
    )


def test_help_is_the_same_with_and_without_click() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert result.output == help_text()
    assert CliRunner().invoke(main, ["-h"]).output == help_text()
    assert ps2daemon("--help").stdout == help_text()
    assert ps2daemon("-h").stdout == help_text()


def test_the_help_has_every_option_and_command_and_fits_a_terminal() -> None:
    text = help_text()
    for parameter in main.params:
        for option in parameter.opts:
            assert option in text
        if isinstance(parameter, click.Option) and parameter.envvar:
            assert str(parameter.envvar) in text
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
    assert max(map(len, text.splitlines())) <= 80
    assert "Examples:\n  ps2daemon " in text


def test_every_command_says_what_it_does_and_ends_with_an_example() -> None:
    found = list(commands(main))
    assert {path[0] for path, _ in found} == set(COMMANDS)
    for path, command in found:
        result = CliRunner().invoke(main, [*path, "--help"])
        assert result.exit_code == 0, path
        assert result.output.startswith(f"Usage: {' '.join(('main', *path))}"), path
        assert command.help, path
        tail = re.search(r"\n\s*Examples?:\n((?:\s+\S.*\n?)+)\Z", result.output)
        assert tail is not None, f"the help of {path} does not end with an example"
        calls = [line for line in tail[1].splitlines() if "ps2daemon" in line]
        assert any(path[-1] in line for line in calls), f"the example of {path} does not call it"
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path}: {parameter.name} has no help"


def test_help_is_quick() -> None:
    """At most 5 times what Python takes to start; medians of interleaved runs, since machines are busy."""
    script = Path(sys.executable).with_name("ps2daemon")
    if not script.exists():
        pytest.skip(f"{script} is not installed")
    bare: list[float] = []
    helped: list[float] = []
    for _ in range(11):
        for command, times in (([sys.executable, "-c", "pass"], bare), ([str(script), "--help"], helped)):
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - began)
    ratio = statistics.median(helped) / statistics.median(bare)
    assert ratio <= 5, f"--help takes {ratio:.1f} times what `python -c pass` takes"


def test_version() -> None:
    result = ps2daemon("--version")
    assert (result.returncode, result.stdout) == (0, "ps2daemon 0.1.0\n")


def test_an_unknown_command_or_option_is_usage() -> None:
    for args in (("nope",), ("--nope", "run"), ("check-config", "--nope"), ()):
        result = ps2daemon(*args)
        assert result.returncode == 2
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert "Usage: ps2daemon" in result.stderr


# Settings


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "service-id").write_text(SECRET)
    path = tmp_path / "config.toml"
    path.write_text('[census]\nservice_id_file = "service-id"\n[web]\nport = 8030\n')
    return path


def test_check_config(config: Path) -> None:
    result = ps2daemon("--config", str(config), "check-config")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith(f"The configuration {config} is right.")
    assert re.search(r"^port +8030$", result.stdout, re.MULTILINE)
    assert re.search(r"^service_id +given \(not shown\)$", result.stdout, re.MULTILINE)
    assert re.search(r"^worlds +1 \(Osprey\), 10 \(Wainwright\)", result.stdout, re.MULTILINE)
    assert SECRET not in result.stdout


def test_check_config_as_json_and_by_environment(config: Path) -> None:
    result = ps2daemon("check-config", "--json", PS2DAEMON_CONFIG=str(config), PS2DAEMON_WEB_PORT="8040")
    facts = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, "")
    assert facts["web"] == {
        "host": "127.0.0.1",
        "port": 8040,
        "metrics_port": 8021,
        "cache_directory": str(config.parent / "state" / "cache"),
    }
    assert facts["stream"][0]["worlds"] == [1, 10, 19, 40]
    assert facts["queue"]["directory"] == str(config.parent / "state" / "queue")
    assert facts["census"]["service_id"] is True
    assert facts["store"] == {"kind": "sqlite", "path": str(config.parent / "state" / "ps2.db")}
    assert set(facts["queue"]) == {"kind", "directory", "max_bytes", "retain"}
    assert SECRET not in result.stdout


def test_check_config_shows_the_keys_of_elasticsearch(config: Path) -> None:
    (config.parent / "password").write_text(SECRET)
    url = ["https://es1:9200", "https://es2:9200"]
    with config.open("a") as file:
        file.write(
            f'[store]\nkind = "elasticsearch"\nurl = {url}\nusername = "u"\npassword_file = "password"\n'
        )
    result = ps2daemon("--config", str(config), "check-config", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["store"] == {
        "kind": "elasticsearch",
        "url": url,
        "index_prefix": "ps2",
        "username": "u",
        "password": True,
        "api_key": False,
        "ca_file": None,
        "replicas": 0,
        "timeout_seconds": 30.0,
    }
    lines = ps2daemon("--config", str(config), "check-config").stdout
    assert re.search(r"^url +https://es1:9200, https://es2:9200$", lines, re.MULTILINE)
    assert re.search(r"^password +given \(not shown\)$", lines, re.MULTILINE)
    assert re.search(r"^(api_key|ca_file) +none$", lines, re.MULTILINE)
    assert not re.search(r"^path ", lines, re.MULTILINE)
    assert SECRET not in result.stdout + lines


def test_check_config_warns_where_a_service_id_will_be_needed(config: Path) -> None:
    config.write_text("")
    result = ps2daemon("--config", str(config), "check-config")
    assert result.returncode == 0
    assert "registered service id" in result.stderr
    config.write_text('[[stream]]\nurl = "ws://127.0.0.1:9/"\n')
    assert ps2daemon("--config", str(config), "check-config").stderr == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ["can't read the configuration", "No such file"]),
        ("[web]\nprt = 1\n", ["web.prt", "did you mean port?"]),
        ("[web]\nport = 'x'\n", ["web.port", "'x'", "a port from 0 to 65535"]),
        ("[[stream]]\nworlds = [99]\n", ["stream[1].worlds", "99"]),
        ("[census]\nservice_id_file = 'none'\n", ["census.service_id_file", "No such file"]),
    ],
)
def test_a_wrong_configuration_is_one_line_and_exit_code_2(
    config: Path, text: str | None, words: list[str]
) -> None:
    if text is None:
        config.unlink()
    else:
        config.write_text(text)
    result = ps2daemon("--config", str(config), "check-config")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("ps2daemon: error: ")
    assert result.stderr.count("\n") == 1
    assert all(word in result.stderr for word in words)


def test_no_configuration_at_all(tmp_path: Path) -> None:
    result = ps2daemon("check-config")
    assert (result.returncode, result.stdout) == (2, "")
    assert "there is no configuration" in result.stderr
    assert "--config FILE" in result.stderr
    assert ps2daemon("check-config", PS2DAEMON_STORE_PATH=str(tmp_path / "ps2.db")).returncode == 0
    misspelt = ps2daemon("check-config", PS2DAEMON_STORE_PAHT="x")
    assert "did you mean PS2DAEMON_STORE_PATH?" in misspelt.stderr


# Errors


def failing(error: BaseException) -> LazyGroup:
    """A group with a command that raises `error`, called "fail"."""

    class Group(LazyGroup):
        def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
            @click.command()
            def fail() -> None:
                raise error

            return fail

    return Group("main")


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("web.port: no"), 2, "ps2daemon: error: web.port: no"),
        (StoreUnavailable("away"), 1, "ps2daemon: error: away"),
        (Ps2Error("two\nlines"), 1, "ps2daemon: error: two lines"),
        (
            ExceptionGroup("n", [ExceptionGroup("n", [ConfigError("in a nursery")])]),
            2,
            "ps2daemon: error: in a nursery",
        ),
        (ExceptionGroup("n", [StoreUnavailable("b"), ConfigError("a")]), 2, "ps2daemon: error: a"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("n", [KeyboardInterrupt(), ValueError()]), 130, ""),
    ],
)
def test_how_errors_end_the_process(error: BaseException, code: int, line: str) -> None:
    result = CliRunner().invoke(failing(error), ["fail"])
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.strip() == line


@pytest.mark.parametrize(
    "error", [ValueError("defect"), ExceptionGroup("n", [ConfigError("x"), ValueError("defect")])]
)
def test_a_defect_keeps_its_traceback(error: Exception) -> None:
    assert CliRunner().invoke(failing(error), ["fail"]).exception is error


_LONG_OUTPUT = """
import sys, click
from ps2daemon.cli import LazyGroup

class Group(LazyGroup):
    def get_command(self, ctx, name):
        @click.command()
        def talk():
            for _ in range(100_000):
                click.echo("x" * 100)
        return talk

Group("main").main(["talk"])
"""


def test_a_reader_that_has_enough_is_no_error() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _LONG_OUTPUT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 1


_SLEEPS = """
import time, click
from ps2daemon.cli import LazyGroup

class Group(LazyGroup):
    def get_command(self, ctx, name):
        @click.command()
        def sleep():
            print("ready", flush=True)
            time.sleep(60)
        return sleep

Group("main").main(["sleep"])
"""


def test_ctrl_c_is_quiet() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SLEEPS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert process.stderr.read() == ""


# Units


@pytest.mark.parametrize("elasticsearch", [False, True])
@pytest.mark.parametrize("unit", ["ps2daemon.service", "ps2daemon@.service"])
def test_systemd_accepts_the_units(root: Path, tmp_path: Path, unit: str, elasticsearch: bool) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not on this machine")
    text = (root / "systemd" / unit).read_text()
    assert "WatchdogSec=" in text
    assert "LoadCredential=service-id:" in text
    if elasticsearch:
        text, number = re.subn(r"^#(?=LoadCredential=elasticsearch-)", "", text, flags=re.MULTILINE)
        assert number == 2
    # The program is where it will be installed: here only what is written around it is checked.
    placed, number = re.subn(r"^ExecStart=\S+", f"ExecStart={shutil.which('true')}", text, flags=re.MULTILINE)
    assert number == 1
    (tmp_path / unit).write_text(placed)
    name = unit.replace("@.", "@worker.")
    result = subprocess.run(
        [analyze, "verify", str(tmp_path / name)], capture_output=True, text=True, timeout=60
    )
    # It also speaks of other units of the machine.
    about = [line for line in result.stderr.splitlines() if "ps2daemon" in line]
    assert (result.returncode, about) == (0, [])
