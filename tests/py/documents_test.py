# SPDX-License-Identifier: Apache-2.0
"""The samples of the original documents, as they are written there. Only what they leave to the
reader is added: cameras, a web, a way to end."""

import os
import tempfile
import threading
import time
import types
import unittest
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Optional

import horus
from horus_async_helpers import AsyncHelper, BatchProcessor, ConnectionPool


class Camera:
    def read(self):
        threading.Event().wait(0.002)
        return "frame"

    async def read_async(self):
        return "frame"


def fetch(url, timeout):
    if requests.calls == 0:
        requests.calls += 1
        return types.SimpleNamespace(json=lambda: {"reading": 1})
    raise requests.Timeout("no answer")


requests = types.SimpleNamespace(Timeout=TimeoutError, get=fetch, calls=0)


def until(node, topic, count=2, seconds=20):
    """Runs `node` until it has sent so many messages; gives them."""
    heard = []

    def tick(listener):
        heard.extend(listener.recv_all(topic))
        if len(heard) >= count:
            scheduler.stop()

    scheduler = horus.Scheduler()
    scheduler.add(node)
    scheduler.add(horus.Node("listener", tick=tick, subs=[topic]))
    scheduler.run(duration=seconds)
    executor = getattr(node, "executor", None)
    if executor is not None:
        executor.shutdown()
    return heard[:count]


class ThreadedIO(unittest.TestCase):
    def test_pattern_1_basic_non_blocking_io(self):
        class AsyncCameraNode(horus.Node):
            def __init__(self):
                super().__init__()
                self.executor = ThreadPoolExecutor(max_workers=2)
                self.pending_future: Optional[Future] = None

            def _read_camera_blocking(self):
                """Runs in background thread"""
                return self.camera.read()  # Blocking call

            def tick(self):
                # Check if previous I/O completed
                if self.pending_future and self.pending_future.done():
                    try:
                        frame = self.pending_future.result(timeout=0)
                        self.send("camera_out", frame)
                    except Exception as e:
                        print(f"Camera error: {e}")
                    finally:
                        self.pending_future = None

                # Submit new I/O if idle
                if not self.pending_future:
                    self.pending_future = self.executor.submit(self._read_camera_blocking)

        node = AsyncCameraNode()
        node.camera = Camera()
        self.assertEqual(until(node, "camera_out"), ["frame", "frame"])

    def test_pattern_2_timeouts(self):
        class NetworkSensorNode(horus.Node):
            def __init__(self):
                super().__init__()
                self.executor = ThreadPoolExecutor(max_workers=1)
                self.pending_future: Optional[Future] = None
                self.last_result = None  # Cache last good result

            def _fetch_data(self):
                """May timeout or fail"""
                response = requests.get("http://sensor.local/data", timeout=5.0)
                return response.json()

            def tick(self):
                # Check for completed request
                if self.pending_future and self.pending_future.done():
                    try:
                        result = self.pending_future.result(timeout=0)
                        self.last_result = result
                        self.send("sensor_out", result)
                    except requests.Timeout:
                        if self.last_result:
                            self.send("sensor_out", self.last_result)
                    except Exception as e:
                        print(f"Request failed: {e}")
                    finally:
                        self.pending_future = None

                # Submit new request if idle
                if not self.pending_future:
                    self.pending_future = self.executor.submit(self._fetch_data)

        self.assertEqual(until(NetworkSensorNode(), "sensor_out"), [{"reading": 1}] * 2)

    def test_pattern_3_batched_file_io(self):
        class LogWriterNode(horus.Node):
            def __init__(self, filename: str, batch_size: int = 10):
                super().__init__()
                self.filename = filename
                self.batch_size = batch_size
                self.executor = ThreadPoolExecutor(max_workers=1)
                self.buffer = []
                self.pending_future: Optional[Future] = None

            def _write_batch(self, batch):
                """Write entire batch in one I/O operation"""
                with open(self.filename, "a") as f:
                    for item in batch:
                        f.write(f"{item}\n")

            def tick(self):
                self.buffer.extend(range(4))  # the document: "... receive logic ..."
                # Write batch when buffer is full
                if len(self.buffer) >= self.batch_size and not self.pending_future:
                    batch = self.buffer[:]
                    self.buffer.clear()
                    self.pending_future = self.executor.submit(self._write_batch, batch)

                # Check if write completed
                if self.pending_future and self.pending_future.done():
                    self.pending_future = None
                    self.send("written", True)

        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "log")
            until(LogWriterNode(path), "written", count=1)
            with open(path) as file:
                self.assertEqual(file.read().split()[:12], ["0", "1", "2", "3"] * 3)

    def test_pattern_4_polling_at_a_lower_rate(self):
        class PeriodicSensorNode(horus.Node):
            def __init__(self, poll_rate_hz: float = 10.0):
                super().__init__()
                self.executor = ThreadPoolExecutor(max_workers=1)
                self.pending_future: Optional[Future] = None
                self.poll_interval = 1.0 / poll_rate_hz
                self.last_poll_time = 0

            def _read_sensor(self):
                """Blocking sensor read"""
                return self.sensor.read()

            def tick(self):
                current_time = time.time()

                # Check if previous read completed
                if self.pending_future and self.pending_future.done():
                    try:
                        data = self.pending_future.result(timeout=0)
                        self.send("sensor_out", data)
                    except Exception as e:
                        print(f"Sensor error: {e}")
                    finally:
                        self.pending_future = None
                        self.last_poll_time = current_time

                # Submit new read if enough time has passed
                if not self.pending_future:
                    if (current_time - self.last_poll_time) >= self.poll_interval:
                        self.pending_future = self.executor.submit(self._read_sensor)

        node = PeriodicSensorNode(poll_rate_hz=50.0)
        node.sensor = Camera()
        self.assertEqual(until(node, "sensor_out"), ["frame", "frame"])

    def test_sending_from_a_background_thread(self):
        class ThreadedNode(horus.Node):
            def __init__(self):
                super().__init__()
                self.executor = ThreadPoolExecutor(max_workers=2)

            def _background_work(self):
                # Safe: send() is thread-safe
                self.send("output", "result")

            def tick(self):
                self.executor.submit(self._background_work)

        self.assertEqual(until(ThreadedNode(), "output"), ["result", "result"])


class Helpers(unittest.TestCase):
    def test_phase_2_pattern(self):
        sensor = types.SimpleNamespace(read=lambda sensor_id: f"sensor {sensor_id}")

        class SensorNode(horus.Node):
            def __init__(self):
                super().__init__()
                self.async_helper = AsyncHelper(max_workers=4)

            def _read_sensor(self, sensor_id):
                # Blocking I/O operation
                return sensor.read(sensor_id)

            def tick(self):
                # Submit async operation
                if self.async_helper.pending_count() < 2:
                    self.async_helper.submit("sensor_read", self._read_sensor, sensor_id=1)

                # Check completed operations
                for op_id, result, error in self.async_helper.check_completed():
                    if error:
                        print(f"Error: {error}")
                    else:
                        self.send("sensor_out", result)

                # Get statistics
                stats = self.async_helper.get_stats()
                self.line = f"Pending: {stats['pending']}, Completed: {stats['completed']}"

        node = SensorNode()
        self.assertEqual(until(node, "sensor_out"), ["sensor 1"] * 2)
        self.assertIn("Completed: ", node.line)
        node.async_helper.shutdown()

    def test_the_constructors_of_the_phase_2_document(self):
        with ConnectionPool(dict, 2) as pool, BatchProcessor(2, 60.0, len) as batch:
            self.assertEqual(pool.execute_async(lambda connection, value: value, 7).result(), 7)
            batch.add(1)
            batch.flush_async().result()
            self.assertEqual(batch.check_completed(), 1)


class Summary(unittest.TestCase):
    def test_complete_system_setup(self):
        class SensorNode(horus.Node):
            def tick(self):
                self.send("sensor_out", 1)

        class ControlNode(horus.Node):
            heard = 0

            def tick(self):
                self.heard += len(self.recv_all("sensor_in"))
                if self.heard >= 3:
                    scheduler.stop()

        # 1. Configuration
        config = horus.SchedulerConfig.high_performance()
        config.deadline_monitoring = True
        config.watchdog_enabled = True

        # 2. Create scheduler
        scheduler = horus.Scheduler.from_config(config)

        # 3. Add nodes
        sensor_node = SensorNode()  # Your custom node
        control_node = ControlNode()

        scheduler.add(sensor_node, priority=1)
        scheduler.add(control_node, priority=2)

        # 4. Configure monitoring
        names = scheduler.get_node_names()
        scheduler.set_node_deadline(names[0], 20.0)  # 20ms deadline
        scheduler.set_node_watchdog(names[1], True, 1000)  # 1s watchdog

        # 5. Connect nodes
        scheduler.connect(names[0], "sensor_out", names[1], "sensor_in")

        # 6. Run
        scheduler.run()

        # 7. Analyze results
        lines = []
        nodes = scheduler.get_all_nodes()
        for node in nodes:
            lines.append(
                f"{node['name']}: {node['total_ticks']} ticks, " f"{node['deadline_misses']} misses"
            )
        self.assertRegex(lines[0], r"sensor_node: \d+ ticks, \d+ misses")
        self.assertGreaterEqual(control_node.heard, 3)

    def test_configuration_fault_tolerance_deadline_and_watchdog(self):
        # Use preset
        config = horus.SchedulerConfig.standard()

        # Or customize
        config = horus.SchedulerConfig(
            tick_rate=100.0, circuit_breaker=True, deadline_monitoring=True
        )
        config.circuit_breaker = True  # Enable circuit breaker
        config.max_failures = 5  # Open after 5 failures
        config.auto_restart = True  # Auto-restart failed nodes
        # Enable global watchdog
        config.watchdog_enabled = True
        config.watchdog_timeout_ms = 1000  # Default 1s

        scheduler = horus.Scheduler.from_config(config)
        scheduler.add(horus.Node("sensor_node", tick=lambda node: scheduler.stop()))
        scheduler.add(horus.Node("critical_node", tick=lambda node: None))

        # Set node deadline
        scheduler.set_node_deadline("sensor_node", 10.0)  # 10ms deadline
        # Configure per-node watchdog
        scheduler.set_node_watchdog("critical_node", True, 500)  # 500ms timeout
        scheduler.run()

        stats = scheduler.get_node_stats("sensor_node")
        self.assertRegex(f"Deadline misses: {stats['deadline_misses']}", r"Deadline misses: \d")
        self.assertEqual(f"Failures: {stats['total_failures']}", "Failures: 0")
        self.assertFalse(scheduler.get_node_stats("critical_node")["watchdog_expired"])

    def test_old_code_runs_unchanged(self):
        node = horus.Node("node", tick=lambda node: scheduler.stop())
        scheduler = horus.Scheduler()
        scheduler.add(node)
        scheduler.run()


class Hubs(unittest.TestCase):
    """Written with fixed ports and names: where they are taken, the hub waits for its turn."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder.name)
        os.environ["HORUS_RUNTIME_DIR"] = folder.name

    def test_network_communication(self):
        hub = horus.Hub.tcp("127.0.0.1:8080", "sensor_hub")
        link = hub.create_link("sensor_data", "remote_hub")
        self.check_metrics_apis(hub)
        self.assertTrue(link.send({"temperature": 21.5}))
        hub.close()

    def test_global_hub(self):
        hub = horus.Hub.global_hub("sensor_hub")
        link = hub.create_link("data", "global_hub")
        other = horus.Hub.global_hub("global_hub").create_link("data", "sensor_hub")
        while not (link.connected and other.connected):
            time.sleep(0.001)
        link.send([1, 2])
        self.assertEqual(other.recv(20), [1, 2])
        self.assertEqual(hub.get_metrics()["messages_sent"], 1)
        hub.close()

    def check_metrics_apis(self, hub):
        metrics = hub.get_metrics()
        self.assertEqual(f"Messages sent: {metrics['messages_sent']}", "Messages sent: 0")

        state = hub.get_connection_state()
        self.assertIn(f"Connected: {state['connected']}", ("Connected: False", "Connected: True"))

    def test_configuration_file(self):
        with open("config.toml", "w") as file:
            file.write("""
[hub.sensor_hub]
mode = "tcp"
address = "127.0.0.1:8080"
""")
        hub = horus.Hub.from_config("config.toml", "sensor_hub")
        self.assertEqual(hub.name, "sensor_hub")
        self.check_metrics_apis(hub)
        hub.close()


class Phase3(unittest.IsolatedAsyncioTestCase):
    async def test_the_future_api(self):
        class CameraNode(horus.AsyncNode):  # Different base class
            def __init__(self):
                super().__init__()
                self.camera = Camera()

            async def tick_async(self):
                # True async/await
                frame = await self.camera.read_async()
                await self.send_async("camera_out", frame)
                async_scheduler.stop()

        # Separate async scheduler
        async_scheduler = horus.AsyncScheduler()
        async_scheduler.add_async(CameraNode())
        await async_scheduler.run_async()
        self.assertEqual(async_scheduler.get_node_stats("camera_node")["messages_sent"], 1)


if __name__ == "__main__":
    unittest.main()
