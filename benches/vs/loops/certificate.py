"""A certificate for servers of TLS."""

from __future__ import annotations

import shutil
import subprocess
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
