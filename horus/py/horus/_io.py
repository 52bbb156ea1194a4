# SPDX-License-Identifier: Apache-2.0
"""Watches of files and folders, and UDP sockets with what the kernel knows about each datagram. On
Horus' own loop, or where a Reactor is attached; on the loop that made them."""

import os
import socket
from typing import Any, AsyncIterator, NamedTuple, Optional, Self, Tuple, Union

from horus import _check, _core

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Address = Union[str, Tuple[str, int]]
_MOST = 65_535  # bytes of a datagram


class WatchEvent(NamedTuple):
    """One thing that happened.

    kind: "created" (its contents come later), "moved" (the name is here now by a rename; what had it
    before is replaced), "removed" (also: renamed out of what is watched), "written" (closed after
    writing: the file is whole), "modified" and "attributes" (on request), "gone" (the watched folder
    itself; it is watched no more), "overflow" (events are lost: look again yourself).
    """

    kind: str
    folder: str  # as it was given; that of a watched file; "" for "overflow"
    name: str  # in the folder; "" for the folder itself
    moved_from: str  # of "moved": the former name in the same folder; "" when it came from elsewhere
    is_folder: bool  # the name is that of a folder

    @property
    def path(self) -> str:
        """folder and name."""
        return os.path.join(self.folder, self.name) if self.name else self.folder


class _Closable:
    """What is closed once, also at the end of an `async with`."""

    _core: Any

    @property
    def closed(self) -> bool:
        """After close()."""
        closed: bool = self._core.closed
        return closed

    async def close(self) -> None:
        """Ends it; a task that waits gets a ValueError. Nothing the second time."""
        await self._core.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: Any) -> None:
        await self.close()


class Watch(_Closable):
    """A watch of folders and files.

    async with await horus.Watch.file("/etc/robot.toml") as watch:
        async for event in watch:
            ...

    A folder's own names are told, not those of folders below. A file is watched by its name: it need
    not exist, and whoever replaces it by a rename (editors, atomic writes) is seen, as "moved"; events
    "written" and "moved" both mean that it is whole. Read files after the watch has begun: then nothing
    is missed. A cancelled wait loses no event. docs/io.md tells what is not seen.

    Errors: OSError and its subclasses (FileNotFoundError, NotADirectoryError; ENOSPC and EMFILE name
    the setting that is used up), ValueError after close(), RuntimeError while another task waits, and
    where the loop is neither a horus.EventLoop nor has a Reactor attached.
    """

    def __init__(self, core: Any) -> None:
        self._core = core

    @classmethod
    async def folder(
        cls, path: Path, *, modifications: bool = False, attributes: bool = False
    ) -> "Watch":
        """Watches a folder that exists. `modifications`: each write too; `attributes`: changes of mode,
        owner and times too."""
        return cls(await _core.Watch.make(os.fsencode(path), True, modifications, attributes))

    @classmethod
    async def file(
        cls, path: Path, *, modifications: bool = False, attributes: bool = False
    ) -> "Watch":
        """Watches one name in a folder that exists. Errors: ValueError for a path without a name."""
        return cls(await _core.Watch.make(os.fsencode(path), False, modifications, attributes))

    async def add_folder(self, path: Path) -> None:
        """Watches one more. A user has 128 watches by default, and one takes many folders."""
        await self._core.add(os.fsencode(path), True)

    async def add_file(self, path: Path) -> None:
        """Watches one more."""
        await self._core.add(os.fsencode(path), False)

    async def next(self) -> WatchEvent:
        """Waits for the next event. Errors: EOFError when nothing is watched any more."""
        while (event := self.try_next()) is None:
            await self._core.ready()
        return event

    def try_next(self) -> Optional[WatchEvent]:
        """The next event when there is one, else None. Errors: as next()."""
        event = self._core.take()
        return None if event is None else WatchEvent(*event)

    async def __aiter__(self) -> AsyncIterator[WatchEvent]:
        """Until nothing is watched any more."""
        while True:
            try:
                event = await self.next()
            except EOFError:
                return
            yield event


class Datagram(NamedTuple):
    """One datagram, and what the kernel says about it."""

    data: bytes
    sender: Tuple[str, int]
    truncated: bool  # it was longer than recv()'s size; the rest is lost
    received_ns: int  # when the machine received it; as time.time_ns()
    to: Optional[str]  # the address that it was sent to
    interface: int  # through which it came; socket.if_indextoname() has its name
    dropped: int  # datagrams lost for want of room since the bind, before this one
    traffic_class: int  # 0 to 255: TOS of IPv4, traffic class of IPv6
    ttl: int  # hops that were left


def _text(address: Address) -> str:
    if isinstance(address, str):
        return address
    host, port = address[0], _check.integer("port", address[1], 0, 65_535)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class UdpSocket(_Closable):
    """A UDP socket whose datagrams come with what the kernel knows about them.

    async with await horus.UdpSocket.bind("0.0.0.0:9000") as udp:
        datagram = await udp.recv()
        await udp.send(b"seen", datagram.sender)

    Addresses are ("10.0.0.7", 9000) or "10.0.0.7:9000", "[::1]:9000", numeric. Options of bind() and
    connect(): reuse_address, reuse_port, broadcast, only_v6 (False), receive_buffer (bytes),
    traffic_class (0 to 255), ttl (1 to 255), priority (0 to 6).

    Errors: OSError and its subclasses, ValueError for what is out of range and after close(),
    RuntimeError where the loop is neither a horus.EventLoop nor has a Reactor attached.
    """

    _FLAGS = ("reuse_address", "reuse_port", "broadcast", "only_v6")
    _NUMBERS = {"receive_buffer": (0, 2**30), "traffic_class": (0, 255), "ttl": (1, 255), "priority": (0, 15)}

    def __init__(self, core: Any) -> None:
        self._core = core

    @classmethod
    def _checked(cls, options: Any) -> Any:
        for name, value in options.items():
            if name in cls._FLAGS:
                _check.flag(name, value)
            elif name in cls._NUMBERS:
                _check.integer(name, value, *cls._NUMBERS[name])
            else:
                known = ", ".join((*cls._FLAGS, *cls._NUMBERS))
                raise TypeError(f"there is no option {name!r}; there are {known}")
        return options

    @classmethod
    async def bind(cls, address: Address, **options: Any) -> "UdpSocket":
        """A socket at `address`; port 0: the kernel chooses."""
        return cls(await _core.UdpSocket.make(_text(address), False, **cls._checked(options)))

    @classmethod
    async def connect(cls, address: Address, **options: Any) -> "UdpSocket":
        """A socket that talks with one peer alone."""
        return cls(await _core.UdpSocket.make(_text(address), True, **cls._checked(options)))

    async def recv(self, size: int = _MOST) -> Datagram:
        """Waits for one datagram; of a longer one than `size` bytes the rest is lost."""
        received = await self._core.recv(_check.integer("size", size, 0, _MOST))
        return Datagram(*received.give())

    async def send(
        self,
        data: Any,
        to: Optional[Address] = None,
        *,
        source: str = "",
        interface: Union[int, str] = 0,
        traffic_class: Optional[int] = None,
        ttl: Optional[int] = None,
    ) -> int:
        """Sends one datagram, to the peer of a connected socket without `to`; gives its size.

        `source`: an address of this machine, as Datagram.to has it; `interface`: its name or index;
        both are the routing table's choice otherwise."""
        sent: int = await self._send(False, data, to, source, interface, traffic_class, ttl)
        return sent

    async def send_timed(
        self,
        data: Any,
        to: Optional[Address] = None,
        *,
        source: str = "",
        interface: Union[int, str] = 0,
        traffic_class: Optional[int] = None,
        ttl: Optional[int] = None,
    ) -> int:
        """The same, and gives the time at which it was handed to the network driver, as
        time.time_ns(). One at a time. Errors: TimeoutError after a second without a time."""
        sent: int = await self._send(True, data, to, source, interface, traffic_class, ttl)
        return sent

    def _send(
        self,
        timed: bool,
        data: Any,
        to: Optional[Address],
        source: str,
        interface: Union[int, str],
        traffic_class: Optional[int],
        ttl: Optional[int],
    ) -> Any:
        if isinstance(data, str):
            raise TypeError("a datagram is bytes, not str: encode it")
        index = socket.if_nametoindex(interface) if isinstance(interface, str) else interface
        return self._core.send(
            bytes(data),
            "" if to is None else _text(to),
            timed,
            _text((source, 0)) if source else "",
            _check.integer("interface", index, 0, 2**31 - 1),
            -1 if traffic_class is None else _check.integer("traffic_class", traffic_class, 0, 255),
            -1 if ttl is None else _check.integer("ttl", ttl, 1, 255),
        )

    def join(self, group: str, interface: str = "") -> None:
        """Receives what is sent to a multicast group ("239.255.0.1") through `interface` ("eth0");
        without one the routing table chooses."""
        self._core.join(_text((group, 0)), interface, True)

    def leave(self, group: str, interface: str = "") -> None:
        """The reverse of join()."""
        self._core.join(_text((group, 0)), interface, False)

    def set_multicast(self, interface: str = "", hops: int = 1, loopback: bool = True) -> None:
        """Through which interface multicasts leave, how far they go (1: this network), and whether
        this machine hears them."""
        self._core.set_multicast(interface, _check.integer("hops", hops, 0, 255), loopback)

    @property
    def local_address(self) -> Tuple[str, int]:
        """Where it is bound."""
        return self._core.local_address()  # type: ignore[no-any-return]

    @property
    def peer_address(self) -> Tuple[str, int]:
        """Of a connected socket. Errors: OSError without a peer."""
        return self._core.peer_address()  # type: ignore[no-any-return]

    def fileno(self) -> int:
        """The descriptor; -1 after close()."""
        return self._core.fileno()  # type: ignore[no-any-return]
