# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL server of Debian's packages in a temporary folder, while a test needs it."""

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator, List

USER = "horus"
SECONDS_MOST = 60
START_TRIES = 3  # another program may take the free port in between


@dataclass(frozen=True)
class Postgres:
    folder: str  # of its Unix socket
    port: int  # on 127.0.0.1, and in the name of the socket
    certificate: str


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    there = shutil.which("initdb")
    if there is None:
        raise FileNotFoundError("no initdb: is PostgreSQL installed?")
    return Path(there).parent


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """Initialises and starts a server, and ends it. It refuses root, so then it runs as the user
    `postgres` of the package."""
    programs = _programs()
    as_user: List[str] = []
    if os.geteuid() == 0:
        as_user = ["runuser", "-u", "postgres", "--"]
    folder = tempfile.mkdtemp(prefix="horus-postgres-")

    def call(program: str, *arguments: str) -> None:
        log = Path(folder) / "call.log"
        with open(log, "wb") as output:  # the server inherits it, so no pipe
            done = subprocess.run(
                [*as_user, str(programs / program), *arguments],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=SECONDS_MOST,
                check=False,
            )
        if done.returncode:
            raise RuntimeError(f"{program}: {log.read_text(errors='replace').strip()[-500:]}")

    def own(path: str) -> None:
        if as_user:
            user = pwd.getpwnam("postgres")
            os.chown(path, user.pw_uid, user.pw_gid)

    try:
        own(folder)
        data, key = f"{folder}/data", f"{folder}/server.key"
        certificate = f"{folder}/server.crt"
        _make_certificate(key, certificate)
        own(key)
        call("initdb", "-D", data, "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        settings = f"-k {folder} -h 127.0.0.1 -c fsync=off -c max_connections=60 -c ssl=on"
        settings += f" -c ssl_cert_file={certificate} -c ssl_key_file={key}"
        for left in reversed(range(START_TRIES)):
            port = _free_port()
            try:
                log = f"{folder}/server.log"
                call("pg_ctl", "-D", data, "-l", log, "-w", "-o", f"{settings} -p {port}", "start")
                break
            except RuntimeError:
                if not left:
                    raise
        try:
            yield Postgres(folder, port, certificate)
        finally:
            call("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make_certificate(key: str, certificate: str) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-keyout", key, "-out", certificate, "-days", "1"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True, timeout=SECONDS_MOST)
    os.chmod(key, 0o600)
    os.chmod(certificate, 0o644)
