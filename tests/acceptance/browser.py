"""A headless Chromium, spoken to over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
START_SECONDS: Final = 30
ANSWER_SECONDS: Final = 30
FLAGS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)
_WATCH: Final = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""
_CODES: Final = {"Tab": 9}
"""Keys that do something by themselves do so by their number."""
_NAVIGATING: Final = ("Inspected target navigated or closed", "Execution context was destroyed.")
"""What the browser answers a question that a navigation overtook."""


class Navigating(AssertionError):
    """The page that was asked is being replaced by the next one."""


class Tab:
    """One page.

    Attributes:
        requested: every address that it asked for.
        complaints: uncaught exceptions, and errors that it logged.
    """

    def __init__(self, socket: WebSocketConnection) -> None:
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._session: str | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[trio.Event, list[dict[str, Any]]]] = {}

    async def listen(self) -> None:
        while True:
            try:
                message = msgspec.json.decode(await self._socket.get_message())
            except ConnectionClosed:
                return
            if "id" in message:
                event, answer = self._waiting.pop(message["id"])
                answer.append(message)
                event.set()
            else:
                self._happened(message["method"], message["params"])

    def _happened(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def command(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        event, answer = trio.Event(), list[dict[str, Any]]()
        self._waiting[number] = event, answer
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        await self._socket.send_message(msgspec.json.encode(message).decode())
        with trio.fail_after(ANSWER_SECONDS):
            await event.wait()
        if "error" in answer[0]:
            error = answer[0]["error"]
            raise (Navigating if error["message"] in _NAVIGATING else AssertionError)(f"{method}: {error}")
        result: dict[str, Any] = answer[0]["result"]
        return result

    async def attach(self) -> None:
        target = await self.command("Target.createTarget", url="about:blank")
        attached = await self.command("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.command(f"{domain}.enable")
        await self.command("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)

    async def size(self, width: int, height: int) -> None:
        await self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        answer = await self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    async def until(self, expression: str) -> None:
        """Waits until a JavaScript expression is true in the page."""
        with trio.fail_after(ANSWER_SECONDS):
            # Another process, and no event of its own for every expression.
            while not await self._holds(expression):  # noqa: ASYNC110
                await trio.sleep(0.05)

    async def _holds(self, expression: str) -> bool:
        """Whether it is true now; a page on its way to another holds nothing."""
        try:
            return bool(await self.value(f"Boolean({expression})"))
        except Navigating:
            return False

    async def open(self, url: str) -> None:
        await self.command("Page.navigate", url=url)
        await self.until(
            f"location.href.startsWith({url.split('?')[0]!r}) && document.body && document.body.dataset.shown"
        )

    async def move(self, x: float, y: float) -> None:
        """Moves the pointer."""
        await self.command("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    async def press(self, key: str, *, shift: bool = False) -> None:
        """Presses a key, named as in a KeyboardEvent's `key`, where the focus is."""
        for kind in ("keyDown", "keyUp"):
            await self.command(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=_CODES.get(key, 0),
                modifiers=8 if shift else 0,
            )

    async def picture(self, path: Path, height: int | None = None) -> None:
        """Writes a screenshot of the whole page, or of so many pixels from its top."""
        metrics = await self.command("Page.getLayoutMetrics")
        size = metrics["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height or size["height"], "scale": 1}
        answer = await self.command("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        await trio.Path(path).write_bytes(base64.b64decode(answer["data"]))


@asynccontextmanager
async def open_tab(folder: Path) -> AsyncIterator[Tab]:
    """A browser with one empty page; `folder` holds its profile."""
    assert CHROMIUM is not None
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=False,
            )
        )
        try:
            port_file = trio.Path(folder / "DevToolsActivePort")
            with trio.fail_after(START_SECONDS):
                while not await port_file.exists() or "\n" not in await port_file.read_text():  # noqa: ASYNC110
                    await trio.sleep(0.05)
            port, path = (await port_file.read_text()).split("\n")[:2]
            async with open_websocket_url(
                f"ws://127.0.0.1:{port}{path}", max_message_size=64 * 1024 * 1024, disconnect_timeout=1
            ) as socket:
                tab = Tab(socket)
                nursery.start_soon(tab.listen)
                await tab.attach()
                yield tab
        finally:
            process.terminate()
