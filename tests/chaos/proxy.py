"""A wire between a process of ours and a server, which can be cut, slowed down, or go silent.

It listens on a loopback port and passes bytes on to a Unix socket or another port. One thread with an event loop
serves all connections of a proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

Upstream: TypeAlias = Path | tuple[str, int]
T = TypeVar("T")

CHUNK = 65_536


@dataclass(eq=False)
class _Wire:
    """One connection, both its ends."""

    near: asyncio.StreamWriter
    far: asyncio.StreamWriter
    silent: bool = False

    def reset(self) -> None:
        """Both ends are told by an RST, as by a router that has forgotten them."""
        for end in (self.near, self.far):
            sock = end.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.transport.abort()


@dataclass
class Proxy:
    """A wire to `upstream`; `port` is where it begins. Close it at the end."""

    upstream: Upstream
    port: int = 0
    delay_seconds: float = 0.0
    """Each piece is held back for so long, in both directions; set it at any time."""
    _wires: set[_Wire] = field(default_factory=set)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _server: asyncio.Server | None = None
    _silent: bool = False

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._call(self._listen())

    def cut(self) -> int:
        """Reset every connection there is; new ones pass. How many there were."""
        return self._call(self._cut())

    def unplug(self) -> int:
        """The same, and refuse new ones until `plug_in`."""
        return self._call(self._unplug())

    def plug_in(self) -> None:
        self._call(self._listen())

    def fall_silent(self) -> int:
        """Swallow everything without closing anything, new connections too; how many there are now."""
        return self._call(self._fall_silent())

    def speak(self) -> None:
        """Pass bytes again. What has been swallowed is lost, so its connections are reset now."""
        self._call(self._speak())

    @property
    def connections(self) -> int:
        return len(self._wires)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._call(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _cut(self) -> int:
        count = len(self._wires)
        for wire in list(self._wires):
            wire.reset()
        return count

    async def _unplug(self) -> int:
        if self._server is not None:
            self._server.close()
            self._server = None
        count = await self._cut()
        await asyncio.sleep(0.01)  # the pumps see it and end
        return count

    async def _finish(self) -> None:
        """Leave no task and no socket behind: neither is closed by a loop that stops."""
        await self._unplug()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.01)  # what was aborted is closed in the loop's next turn

    async def _fall_silent(self) -> int:
        self._silent = True
        for wire in self._wires:
            wire.silent = True
        return len(self._wires)

    async def _speak(self) -> None:
        self._silent = False
        for wire in list(self._wires):
            if wire.silent:
                wire.reset()

    async def _serve(self, reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            if isinstance(self.upstream, Path):
                back, far = await asyncio.open_unix_connection(str(self.upstream))
            else:
                back, far = await asyncio.open_connection(*self.upstream)
        except OSError:
            near.transport.abort()
            return
        except asyncio.CancelledError:
            near.transport.abort()
            raise
        wire = _Wire(near=near, far=far, silent=self._silent)
        self._wires.add(wire)
        try:
            pumps = [
                asyncio.create_task(self._pump(wire, reader, far)),
                asyncio.create_task(self._pump(wire, back, near)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        finally:
            self._wires.discard(wire)
            near.close()
            far.close()

    async def _pump(self, wire: _Wire, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while piece := await reader.read(CHUNK):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                if not wire.silent:
                    writer.write(piece)
                    await writer.drain()
