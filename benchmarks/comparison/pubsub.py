# SPDX-License-Identifier: Apache-2.0
"""Publish and subscribe between two processes: the scenarios. Nothing runs here."""

from .model import Metric, Program, Scenario, Setting


def pubsub_scenarios(setting: Setting) -> list[Scenario]:
    effort = setting.effort
    first, second = setting.cpus
    ours = Program("Horus", "pubsub", ours=True)
    raw = (
        Program("raw ring, in place", "peers/pubsub_raw_shm", ("--transport", "in_place")),
        Program("raw ring, copying", "peers/pubsub_raw_shm", ("--transport", "copy")),
    )
    # ZeroMQ and Cyclone DDS have threads of their own: they cannot poll on two CPUs.
    asleep = (
        ours,
        *raw,
        Program("Unix socket", "peers/pubsub_unix"),
        Program("ZeroMQ ipc", "peers/pubsub_zmq"),
        Program("Cyclone DDS", "peers/pubsub_cyclonedds"),
    )
    polling = (ours, *raw, Program("Unix socket", "peers/pubsub_unix"))
    latency = (
        Metric("p50_us", "one way p50", "µs", compared=True),
        Metric("p99_us", "p99", "µs"),
        Metric("p999_us", "p99.9", "µs"),
        Metric("max_us", "max", "µs"),
        Metric("cpu_s", "CPU", "s"),
    )
    stream = (
        Metric("stream_mps", "stream", "M/s", compared=True, higher_is_better=True),
        Metric("cpu_s", "CPU", "s"),
    )
    # ZeroMQ's threads would fight with a side that spins: it sleeps in both modes.
    streams = (
        ours,
        *raw,
        Program("Unix socket", "peers/pubsub_unix"),
        Program("ZeroMQ ipc", "peers/pubsub_zmq", ("--mode", "sleep")),
    )
    rhythms = (
        ("equal", "both equally fast"),
        ("reader", "the reader slower"),
        ("writer", "the writer slower"),
    )
    sizes = ((64, "64 B"), (1024, "1 KiB"), (65536, "64 KiB"), (1 << 20, "1 MiB"))
    common = ("--cpus", f"{first},{second}", "--peers", "processes")
    scenarios = []
    for mode, word, programs in (("poll", "polling", polling), ("sleep", "asleep", asleep)):
        if mode == "poll" and first == second:
            continue  # the two sides would wait for each other's time slice
        shared = (*common, "--mode", mode)
        scenarios += [
            Scenario(
                group="pubsub",
                title=f"{label}, {word}",
                kind="json",
                programs=programs,
                reference="raw ring, in place",
                metrics=latency,
                arguments=(
                    *shared,
                    *("--size", str(size), "--stream", "1"),
                    *("--count", str(effort.trips if size < 65536 else effort.large_trips)),
                ),
                curve=f"One way, receiver {word}",
                at=size,
            )
            for size, label in sizes
        ]
        scenarios += [
            Scenario(
                group="pubsub",
                title=f"64 B, {word}: stream, {label}",
                kind="json",
                programs=streams if rhythm != "equal" else (*streams, *programs[5:]),
                reference="raw ring, copying",
                metrics=stream,
                arguments=(
                    *shared,
                    *("--size", "64", "--count", "1", "--rhythm", rhythm),
                    *("--stream", str(50 * effort.trips)),
                ),
            )
            for rhythm, label in rhythms
        ]
    scenarios += [
        Scenario(
            group="pubsub",
            title=f"{label} over TCP: stream",
            kind="json",
            programs=(
                Program("Horus", "pubsub", ("--transport", "tcp"), ours=True),
                Program("raw TCP socket", "peers/pubsub_unix", ("--transport", "tcp")),
            ),
            reference="raw TCP socket",
            metrics=stream,
            arguments=(
                *common,
                *("--mode", "sleep", "--size", str(size), "--count", "1"),
                *("--stream", str(50 * effort.trips if size == 64 else 2 * effort.trips)),
            ),
        )
        for size, label in ((64, "64 B"), (65536, "64 KiB"))
    ]
    return scenarios
