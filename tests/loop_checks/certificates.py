"""A certificate for localhost, and the contexts that use it."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

CERTIFICATE = Path(__file__).with_name("localhost.pem")


@functools.lru_cache
def server_context() -> ssl.SSLContext:
    """Of a server that shows the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


@functools.lru_cache
def client_context() -> ssl.SSLContext:
    """Of a client that trusts it, and nothing else."""
    return ssl.create_default_context(cafile=CERTIFICATE)
