# SPDX-License-Identifier: Apache-2.0
"""Runs one program once and returns its numbers. Ends whatever it started, whatever happens."""

import json
import re
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .model import Program, Scenario

START_SECONDS_MOST = 5.0
RUN_SECONDS_MOST = 120.0

Values = dict[str, float]


class RunFailed(Exception):
    """A program ended badly; the text says which and with what words."""


def measure(binaries: Path, cpus: tuple[int, int], scenario: Scenario, program: Program) -> Values:
    if scenario.kind == "echo":
        return _measure_echo(binaries, cpus, scenario, program)
    if scenario.kind == "enters":
        return _measure_enters(binaries, cpus, scenario, program)
    command = [str(binaries / program.path), *program.arguments, *scenario.arguments]
    if scenario.pinned:
        command = _pin(cpus[0], command)
    if scenario.kind == "google":
        return _google_values(_run([*command, "--benchmark_format=json"]))
    return _json_line(_run([*command, "--json"]))


def _pin(cpu: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(cpu), *command]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=RUN_SECONDS_MOST, check=False
        )
    except subprocess.TimeoutExpired as late:
        limit = f"{RUN_SECONDS_MOST:.0f} s"
        raise RunFailed(f"{' '.join(command)}: not finished after {limit}") from late
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()
        reason = words[-1] if words else f"exit code {done.returncode}"
        raise RunFailed(f"{' '.join(command)}: {reason}")
    return done.stdout


def _json_line(output: str) -> Values:
    for line in reversed(output.splitlines()):
        if line.startswith("{"):
            return {
                key: float(value)
                for key, value in json.loads(line).items()
                if isinstance(value, (int, float))
            }
    raise RunFailed(f"no line of JSON in: {output.strip()[-200:]!r}")


def _google_values(output: str) -> Values:
    values: Values = {}
    for entry in json.loads(output)["benchmarks"]:
        name = entry["name"].split("/", 1)[1]
        values[name] = float(entry["cpu_time"])
        if "allocs" in entry:
            values[name + ".allocs"] = float(entry["allocs"])
    return values


@contextmanager
def _server(binaries: Path, cpu: int, program: Program) -> Iterator[tuple[int, int]]:
    """Starts an echo server on a port of the kernel's choice; gives (process id, port)."""
    command = _pin(cpu, [str(binaries / program.path), "--port", "0", *program.arguments])
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            readable, _, _ = select.select([process.stdout], [], [], START_SECONDS_MOST)
            line = process.stdout.readline() if readable else ""
            found = re.search(r"listening on \S+:(\d+)", line)
            if not found:
                errors.seek(0)
                words = errors.read().strip().splitlines() or [f"said {line.strip()!r}"]
                raise RunFailed(f"{' '.join(command)}: not listening ({words[-1]})")
            yield process.pid, int(found.group(1))
        finally:
            process.terminate()
            try:
                process.wait(2)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _load_command(binaries: Path, cpu: int, port: int, scenario: Scenario) -> list[str]:
    load = str(binaries / "load/echo_load")
    return _pin(cpu, [load, "--port", str(port), "--json", *scenario.arguments])


def _measure_echo(
    binaries: Path, cpus: tuple[int, int], scenario: Scenario, program: Program
) -> Values:
    with _server(binaries, cpus[0], program) as (pid, port):
        load = _load_command(binaries, cpus[1], port, scenario)
        return _json_line(_run([*load, "--server-pid", str(pid)]))


def _measure_enters(
    binaries: Path, cpus: tuple[int, int], scenario: Scenario, program: Program
) -> Values:
    """System calls per request, counted by strace in a run of its own: it slows the server."""
    with (
        _server(binaries, cpus[0], program) as (pid, port),
        tempfile.NamedTemporaryFile("r") as counts,
    ):
        command = ["strace", "-c", "-f", "-p", str(pid), "-o", counts.name]
        try:
            tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError as missing:
            raise RunFailed("strace is not installed: no system calls per request") from missing
        try:
            _wait_until_traced(pid, tracer)
            values = _json_line(_run(_load_command(binaries, cpus[1], port, scenario)))
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
            tracer.communicate(timeout=10)
        total = re.search(r"^\s*100\.00\s+\S+\s+\S*\s+(\d+).*total$", counts.read(), re.MULTILINE)
        if not total:
            raise RunFailed("strace gave no total")
        return {"enters": int(total.group(1)) / values["requests_total"]}


def _wait_until_traced(pid: int, tracer: "subprocess.Popen[str]") -> None:
    stop = time.monotonic() + START_SECONDS_MOST
    while time.monotonic() < stop:
        if tracer.poll() is not None:
            words = tracer.stderr.read().strip().splitlines() if tracer.stderr else []
            raise RunFailed(f"strace: {words[-1] if words else 'ended early'}")
        status = Path(f"/proc/{pid}/status").read_text()
        if not re.search(r"^TracerPid:\s+0$", status, re.MULTILINE):
            time.sleep(0.05)
            return
        time.sleep(0.01)
    raise RunFailed("strace did not attach")
