# SPDX-License-Identifier: Apache-2.0
"""horus.UdpSocket, on Horus' own loop and where a Reactor is attached."""

import asyncio
import time
import unittest

import horus


class Udp(unittest.TestCase):
    def everywhere(self, main):
        async def attached():
            async with horus.Reactor.attach():
                await main()

        horus.run(asyncio.wait_for(main(), 60))
        asyncio.run(asyncio.wait_for(attached(), 60))

    def test_datagrams_come_with_what_the_kernel_knows(self):
        async def main():
            for host in ("127.0.0.1", "::1"):
                async with await horus.UdpSocket.bind((host, 0), traffic_class=0x28, ttl=9) as server:
                    address = server.local_address
                    self.assertEqual(address[0], host)
                    async with await horus.UdpSocket.connect(address) as client:
                        self.assertEqual(client.peer_address, address)
                        before = time.time_ns()
                        self.assertEqual(await client.send(b"hello", traffic_class=0xB8, ttl=3), 5)
                        got = await server.recv()
                        self.assertEqual((got.data, got.sender), (b"hello", client.local_address))
                        self.assertFalse(got.truncated)
                        self.assertTrue(before <= got.received_ns <= time.time_ns())
                        self.assertEqual((got.to, got.interface, got.dropped), (host, 1, 0))
                        self.assertEqual((got.traffic_class, got.ttl), (0xB8, 3))
                        await server.send(bytearray(b"answer"), got.sender, source=got.to, interface="lo")
                        answer = await client.recv(3)
                        self.assertEqual((answer.data, answer.truncated, answer.ttl), (b"ans", True, 9))
                        left = await client.send_timed(memoryview(b"x"))
                        got = await server.recv()
                        self.assertTrue(before <= left <= got.received_ns)

        self.everywhere(main)

    def test_multicast(self):
        async def main():
            async with await horus.UdpSocket.bind("0.0.0.0:0", reuse_address=True) as hears:
                hears.join("239.255.77.2", "lo")
                async with await horus.UdpSocket.bind("127.0.0.1:0") as says:
                    says.set_multicast("lo", hops=1, loopback=True)
                    await says.send(b"x", ("239.255.77.2", hears.local_address[1]))
                    got = await hears.recv()
                    self.assertEqual((got.data, got.to), (b"x", "239.255.77.2"))
                hears.leave("239.255.77.2", "lo")
                with self.assertRaises(OSError):
                    hears.leave("239.255.77.2", "lo")

        self.everywhere(main)

    def test_waits_are_cancelled_and_closed(self):
        async def main():
            udp = await horus.UdpSocket.bind("127.0.0.1:0")
            with self.assertRaises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await udp.recv()
            await udp.send(b"x", udp.local_address)
            self.assertEqual((await udp.recv()).data, b"x")
            waiting = asyncio.create_task(udp.recv())
            await asyncio.sleep(0.01)
            await udp.close()
            with self.assertRaisesRegex(ValueError, "closed"):
                await waiting
            self.assertEqual(udp.fileno(), -1)
            with self.assertRaisesRegex(ValueError, "closed"):
                await udp.send(b"x", "127.0.0.1:9")
            await udp.close()

        self.everywhere(main)

    def test_refusals_say_what_was_expected(self):
        async def main():
            for options in ({"ttl": 0}, {"traffic_class": 256}, {"priority": -1}):
                with self.assertRaises(ValueError):
                    await horus.UdpSocket.bind("127.0.0.1:0", **options)
            with self.assertRaisesRegex(TypeError, "tll"):
                await horus.UdpSocket.bind("127.0.0.1:0", tll=3)
            with self.assertRaises(ValueError):
                await horus.UdpSocket.bind("localhost")
            async with await horus.UdpSocket.bind("127.0.0.1:0") as udp:
                with self.assertRaises(TypeError):
                    await udp.send("text", udp.local_address)
                with self.assertRaises(ValueError):
                    await udp.send(b"x", udp.local_address, ttl=300)
                with self.assertRaises(OSError):
                    await udp.send(b"x", udp.local_address, interface="nothing0")
                with self.assertRaises(OSError):
                    await udp.send(b"x")
                with self.assertRaises(OSError):
                    await horus.UdpSocket.bind(udp.local_address)

        self.everywhere(main)


if __name__ == "__main__":
    unittest.main()
