"""The load for TLS: ``python -m benches.vs.loops.tls PORT CONNECTIONS BYTES``.

It speaks to the session as the one in Rust does. Slow as it is, it is the same for all, and what a
server needs of the CPU hardly depends on it.
"""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

EC = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
OPENSSL = f"openssl req -x509 {EC} -nodes -days 2 -subj /CN=bench"


def make_certificate(directory: Path) -> Path:
    """A file with a key and a certificate that signs itself."""
    if shutil.which("openssl") is None:
        raise RuntimeError("the command openssl, which makes a certificate, is missing")
    key, certificate, both = (directory / name for name in ("key", "certificate", "both.pem"))
    command = [*OPENSSL.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, capture_output=True, timeout=60, check=True)
    both.write_text(key.read_text() + certificate.read_text())
    return both


def connect(port: int, context: ssl.SSLContext) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(plain)


def receive(connection: ssl.SSLSocket, buffer: memoryview) -> None:
    """Fill the buffer."""
    filled = 0
    while filled < len(buffer):
        count = connection.recv_into(buffer[filled:])
        if count == 0:
            raise EOFError("the server closed a connection")
        filled += count


def exchange(connections: list[ssl.SSLSocket], message: bytes, buffer: memoryview) -> None:
    """One message to each, and the answers of all."""
    for connection in connections:
        connection.sendall(message)
    for connection in connections:
        receive(connection, buffer)


def main() -> None:
    port, count, size = map(int, sys.argv[1:])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    message, buffer = bytes(i % 251 for i in range(size)), memoryview(bytearray(size))
    connections = [connect(port, context) for _ in range(count)]
    exchange(connections, message, buffer)
    if buffer != message:
        raise ValueError("an echo that is none")
    print("ready", flush=True)
    for line in sys.stdin:
        turns = -(-int(line.split()[1]) // count)
        start = time.perf_counter_ns()
        for _ in range(turns):
            exchange(connections, message, buffer)
        answer = {"count": turns * count, "elapsed_ns": time.perf_counter_ns() - start}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
