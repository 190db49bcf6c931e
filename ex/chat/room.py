"""A chat room: whatever one guest says, all hear."""

import asyncio
import contextlib

from websocket import WebSocket, accept

guests: set[WebSocket] = set()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One guest, from hello to goodbye."""
    with contextlib.suppress(OSError, EOFError, KeyError):
        guest = await accept(reader, writer)
        guests.add(guest)
        try:
            while (text := await guest.receive()) is not None:
                for other in list(guests):
                    with contextlib.suppress(OSError):
                        await other.send(text)
        finally:
            guests.discard(guest)
    writer.close()


async def main() -> None:
    """Serves until it is stopped."""
    server = await asyncio.start_server(serve, "127.0.0.1", 8000)
    async with server:
        await server.serve_forever()


asyncio.run(main())
