"""`ps2daemon demo`, small: it fills, records, serves, and ends cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

PATIENCE = 60.0


def test_it_fills_records_serves_and_ends_cleanly(tmp_path: Path) -> None:
    command = ["demo", "--days", "2", "--scale", "0.1", "--port", "0", "--directory", str(tmp_path / "demo")]
    with (tmp_path / "stderr").open("wb") as stderr:
        demo = subprocess.Popen(
            [sys.executable, "-m", "ps2daemon", *command], stdout=subprocess.PIPE, stderr=stderr, text=True
        )
    assert demo.stdout is not None
    address = demo.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:"), (tmp_path / "stderr").read_text()
    page = httpx.get(address, trust_env=False)
    assert page.status_code == 200
    worlds = httpx.get(f"{address}api/v1/worlds", trust_env=False).json()
    assert {world["world_id"] for world in worlds["worlds"]} == {1, 10, 40}
    mine = {pid for pid in running() if tmp_path.name in working_folder(pid)}
    assert len(mine) == 3  # simulator, daemon, page
    demo.send_signal(signal.SIGINT)
    assert demo.wait(PATIENCE) == 0
    demo.stdout.close()
    assert not any(tmp_path.name in working_folder(pid) for pid in running())
    assert "Traceback" not in "".join(log.read_text() for log in (tmp_path / "demo").glob("*.log"))


def running() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def working_folder(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/cwd")
    except OSError:
        return ""  # gone, or not ours to know


def test_it_leaves_a_folder_of_somebody_else_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    done = subprocess.run(
        [sys.executable, "-m", "ps2daemon", "demo", "--directory", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "holds something that is no demo" in done.stderr
    assert precious.read_text() == "mine"
