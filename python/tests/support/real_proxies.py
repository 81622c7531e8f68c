"""Runs a SOCKS or HTTP proxy of the package tiny-proxy."""

import asyncio
import threading
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
from tiny_proxy import HttpProxyHandler, Socks4ProxyHandler, Socks5ProxyHandler

from ferromqtt.options import ProxyType

HANDLERS = {
    ProxyType.SOCKS4: Socks4ProxyHandler,
    ProxyType.SOCKS5: Socks5ProxyHandler,
    ProxyType.HTTP: HttpProxyHandler,
}


class RealProxy:
    """Runs in a thread with a loop of its own; `connections` counts who came."""

    def __init__(self, kind: ProxyType, **credentials: str) -> None:
        self.kind = kind
        self.host, self.port = "127.0.0.1", 0
        self.connections = 0
        self._handler = HANDLERS[kind](**credentials)
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: anyio.run(self._serve), daemon=True)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        listener = await anyio.create_tcp_listener(local_host=self.host, local_port=0)
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        with anyio.CancelScope() as self._scope:
            self._listening.set()
            async with listener:
                await listener.serve(self._handle)

    async def _handle(self, stream: anyio.abc.SocketStream) -> None:
        self.connections += 1
        await self._handler.handle(stream)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(40)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._scope.cancel)
        self._thread.join(40)
