"""A guest of the room: says something once a second, prints what it hears, leaves after ten sentences and comes again."""

import asyncio
import sys

from websocket import Refused, WebSocket, connect


async def listen(room: WebSocket) -> None:
    """Prints what is said."""
    while (text := await room.receive()) is not None:
        print("heard", text)


async def visit(name: str) -> None:
    """One visit."""
    room = await connect("room", "/room")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(listen(room))
        for count in range(10):
            await room.send(f"{name}: sentence {count}")
            await asyncio.sleep(1)
        await room.close(1000)
    print("left")


async def main(name: str) -> None:
    """Visits until it is stopped."""
    while True:
        try:
            await visit(name)
        except Refused as refused:
            print("refused:", refused)
        except (OSError, EOFError) as fault:
            print("no room:", fault)
        except ExceptionGroup as faults:
            print("lost:", faults.exceptions[0])
        await asyncio.sleep(1)


asyncio.run(main(sys.argv[1]))
