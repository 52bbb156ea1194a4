# SPDX-License-Identifier: Apache-2.0
"""What is compared: scenarios, the programs that take part, and the metrics they are judged by.

A scenario runs every program with the same arguments. Ratios are taken to its `reference`. Nothing
runs here.
"""

from .model import Metric, Program, Scenario, Setting
from .pubsub import pubsub_scenarios

GROUPS = ("echo", "file", "timers", "wake", "ticks", "tasks", "dispatch", "pubsub")


def all_scenarios(setting: Setting) -> list[Scenario]:
    makers = {
        "echo": _echo,
        "file": _file,
        "timers": _timers,
        "wake": _wake,
        "ticks": _ticks,
        "tasks": _tasks,
        "dispatch": _dispatch,
        "pubsub": pubsub_scenarios,
    }
    groups = [group for group in GROUPS if group in setting.groups]
    return [scenario for group in groups for scenario in makers[group](setting)]


def _echo(setting: Setting) -> list[Scenario]:
    programs = (
        Program("Horus io_uring", "echo_server", ("--backend", "uring"), ours=True),
        Program("Horus epoll", "echo_server", ("--backend", "epoll"), ours=True),
        Program("raw io_uring", "peers/echo_raw_uring", ("--direct",)),
        Program("raw io_uring, plain fds", "peers/echo_raw_uring"),
        Program("raw epoll", "peers/echo_raw_epoll"),
        Program("Asio io_uring", "peers/echo_asio_uring"),
        Program("Asio epoll", "peers/echo_asio_epoll"),
        Program("libuv", "peers/echo_libuv"),
    )
    effort = setting.effort
    loads = (
        ("64 B, 50 connections", "50", "64", "1"),
        ("1 KiB, 50 connections", "50", "1024", "1"),
        ("64 B × 16 pipelined, 50 connections", "50", "64", "16"),
        ("16 KiB, 50 connections", "50", "16384", "1"),
        ("64 B, 1000 connections", "1000", "64", "1"),
    )
    scenarios = [
        Scenario(
            group="echo",
            title=title,
            kind="echo",
            programs=programs,
            reference="raw io_uring",
            metrics=(
                Metric("server_cpu_us", "server CPU per request", "µs", compared=True),
                Metric("rps", "requests", "/s", higher_is_better=True),
                Metric("p50_us", "p50", "µs"),
                Metric("p99_us", "p99", "µs"),
            ),
            arguments=(
                *("--connections", connections, "--size", size, "--pipeline", pipeline),
                *("--seconds", str(effort.echo_seconds), "--warmup", str(effort.echo_warmup)),
            ),
        )
        for title, connections, size, pipeline in loads
    ]
    scenarios.append(
        Scenario(
            group="echo",
            title="64 B, 1 connection: system calls",
            kind="enters",
            programs=programs,
            reference="raw io_uring",
            metrics=(Metric("enters", "system calls per request", "", compared=True),),
            arguments=(
                *("--connections", "1", "--size", "64"),
                *("--seconds", str(effort.enters_seconds), "--warmup", "0.05"),
            ),
            rounds_most=1,
        )
    )
    return scenarios


def _file(setting: Setting) -> list[Scenario]:
    programs = (
        Program("Horus", "file_read", ours=True),
        Program("raw io_uring", "peers/file_read_raw_uring"),
        Program("Asio io_uring", "peers/file_read_asio_uring"),
        Program("libuv pool", "peers/file_read_libuv"),
    )
    shapes = (
        ("4 KiB O_DIRECT, depth 1", ("--direct", "--depth", "1")),
        ("4 KiB O_DIRECT, depth 32", ("--direct", "--depth", "32")),
        ("4 KiB O_DIRECT, depth 128", ("--direct", "--depth", "128")),
        ("4 KiB from page cache, depth 32", ("--depth", "32")),
    )
    return [
        Scenario(
            group="file",
            title=title,
            kind="json",
            programs=programs,
            reference="raw io_uring",
            metrics=(
                Metric("cpu_us_op", "CPU per read", "µs", compared=True),
                Metric("kiops", "reads", "k/s", compared=True, higher_is_better=True),
                Metric("p50_us", "p50", "µs"),
                Metric("p99_us", "p99", "µs"),
            ),
            arguments=(
                *("--file", str(setting.data_file), "--block", "4096"),
                *("--ms", str(setting.effort.file_ms)),
                *shape,
            ),
        )
        for title, shape in shapes
    ]


def _timers(setting: Setting) -> list[Scenario]:
    effort = setting.effort
    count = ("--count", str(effort.timers))
    kernel_count = ("--count", str(effort.kernel_timers))
    return [
        Scenario(
            group="timers",
            title=f"{effort.timers} timers",
            kind="json",
            programs=(
                Program("Horus", "timers", count, ours=True),
                Program("libuv", "peers/timers_libuv", count),
                Program("Asio", "peers/timers_asio", count),
                # Cancelling one searches a list of all in the kernel: a large count takes minutes.
                Program(
                    f"TIMEOUT each ({effort.kernel_timers})", "peers/timers_raw_uring", kernel_count
                ),
            ),
            reference="libuv",
            metrics=(
                Metric("sched_ns", "schedule", "ns", compared=True),
                Metric("fire_ns", "fire", "ns", compared=True),
                Metric("cancel_ns", "cancel", "ns", compared=True),
            ),
            pinned=True,
        )
    ]


def _wake(setting: Setting) -> list[Scenario]:
    count = str(setting.effort.wakes)
    sleeping = (
        Program("Horus", "wake", ours=True),
        Program("futex", "peers/wake_futex"),
        Program("eventfd on the ring", "peers/wake_eventfd"),
        Program("MSG_RING", "peers/wake_msg_ring"),
        Program("Asio", "peers/wake_asio"),
        Program("libuv", "peers/wake_libuv"),
    )
    polling = (
        Program("Horus, polling", "wake", ("--poll",), ours=True),
        Program("spin", "peers/wake_spin"),
        Program("Asio, polling", "peers/wake_asio", ("--poll",)),
        Program("libuv, polling", "peers/wake_libuv", ("--poll",)),
    )
    round_trip = Metric("rtt_p50", "round trip p50", "µs", compared=True)
    post = Metric("post_ns", "post to a busy loop", "ns", compared=True)
    others = (
        Metric("rtt_p99", "round trip p99", "µs"),
        Metric("oneway_p50", "one way p50", "µs"),
        Metric("flood_ns", "flood", "ns"),
    )
    first, second = setting.cpus
    two = ("--cpus", f"{first},{second}", "--count", count)
    one = ("--cpus", f"{first},{first}", "--count", count)
    asleep = (round_trip, post, *others)
    awake = (round_trip, *others)
    scenarios = [
        Scenario("wake", "two CPUs, target asleep", "json", sleeping, "futex", asleep, two),
        Scenario("wake", "two CPUs, target polling", "json", polling, "spin", awake, two),
        Scenario("wake", "one CPU", "json", sleeping, "futex", awake, one),
    ]
    return scenarios if first != second else scenarios[2:]


def _ticks(setting: Setting) -> list[Scenario]:
    effort = setting.effort
    metrics = (
        Metric("p50_us", "lateness p50", "µs", compared=True),
        Metric("p99_us", "lateness p99", "µs"),
        Metric("p999_us", "p99.9", "µs"),
        Metric("early", "early", ""),
        Metric("cpu_pct", "CPU", "%"),
        Metric("drift_pct", "drift", "%"),
    )
    arguments = ("--rate", "1000", "--seconds", str(effort.tick_seconds))
    asleep = (
        Program("Horus", "tick_jitter", ours=True),
        Program("nanosleep, 1 ns slack", "peers/tick_jitter_nanosleep", ("--slack-ns", "1")),
        Program("nanosleep", "peers/tick_jitter_nanosleep"),
        Program("io_uring TIMEOUT", "peers/tick_jitter_raw_uring"),
        Program("Asio", "peers/tick_jitter_asio"),
        Program("libuv", "peers/tick_jitter_libuv"),
    )
    spinning = (
        Program("Horus, spin", "tick_jitter", ("--spin",), ours=True),
        Program("nanosleep, spin", "peers/tick_jitter_nanosleep", ("--spin",)),
    )
    return [
        Scenario(
            group="ticks",
            title=title,
            kind="json",
            programs=programs,
            reference=reference,
            metrics=metrics,
            arguments=arguments,
            pinned=True,
            rounds_most=effort.tick_rounds,
        )
        for title, programs, reference in (
            ("1 kHz", asleep, "nanosleep, 1 ns slack"),
            ("1 kHz, last 100 µs polled", spinning, "nanosleep, spin"),
        )
    ]


def _tasks(setting: Setting) -> list[Scenario]:
    return [
        Scenario(
            group="tasks",
            title="coroutines",
            kind="google",
            programs=(
                Program("Horus", "tasks", ours=True),
                Program("Asio awaitable", "peers/tasks_asio"),
                Program("function calls", "peers/tasks_floor"),
            ),
            reference="Asio awaitable",
            metrics=tuple(
                metric
                for name, title in (
                    ("spawn_await", "await a child"),
                    ("chain10", "chain of 10"),
                    ("when_all100", "when_all of 100"),
                    ("channel_hop", "channel hop"),
                )
                for metric in (
                    Metric(name, title, "ns", compared=True),
                    Metric(name + ".allocs", f"{title}: allocations", ""),
                )
            ),
            arguments=(f"--benchmark_min_time={setting.effort.task_seconds}",),
            pinned=True,
        )
    ]


def _dispatch(setting: Setting) -> list[Scenario]:
    # The program's own default count is long enough for a figure to quote.
    count = ("--count", str(setting.effort.dispatches))
    return [
        Scenario(
            group="dispatch",
            title="NOP completion to next entry",
            kind="json",
            programs=(
                Program("Horus", "dispatch", ours=True),
                Program("raw io_uring", "peers/dispatch_raw_uring", count),
            ),
            reference="raw io_uring",
            metrics=(
                Metric("ns_per_op", "per operation", "ns", compared=True),
                Metric("user_ns_per_op", "in user space", "ns", compared=True),
            ),
            pinned=True,
        )
    ]
