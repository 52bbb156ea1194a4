#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""exact_soak.py PROGRAM [RUNS] [--replay-with PROGRAM]: record each program of exact_program.cpp so many times, on both
backends, against peers with a will of their own, and see that each replay says the same.

Exit code: 0, or 1 when a replay differs; the recordings of those are kept, and named."""

import argparse
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

PROGRAMS = ("lines", "chunks", "files", "children", "offloads", "posts", "datagrams", "nodes")
LIMIT_S = 60


def talk(listener):
    """Sends lines to whoever connects first, at its own times."""
    peer, _ = listener.accept()
    with listener, peer:
        try:
            for _ in range(30):
                peer.sendall(f"{random.getrandbits(32)}\n".encode())
                if random.random() < 0.25:
                    time.sleep(random.random() * 0.012)
            peer.sendall(b"end\n")
        except OSError:
            pass


def talker():
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=talk, args=(listener,), daemon=True).start()
    return f"127.0.0.1:{listener.getsockname()[1]}"


class Soak:
    def __init__(self, program, replayed_by, folder):
        self.program, self.replayed_by, self.folder = program, replayed_by, folder
        self.seam = folder / "run.seam"

    def run(self, program, words, **variables):
        environment = {key: value for key, value in os.environ.items() if not key.endswith("_SEAM")}
        return subprocess.run([program, *words], env=environment | variables, capture_output=True, timeout=LIMIT_S,
                              check=False)

    def once(self, name, backend):
        """Whether a recording of that program replays; what the replay said, where it does not."""
        self.seam.unlink(missing_ok=True)
        words = [name]
        files = self.folder / "files"
        if name in ("lines", "chunks"):
            words.append(talker())
        if name == "files":
            files.mkdir()
            words.append(str(files))
        first = self.run(self.program, words, HORUS_IO=backend, HORUS_RECORD_SEAM=str(self.seam))
        shutil.rmtree(files, ignore_errors=True)
        again = self.run(self.replayed_by, words, HORUS_IO=backend, HORUS_REPLAY_SEAM=str(self.seam))
        equal = (first.returncode == 0 and again.returncode == 0 and first.stdout == again.stdout
                 and b"equal to its recording" in again.stderr)
        return equal, (first.stderr + again.stderr).decode(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("runs", nargs="?", type=int, default=100)
    parser.add_argument("--replay-with", metavar="PROGRAM", help="another build of it")
    given = parser.parse_args()
    if given.runs < 1:
        parser.error("at least one run")
    failed = 0
    with tempfile.TemporaryDirectory(prefix="horus-soak-") as folder:
        soak = Soak(given.program, given.replay_with or given.program, pathlib.Path(folder))
        for backend in ("uring", "epoll"):
            for name in PROGRAMS:
                equal = 0
                for _ in range(given.runs):
                    holds, said = soak.once(name, backend)
                    equal += holds
                    if not holds:
                        failed += 1
                        kept = pathlib.Path(tempfile.gettempdir()) / f"horus-{name}-{backend}-{failed}.seam"
                        shutil.copy(soak.seam, kept)
                        print(f"{said}kept: {kept}", file=sys.stderr)
                print(f"{backend:6} {name:10} {equal} of {given.runs} replayed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
