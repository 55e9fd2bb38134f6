"""A chat server with a hundred clients, on asyncio's streams, and nothing but the standard library.

    python examples/chat_server.py            # a hundred clients
    python examples/chat_server.py 10         # ten
    counterpoint run examples/chat_server.py

Clients say their name, and then lines that everybody gets. `/shout TEXT` is put into capitals by a
child process. A client that does not say its name is shown out. SIGUSR1 has the server tell how
many are there, SIGTERM ends it. The simulated clients take turns, so everybody hears the same, and
a second run prints the same transcript.
"""

import asyncio
import hashlib
import os
import signal
import sys

CLIENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
ROUNDS = 3
SILENCE = 1.0  # seconds
PATIENCE = 60.0  # seconds

CHILD = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"


class Shouter:
    """A child process that answers each line with the same in capitals."""

    async def __aenter__(self):
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-c", CHILD)
        self._child = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
        self._turn = asyncio.Lock()
        return self

    async def shout(self, text):
        async with self._turn:
            self._child.stdin.write(text.encode() + b"\n")
            await self._child.stdin.drain()
            return (await self._child.stdout.readline()).decode().strip()

    async def __aexit__(self, *_):
        self._child.stdin.close()
        await self._child.wait()


class Room:
    """The server: who is there, and what is said."""

    def __init__(self, shouter):
        self.writers = {}
        self.said = 0
        self._shouter = shouter

    async def meet(self, reader, writer):
        """One client, from its name to its leaving."""
        try:
            async with asyncio.timeout(SILENCE):
                name = (await reader.readline()).decode().strip()
        except TimeoutError:
            writer.write(b"* you said nothing, goodbye\n")
            writer.close()
            return
        self.writers[name] = writer
        self.tell(f"* {name} joined")
        try:
            while line := await reader.readline():
                await self._hear(name, line.decode().strip())
        except ConnectionError:
            pass  # it left with something unread
        del self.writers[name]
        writer.close()
        self.tell(f"* {name} left")

    async def _hear(self, name, line):
        self.said += 1
        if line.startswith("/shout "):
            line = await self._shouter.shout(line.removeprefix("/shout "))
        self.tell(f"{name}: {line}")

    def tell(self, text):
        for writer in self.writers.values():
            writer.write(text.encode() + b"\n")


class Client:
    """One who says a line each time the one before has spoken."""

    def __init__(self, number):
        self.name = f"client{number:03}"
        self.heard = []

    async def connect(self, port):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    async def join(self, port):
        await self.connect(port)
        await self.say(self.name)
        await self.hear(f"* {self.name} joined")

    async def say(self, text):
        self.writer.write(text.encode() + b"\n")
        await self.writer.drain()

    async def hear(self, text):
        """Listen until somebody says that."""
        while True:
            line = await self.reader.readline()
            if not line:
                raise ConnectionError(f"{self.name} was shown out before it heard {text!r}")
            self.heard.append(line.decode().strip())
            if self.heard[-1] == text:
                return

    async def leave(self):
        self.writer.write_eof()
        await self.reader.read()  # what was said meanwhile, and the end
        self.writer.close()
        await self.writer.wait_closed()


async def talk(clients):
    """Everybody speaks in turn, hearing all the others; every tenth line is shouted."""
    for number in range(ROUNDS * len(clients)):
        speaker = clients[number % len(clients)]
        text = f"line {number}"
        await speaker.say(f"/shout {text}" if number % 10 == 9 else text)
        expected = f"{speaker.name}: {text.upper() if number % 10 == 9 else text}"
        await asyncio.gather(*(client.hear(expected) for client in clients))


async def main():
    loop, stop, counted = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    async with Shouter() as shouter:
        room = Room(shouter)

        def count():
            print(f"{len(room.writers)} clients are there, {room.said} lines were said")
            counted.set()

        loop.add_signal_handler(signal.SIGUSR1, count)
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        server = await asyncio.start_server(room.meet, "127.0.0.1", 0, backlog=CLIENTS)
        port = server.sockets[0].getsockname()[1]
        clients = [Client(number) for number in range(CLIENTS)]
        for client in clients:
            await client.join(port)
        last = clients[-1]
        for client in clients[:-1]:
            await client.hear(f"* {last.name} joined")
        before = len(last.heard)
        await talk(clients)
        talks = {tuple(client.heard[-ROUNDS * CLIENTS :]) for client in clients}
        print(f"{len(clients)} clients heard {len(talks)} transcript of {len(min(talks))} lines:")
        for line in last.heard[before : before + 10]:
            print(f"  {line}")
        print(f"  … sha256 {hashlib.sha256(repr(min(talks)).encode()).hexdigest()[:16]}")

        os.kill(os.getpid(), signal.SIGUSR1)
        await counted.wait()
        for client in clients:
            await client.leave()

        sleepy = Client(CLIENTS)
        await sleepy.connect(port)
        await sleepy.hear("* you said nothing, goodbye")
        await sleepy.leave()
        print(sleepy.heard[-1])

        os.kill(os.getpid(), signal.SIGTERM)
        await stop.wait()
        server.close()
        await server.wait_closed()
    print("closed")


async def in_time():
    async with asyncio.timeout(PATIENCE):
        await main()


if __name__ == "__main__":
    asyncio.run(in_time())
