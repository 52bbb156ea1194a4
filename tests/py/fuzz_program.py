# SPDX-License-Identifier: Apache-2.0
"""Random calls in random order, by several threads, on schedulers, hubs and event loops that they share: what is refused
raises, and nothing else happens. Run by fuzz_test.py, which starts one process for each seed."""

import asyncio
import faulthandler
import gc
import logging
import os
import random
import sys
import tempfile
import threading
import time
import traceback
import warnings
import weakref

THREADS = 4
# What a call may raise when the moment is wrong for it.
REFUSALS = (RuntimeError, ValueError, TypeError, OSError, asyncio.CancelledError)


def main(seed, seconds):
    os.environ["HORUS_RUNTIME_DIR"] = folder = tempfile.mkdtemp(prefix="horus-fuzz-")
    import horus

    faulthandler.dump_traceback_later(seconds + 30, exit=True)  # nothing may hang
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    horus.set_log_level(100)
    end = time.monotonic() + seconds
    shared = {"schedulers": [], "hubs": [], "ports": [], "loops": []}
    bugs = []
    everyone = weakref.WeakSet()  # schedulers, those that were dropped while they ran too

    def node(chance):
        class Node(horus.Node):
            def tick(self):
                if chance.random() < 0.05:
                    raise ValueError("now and then")
                if chance.random() < 0.05:
                    time.sleep(0.005)

        class AsyncNode(horus.AsyncNode):
            async def tick_async(self):
                await asyncio.sleep(chance.random() * 0.01)

        return chance.choice((Node, Node, AsyncNode))(chance.choice((None, "a", "b", "c")))

    def some(chance, kind):
        if not shared[kind]:
            raise RuntimeError("nothing there yet")
        return chance.choice(shared[kind])

    def keep(chance, kind, thing):
        """At most 4 of a kind: the one that goes is dropped here, by whichever thread this is."""
        things = shared[kind]
        things.append(thing)
        while len(things) > 4:
            things.pop(chance.randrange(len(things)))

    # --- Schedulers

    def make_scheduler(chance):
        kind = chance.choice((horus.Scheduler, horus.AsyncScheduler))
        config = horus.SchedulerConfig(tick_rate=chance.choice((50, 500)), auto_restart=chance.random() < 0.3)
        scheduler = kind(config)
        everyone.add(scheduler)
        for _ in range(chance.randrange(3)):
            try:
                scheduler.add(node(chance))
            except REFUSALS:
                pass
        keep(chance, "schedulers", scheduler)

    def use_scheduler(chance):
        scheduler = some(chance, "schedulers")
        name = chance.choice(scheduler.get_node_names() or ["nobody"])
        seconds = chance.random() * 0.03
        chance.choice((
            lambda: scheduler.run(duration=seconds),
            lambda: scheduler.run(duration=seconds),
            lambda: scheduler.run(duration=seconds),
            scheduler.tick_once,
            scheduler.close,
            scheduler.stop,
            scheduler.emergency_stop,
            scheduler.reset_emergency_stop,
            lambda: scheduler.add(node(chance)),
            lambda: scheduler.add(node(chance), on_miss="nonsense"),
            lambda: scheduler.add(node(chance), watchdog_ms=10, rate=10),
            lambda: scheduler.pause(name),
            lambda: scheduler.resume(name),
            lambda: scheduler.restart(name),
            lambda: scheduler.open_circuit(name),
            lambda: scheduler.reset_circuit(name),
            lambda: scheduler.set_node_deadline(name, chance.choice((0, 1, 20))),
            lambda: scheduler.set_node_watchdog(name, chance.random() < 0.7, chance.choice((10, 100))),
            lambda: scheduler.get_node_stats(name),
            scheduler.get_all_nodes,
            scheduler.status,
        ))()

    def abandon_run(chance):
        """An event loop that ends before run_async() does."""
        scheduler = some(chance, "schedulers")
        loop = horus.new_event_loop()
        try:
            if isinstance(scheduler, horus.AsyncScheduler):
                task = loop.create_task(scheduler.run_async(0.02))
                loop.run_until_complete(asyncio.sleep(chance.random() * 0.03))
                if chance.random() < 0.7:
                    task.cancel()
                    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
                else:
                    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        finally:
            loop.close()

    # --- Hubs

    def make_hub(chance):
        hub = chance.choice((
            lambda: horus.Hub("here"),
            lambda: horus.Hub.shm("rover"),
            lambda: horus.Hub.shm(chance.choice(("rover", "base"))),
            lambda: horus.Hub.tcp("127.0.0.1:0", "rover", role="listen"),
        ))()
        keep(chance, "hubs", hub)

    def use_hub(chance):
        hub = some(chance, "hubs")
        depth = chance.choice((1, 16, 2000))
        chance.choice((
            lambda: keep(chance, "ports", hub.advertise("topic")),
            lambda: keep(chance, "ports", hub.subscribe("topic", depth=depth)),
            lambda: keep(chance, "ports", hub.subscribe("bytes", bytes)),
            lambda: keep(chance, "ports", hub.advertise("bytes", bytes)),
            lambda: keep(chance, "ports", hub.create_link("link", chance.choice(("rover", "base")))),
            hub.get_metrics,
            hub.get_connection_state,
            hub.close,
        ))()

    def use_port(chance):
        port = some(chance, "ports")
        message = chance.choice((b"x" * 100, {"a": [1, 2.0, None]}, "text", object()))
        uses = [port.close]
        if hasattr(port, "send"):
            uses += [lambda: port.send(message)] * 5 + [lambda: port.subscribers]
        if hasattr(port, "recv"):
            uses += [port.try_recv, port.latest, port.has_msg, lambda: port.recv(timeout=0.002), port.missed]
            uses += [lambda: port.recv_view(timeout=0.002)]
        chance.choice(uses)()

    # --- Event loops

    def make_loop(chance):
        keep(chance, "loops", horus.new_event_loop())

    def use_loop(chance):
        loop = some(chance, "loops")

        def run():
            loop.run_until_complete(asyncio.sleep(chance.random() * 0.01))

        chance.choice((
            run,
            run,
            lambda: loop.call_soon_threadsafe(loop.stop),
            lambda: loop.call_soon_threadsafe(lambda: None),
            lambda: loop.run_in_executor(None, time.sleep, 0.001),
            loop.is_running,
            loop.close,
        ))()

    actions = (
        [make_scheduler] * 2 + [use_scheduler] * 12 + [abandon_run] + [make_hub] * 2 + [use_hub] * 4 + [use_port] * 8
        + [make_loop] + [use_loop] * 3 + [lambda chance: gc.collect(0)]
    )

    def call_at_random(number):
        chance = random.Random(seed * 1000 + number)
        while time.monotonic() < end:
            action = chance.choice(actions)
            try:
                action(chance)
            except REFUSALS:
                pass
            except BaseException:
                bugs.append(traceback.format_exc())
                return

    threads = [threading.Thread(target=call_at_random, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    # No node is started during an emergency stop, and nobody else may ever come to end it.
    while any(thread.is_alive() for thread in threads):
        threads[0].join(0.05)
        time.sleep(0.05)
        for scheduler in list(everyone):
            scheduler.reset_emergency_stop()
            if time.monotonic() > end:
                scheduler.stop()
    for things in shared.values():
        things.clear()
    gc.collect()
    for root, _, files in os.walk(folder, topdown=False):
        for file in files:
            try:
                os.unlink(os.path.join(root, file))
            except FileNotFoundError:
                pass
    for bug in bugs:
        print(bug, file=sys.stderr)
    print("ended", flush=True)
    return 1 if bugs else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), float(sys.argv[2])))
