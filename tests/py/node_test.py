# SPDX-License-Identifier: Apache-2.0
"""What a node is called, what it sends, and what its queues do."""

import gc
import unittest
import weakref

import horus


class Idle(horus.Node):
    def tick(self):
        pass


def pair():
    """A scheduler with two idle nodes."""
    scheduler = horus.Scheduler()
    return scheduler, scheduler.add(Idle("a")), scheduler.add(Idle("b"))


class Names(unittest.TestCase):
    def test_a_class_gives_its_name_in_snake_case_and_repeats_are_numbered(self):
        class IMUReader2(Idle):
            pass

        scheduler = horus.Scheduler()
        for node in (Idle(), Idle(), IMUReader2()):
            scheduler.add(node)
        self.assertEqual(scheduler.get_node_names(), ["idle", "idle_2", "imu_reader2"])

    def test_only_two_equal_names_that_were_given_are_an_error(self):
        scheduler = horus.Scheduler()
        scheduler.add(Idle())
        scheduler.add(Idle("idle"))
        self.assertEqual(scheduler.get_node_names(), ["idle_2", "idle"])
        self.assertEqual(scheduler.get_node_stats("idle_2")["name"], "idle_2")
        with self.assertRaisesRegex(ValueError, "named 'idle' already"):
            scheduler.add(Idle("idle"))

    def test_a_class_may_forget_to_call_the_base_class(self):
        class Forgetful(horus.Node):
            def __init__(self):
                self.ticked = False

            def tick(self):
                self.ticked = True

        scheduler = horus.Scheduler()
        node = scheduler.add(Forgetful())
        scheduler.tick_once()
        scheduler.close()
        self.assertTrue(node.ticked)

    def test_wrong_arguments_say_what_was_expected(self):
        with self.assertRaisesRegex(TypeError, "name is a str, not int"):
            horus.Node(5)
        with self.assertRaisesRegex(TypeError, "tick is a function"):
            horus.Node("x", tick=5)
        with self.assertRaisesRegex(ValueError, "rate is 0.001 to 100000 Hz, not 0"):
            horus.Node("x", rate=0)
        with self.assertRaisesRegex(TypeError, "lists of topics"):
            horus.Node("x", subs="topic")
        with self.assertRaisesRegex(RuntimeError, "in no scheduler yet"):
            Idle().send("topic", 1)


class Messages(unittest.TestCase):
    def test_the_object_itself_arrives(self):
        _, a, b = pair()
        self.assertFalse(b.has_msg("topic"))
        message = object()
        self.assertTrue(a.send("topic", message))
        self.assertTrue(b.has_msg("topic"))
        self.assertIs(b.recv("topic"), message)
        self.assertIsNone(b.recv("topic"))
        self.assertEqual(b.recv("topic", "nothing"), "nothing")

    def test_a_full_queue_loses_its_oldest_and_the_account_adds_up(self):
        scheduler, a, b = pair()
        b.subscribe("topic")
        for i in range(20):
            self.assertTrue(a.send("topic", i))
        self.assertEqual(b.recv_all("topic"), list(range(4, 20)))
        self.assertEqual(scheduler.get_node_stats("a")["messages_sent"], 20)
        stats = scheduler.get_node_stats("b")
        self.assertEqual((stats["messages_received"], stats["messages_dropped"]), (16, 4))
        self.assertEqual(stats["messages_queued"], 0)

    def test_overflow_is_the_subscribers_choice(self):
        _, a, b = pair()
        b.subscribe("latest", overflow="latest")
        b.subscribe("first", depth=2, overflow="drop_newest")
        for i in range(4):
            a.send("latest", i)
            self.assertEqual(a.send("first", i), i < 2)
        self.assertEqual((b.recv_all("latest"), b.recv_all("first")), ([3], [0, 1]))
        with self.assertRaisesRegex(
            ValueError, "overflow is one of drop_oldest, latest, drop_newest"
        ):
            b.subscribe("other", overflow="block")
        b.subscribe("first", depth=1)
        a.send("first", 5)
        a.send("first", 6)
        self.assertEqual(b.recv_all("first"), [6])

    def test_connect_wires_ports_of_different_names_and_nothing_else_is_heard(self):
        scheduler, a, b = pair()
        scheduler.connect("a", "out", "b", "in")
        a.send("in", "not this")
        a.send("out", "this")
        self.assertEqual(b.recv_all("in"), ["this"])
        with self.assertRaisesRegex(ValueError, "no node is named 'c'; there are: a, b"):
            scheduler.connect("a", "out", "c", "in")

    def test_subs_hears_from_the_first_message_on(self):
        heard = []
        talker = horus.Node("talker", tick=lambda node: node.send("hello", 1))
        listener = horus.Node(
            "listener", tick=lambda node: heard.extend(node.recv_all("hello")), subs=["hello"]
        )
        scheduler = horus.Scheduler()
        scheduler.add(talker)
        scheduler.add(listener)
        with scheduler:
            scheduler.tick_once()
        self.assertEqual(heard, [1])

    def test_schedulers_do_not_hear_each_other(self):
        _, a, _ = pair()
        _, _, other = pair()
        other.subscribe("topic")
        a.send("topic", 1)
        self.assertFalse(other.has_msg("topic"))


class Lifetime(unittest.TestCase):
    def test_a_node_that_refers_to_its_scheduler_is_collected_with_it(self):
        scheduler = horus.Scheduler()
        node = Idle()
        node.scheduler = scheduler
        scheduler.add(node)
        seen = weakref.ref(node)
        del node, scheduler
        gc.collect()
        self.assertIsNone(seen())

    def test_a_scheduler_that_is_dropped_shuts_its_nodes_down(self):
        calls = []
        scheduler = horus.Scheduler()
        scheduler.add(
            horus.Node(
                "n",
                tick=lambda n: calls.append("tick"),
                shutdown=lambda n: calls.append("shutdown"),
            )
        )
        scheduler.tick_once()
        del scheduler
        gc.collect()
        self.assertEqual(calls, ["tick", "shutdown"])


if __name__ == "__main__":
    unittest.main()
