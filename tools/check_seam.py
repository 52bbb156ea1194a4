#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuse what goes round the seam (docs/architecture.md): an entry that is filled elsewhere than in entry.hpp, and system
calls that neither a simulator nor a recorder can answer. Files that make such calls on purpose are named with the reason."""

import argparse
import pathlib
import re
import sys

from check_determinism import without_comments

FILLED = re.compile(r"\b\w*entry\w*(?:\.|->)opcode\s*=(?!=)")
FILLS = {
    "horus/io/seam/entry.hpp": "their home",
    "horus/io/seam/uring_abi.hpp": "a message between rings, which no reactor submits",
}

# What asks the kernel for something that differs from run to run, or changes something outside of the process.
CALLS = """
    accept accept4 access bind chmod close connect creat dup dup2 dup3 epoll_create1 epoll_ctl epoll_wait eventfd execve
    faccessat fallocate fcntl fdatasync fork fstat fsync ftruncate getenv geteuid getpeername getpid getrandom
    getsockname getsockopt gettid getuid inotify_add_watch inotify_init1 inotify_rm_watch ioctl isatty kill link linkat
    listen lstat memfd_create mkdir mkdirat mkfifo open openat pidfd_open pipe pipe2 poll ppoll pread preadv preadv2
    pwrite pwritev pwritev2 raise read readlink readv recv recvfrom recvmsg rename renameat2 rmdir send sendmsg sendto
    setsockopt shutdown signalfd sigqueue socket socketpair stat statfs statx symlink symlinkat syscall timerfd_create
    timerfd_settime truncate uname unlink unlinkat waitid waitpid write writev
""".split()
CALL = re.compile(r"(?<![\w>:])::(" + "|".join(CALLS) + r")\(")

ALLOWED = {
    "horus/base/": "below every layer: the log's descriptor, limits of memory, numbers above the standard streams",
    "horus/cli/": "a program of its own, which looks at the machine",
    "horus/bag/read/source.cpp": "reads a recording of the real disk, also in a simulated world",
    "horus/config/document.cpp": "reads configuration files, before there is a reactor",
    "horus/io/seam/system.cpp": "the seam's own answers",
    "horus/io/seam/ring.cpp": "the seam's own answers",
    "horus/io/seam/blocking_operation.cpp": "entries as blocking calls, below the seam",
    "horus/io/seam/system_closing.cpp": "part of System",
    "horus/io/seam/process_spawn.cpp": "part of System",
    "horus/io/seam/system_signals.cpp": "part of System",
    "horus/io/base/mounts.cpp": "part of System: which files may wait",
    "horus/io/stream/resolve.cpp": "part of System: the machine's resolver",
    "horus/io/seam/epoll_attempts.cpp": "a provider, below the seam",
    "horus/io/seam/epoll_backend.cpp": "a provider, below the seam",
    "horus/io/seam/epoll_provider.cpp": "a provider, below the seam",
    "horus/io/seam/uring_abi.hpp": "below the seam",
    "horus/io/seam/uring_backend.cpp": "below the seam",
    "horus/io/replay/": "stands in front of the seam: the file of a recording, and this process beside the recorded one",
    "horus/io/loop/dump_all.cpp": "looks at other threads of the process, which no simulator has",
    "horus/io/loop/embedding.cpp": "descriptors of the loop that a reactor is embedded in",
    "horus/io/loop/embedding.hpp": "descriptors of the loop that a reactor is embedded in",
    "horus/io/loop/closer.cpp": "closes on a thread what may wait, after the ring has let go of it",
    "horus/io/descriptor.hpp": "what is closed where no reactor runs",
    "horus/io/event_fd.hpp": "set() from signal handlers and after the reactor's end",
    "horus/io/process/process.cpp": "a forked child knows itself by its number; children of programs without a reactor",
    "horus/io/loop/reactor_threads.cpp": "an embedded reactor's own wake-up descriptor",
    "horus/io/process/signals.cpp": "signals of programs without a reactor",
    "horus/msg/link/clock_offset.cpp": "this process's place among the kernel's clocks, asked once",
    "horus/msg/link/mapping.cpp": "pages of memory that System::kernel_file() named",
    "horus/msg/link/shm_arena.cpp": "pages of memory that System::kernel_file() named",
    "horus/msg/tcp/tcp_transport.cpp": "a rest before an address is tried again",
    "horus/msg/door/": "a thread of its own, which no simulator has, and its visitors",
    "horus/msg/shm/wake_source.cpp": "what is closed where no reactor runs",
    "horus/py/": "under an interpreter, which cannot be simulated",
    "horus/sched/node/crash_guard.cpp": "a crash of the process",
    "horus/sched/run/executor.cpp": "threads, which no simulator has",
    "horus/sched/node/hook_helpers.cpp": "threads, which no simulator has",
    "horus/sched/run/memory_lock.cpp": "locks pages of the process",
    "horus/sched/run/monitor_log.cpp": "threads, which no simulator has",
    "horus/sched/run/safety_monitor.cpp": "threads, which no simulator has",
    "horus/sched/run/scheduler_run.cpp": "settings of threads, which no simulator has",
    "horus/sched/run/service_notifier.cpp": "the service manager's socket",
    "horus/sched/data/timeline.cpp": "a file at the end of a run",
    "horus/sim/campaign/campaign.cpp": "runs worlds in processes of their own",
    "horus/sim/files/memory_file.hpp": "memory of a simulated process is the kernel's",
    "horus/sim/kernel/process_backend.cpp": "a forked child of the simulator itself",
}


def is_allowed(name):
    return any(name == place or (place.endswith("/") and name.startswith(place)) for place in ALLOWED)


def check_text(name, text):
    """Yield one message for each thing in `text`, the contents of the file `name`, that goes round the seam."""
    for number, line in enumerate(without_comments(text).splitlines(), start=1):
        filled = FILLED.search(line)
        if filled is not None and name not in FILLS:
            yield f"{name}:{number}: {filled.group()}: fill entries with horus/io/seam/entry.hpp"
        call = CALL.search(line)
        if call is not None and not is_allowed(name):
            ask = "ask io::System (horus/io/seam/system.hpp), or name the file with its reason"
            yield f"{name}:{number}: ::{call.group(1)}: {ask}"


def check_tree(root):
    used = set()
    for path in sorted((root / "horus").glob("**/*")):
        if path.suffix not in (".hpp", ".cpp"):
            continue
        name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
        if CALL.search(without_comments(text)):
            used.update(place for place in ALLOWED if name == place or (place.endswith("/") and name.startswith(place)))
        yield from check_text(name, text)
    for place in sorted(set(ALLOWED) - used):
        yield f"tools/check_seam.py: {place} makes no such call (any more): take it off the list"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent)
    problems = list(check_tree(parser.parse_args().root))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
