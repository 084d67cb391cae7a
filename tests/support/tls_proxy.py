"""TLS in front of a Redis that was built without it: a proxy that ends the encryption, as stunnel would."""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from tests.support.certificates import Pair
from tests.support.processes import Program, free_port

# The first byte of a TLS connection; no Redis command begins with it.
_HANDSHAKE = b"\x16"


@contextmanager
def tls_proxy(target: int, own: Pair, authority: Path, *, plain: bool = False) -> Iterator[int]:
    """Run a proxy before a port of this machine, for clients with a certificate of the authority; its own port.

    plain: take connections without TLS, too, as servers and Sentinels make them among themselves.
    """
    port = free_port()
    arguments = (port, target, own.certificate, own.key, authority, int(plain))
    command = [sys.executable, "-m", __name__, *map(str, arguments)]
    proxy = Program(command, authority.parent / f"proxy-{port}.log")
    try:
        proxy.wait_for("listening")
        yield port
    finally:
        proxy.kill()


async def _serve(port: int, target: int, context: ssl.SSLContext, *, plain: bool) -> None:
    loop = asyncio.get_running_loop()
    # A connection that breaks is the clients' affair.
    loop.set_exception_handler(lambda *_: None)
    tasks: set[asyncio.Task[None]] = set()
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.setblocking(False)
        print("listening", flush=True)  # noqa: T201 - whoever started it waits for that
        while True:
            connection, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(_handle(connection, target, context, plain=plain))
            tasks.add(task)
            task.add_done_callback(tasks.discard)


async def _handle(connection: socket.socket, target: int, context: ssl.SSLContext, *, plain: bool) -> None:
    loop = asyncio.get_running_loop()
    chosen = None if plain and await _first_byte(connection) != _HANDSHAKE else context
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    with suppress(OSError):
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=chosen)
        with closing(asyncio.StreamWriter(transport, protocol, reader, loop)) as writer:
            there, back = await asyncio.open_connection("127.0.0.1", target)
            with closing(back):
                await _first_done(_pump(reader, back), _pump(there, writer))


async def _first_byte(connection: socket.socket) -> bytes:
    while True:
        with suppress(BlockingIOError):
            return connection.recv(1, socket.MSG_PEEK)
        await asyncio.sleep(0.005)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def _first_done(*pumps: Coroutine[None, None, None]) -> None:
    tasks = [asyncio.create_task(each) for each in pumps]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for each in tasks:
        each.cancel()


def _main(port: str, target: str, certificate: str, key: str, authority: str, plain: str) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    asyncio.run(_serve(int(port), int(target), context, plain=plain == "1"))


if __name__ == "__main__":
    _main(*sys.argv[1:])
