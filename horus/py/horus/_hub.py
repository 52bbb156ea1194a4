# SPDX-License-Identifier: Apache-2.0
"""Hub, Link, Publisher and Subscriber: messages to other threads, processes and machines. Any
thread, and any asyncio loop, may use them. One C++ thread of Horus serves all hubs; it never takes
the GIL."""

import asyncio
import atexit
import functools
import os
import threading
import weakref
from typing import Any, Callable, Dict, Generic, List, Optional, Type, TypeVar, Union, overload

from horus import _check, _core
from horus._topics import DEPTH, MAX_DEPTH, OVERFLOWS
from horus._types import Codec, InPlace, codec_of

_LONGEST_S = 1e9
_MOST_BYTES = 64 << 20
_AT_ONCE = 64  # messages that an awaiting task takes before others have their turn
_NOTHING = object()

M = TypeVar("M")  # what travels
D = TypeVar("D")

atexit.register(_core.end_hubs)  # before any scheduler's: what runs in the end runs in reverse order


def _in_place(codec: Codec) -> InPlace:
    if codec.in_place is None:
        raise TypeError(
            "only messages of bytes, str, a ctypes.Structure or a NumPy dtype can be used in place"
        )
    return codec.in_place


def _timeout(timeout: Optional[float]) -> Optional[float]:
    if timeout is None:
        return None
    return _check.number("timeout", timeout, 0, _LONGEST_S, "seconds")


def _receiving(
    depth: int, overflow: str, stale_after: Optional[float], keep_in_emergency: bool
) -> "tuple[int, int, Optional[float], bool]":
    if overflow not in OVERFLOWS:
        raise ValueError(f"overflow is one of {', '.join(OVERFLOWS)}, not {overflow!r}")
    if stale_after is not None:
        stale_after = _check.number("stale_after", stale_after, 1e-9, _LONGEST_S, "seconds")
    keeps = _check.flag("keep_in_emergency", keep_in_emergency)
    return _check.integer("depth", depth, 1, MAX_DEPTH), OVERFLOWS.index(overflow), stale_after, keeps


def _sending(max_bytes: Optional[int], max_queued: int) -> "tuple[int, int]":
    most = 0 if max_bytes is None else _check.integer("max_bytes", max_bytes, 1, _MOST_BYTES)
    return most, _check.integer("max_queued", max_queued, 2, 1 << 20)


class _Message(_core.Slot):
    """What View and Loan have in common: a buffer of bytes, with parts."""

    _in_place: InPlace

    @property
    def head(self) -> Any:
        """The fixed part, an object of the topic's type."""
        if self._in_place.head is None:
            raise TypeError("messages of bytes and str have no head: use tail")
        return self._in_place.head(self)

    @property
    def tail(self) -> memoryview:
        """The elements behind the head; all of it for bytes and str."""
        return self._in_place.tail(self)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            self.release()  # after an exception its traceback may refer to the memory


class View(_Message):
    """A received message in the memory where its publisher wrote it: nothing was copied. It is a
    read-only buffer (`memoryview(view)`, `numpy.frombuffer(view.tail, ...)`). Its contents stay
    unchanged until it is released, or no reference to it is left. A subscriber may hold at most 8
    views of a publisher's messages.

        with subscriber.recv_view() as view:
            show(view.head.width, numpy.frombuffer(view.tail, numpy.uint8))

    `head` is a copy; for NumPy's types it is a view. Any thread."""


class Loan(_Message):
    """Memory for a message, which its subscribers read in place. From Publisher.loan(); after
    Publisher.publish() nothing may write to it.

        loan = publisher.loan(width * height * 3)
        loan.head.width = width
        camera.read_into(loan.tail)
        publisher.publish(loan)

    `head` and `tail` refer to the memory itself and hold it: drop them before publish(). An
    unpublished loan is released when no reference to it is left. One thread at a time."""


class _Port:
    name: str

    def close(self) -> None:
        """Ends it. Whoever waits on another thread gets RuntimeError, `async for` ends."""
        raise NotImplementedError

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class Publisher(_Port, Generic[M]):
    """Sends messages to a topic's subscribers. Made by Hub.advertise(). Any thread; the messages of
    one thread keep their order."""

    _out: Any
    _codec: Codec

    def __init__(self, name: str, out: Any, codec: Codec) -> None:
        self.name = name
        self._out = out
        self._codec = codec

    def send(self, message: M) -> bool:
        """Sends a copy; never waits. True when it was handed over; False when `max_queued` messages
        or 64 MiB wait already, which counts in the hub's send_failures. When a subscriber has no
        room, its `overflow` decides which message is dropped; without subscribers the message goes
        nowhere.

        Errors: TypeError for an object that is not of the topic's type, ValueError for a value that
        does not fit, RuntimeError when the publisher is closed."""
        if self._codec.raw:
            return bool(self._out.send_raw(*self._codec.encode(message)))
        return bool(self._out.send(message))

    def send_wait(self, message: M, timeout: Optional[float] = None) -> None:
        """Waits until every subscriber has room, then sends: nothing is lost. Ctrl-C interrupts it.

        Errors: TimeoutError after `timeout` seconds (None: no limit), and nothing was sent; those
        of send().
        """
        limit = _timeout(timeout)
        if self._codec.raw:
            self._out.send_raw_wait(*self._codec.encode(message), limit)
        else:
            self._out.send_wait(message, limit)

    async def send_wait_async(self, message: M, timeout: Optional[float] = None) -> None:
        """As send_wait(), on the running asyncio loop. A cancelled task has sent nothing, unless it
        had already sent the message just before. Errors: those of send_wait()."""
        limit = _timeout(timeout)
        wakeup = _core.Wakeup()
        if self._codec.raw:
            patient = self._out.begin_raw_wait(*self._codec.encode(message), limit, wakeup)
        else:
            patient = self._out.begin_wait(message, limit, wakeup)
        while patient.waits():
            await _woken(wakeup)
        patient.finish()

    def loan(self, elements: int = 0) -> Loan:
        """Memory for a message with the given number of elements in its tail (bytes for bytes and
        str); its head has the type's default values. It waits for the thread of the hubs, some 20
        µs, and pays off from about 100 KiB on. Errors: RuntimeError when 8 loans are out, or the
        publisher is closed; ValueError for more than `max_bytes`; TypeError for types that are not
        used in place; OSError when the machine has no memory for it."""
        in_place = _in_place(self._codec)
        loan = self._out.loan(Loan, _check.integer("elements", elements, 0, _MOST_BYTES))
        loan._in_place = in_place
        if in_place.blank:
            with memoryview(loan) as memory:
                memory[: len(in_place.blank)] = in_place.blank
        return loan  # type: ignore[no-any-return]

    def shrink(self, loan: Loan, elements: int) -> None:
        """Makes a loan's tail shorter, for a length that is known only after writing. Errors:
        BufferError while something refers to its memory; ValueError for more elements."""
        self._out.shrink(loan, _check.integer("elements", elements, 0, _MOST_BYTES))

    def publish(self, loan: Loan) -> bool:
        """Sends a loan without a copy; never waits. False as for send(); the loan is released then.
        Errors: BufferError while something refers to its memory; ValueError for a loan of another
        publisher, or one that was published already; RuntimeError when the publisher is closed."""
        return bool(self._out.publish(loan))

    @property
    def subscribers(self) -> int:
        """Subscribers that are connected."""
        return int(self._out.subscribers())

    @property
    def connected(self) -> bool:
        """Whether there is a subscriber."""
        return self.subscribers > 0

    def close(self) -> None:
        """Closes the publisher; earlier messages are still published. Any thread."""
        self._out.close()


class Subscriber(_Port, Generic[M]):
    """Receives a topic's messages. Made by Hub.subscribe(). Any thread, also several at a time:
    each message goes to one of them. `async for message in subscriber` works on any asyncio loop,
    until the subscriber is closed.

    A message is a copy that you own. A message that cannot be decoded (a peer that sends malformed
    data) is skipped, logged to `horus.hub`, and counted by missed() and the hub's recv_failures."""

    _in: Any
    _codec: Codec

    def __init__(self, name: str, in_: Any, codec: Codec) -> None:
        self.name = name
        self._listen(in_, codec)

    def _listen(self, in_: Any, codec: Codec) -> None:
        self._in = in_
        self._codec = codec
        self._newest: Any = (_NOTHING, None)  # as it came, and decoded
        self._idle_wakeups: List[Any] = []
        self._taken_at_once = 0

    def recv(self, timeout: Optional[float] = None) -> M:
        """Waits for the next message. The GIL is free meanwhile, and Ctrl-C interrupts.

        Errors: TimeoutError after `timeout` seconds (None: no limit); RuntimeError when it is
        closed.
        """
        message: M = self._in.recv(_timeout(timeout))
        return self._codec.decode(message) if self._codec.raw else message  # type: ignore[arg-type, no-any-return]

    @overload
    def try_recv(self) -> Optional[M]: ...

    @overload
    def try_recv(self, default: D) -> Union[M, D]: ...

    def try_recv(self, default: Any = None) -> Any:
        """The next message, else `default`. Errors: RuntimeError when it is closed."""
        message = self._in.take(_NOTHING)
        if message is _NOTHING:
            return default
        return self._codec.decode(message) if self._codec.raw else message

    @overload
    def latest(self) -> Optional[M]: ...

    @overload
    def latest(self, default: D) -> Union[M, D]: ...

    def latest(self, default: Any = None) -> Any:
        """The newest message; every call gives it again. `default` before the first message, while
        it is older than the subscriber's `stale_after`, and while its publisher is muted (isolated,
        emergency stop) or has gone, unless the subscriber has `keep_in_emergency`. In these cases
        the newest message of the other publishers is given, if there is one. Older queued messages
        count as received. Errors: RuntimeError when the subscriber is closed."""
        message = self._in.latest(_NOTHING)
        if message is _NOTHING:
            self._newest = (_NOTHING, None)
            return default
        if not self._codec.raw:
            return message
        newest = self._newest
        if newest[0] is not message:
            newest = self._newest = (message, self._codec.decode(message))
        return newest[1]

    def recv_view(self, timeout: Optional[float] = None) -> View:
        """As recv(), but in place: nothing is copied. Errors: those of recv(); RuntimeError when 8
        views of a publisher's messages are held; TypeError for types that are not used in place."""
        in_place = _in_place(self._codec)
        return self._as_view(self._in.recv_view(View, _timeout(timeout)), in_place)

    def try_recv_view(self, default: Any = None) -> Any:
        """As try_recv(), in place: a View, or `default`. Errors: those of recv_view()."""
        in_place = _in_place(self._codec)
        view = self._in.take_view(View, _NOTHING)
        return default if view is _NOTHING else self._as_view(view, in_place)

    async def recv_view_async(self, timeout: Optional[float] = None) -> View:
        """As recv_async(), in place. Errors: those of recv_view()."""
        in_place = _in_place(self._codec)
        take = functools.partial(self._in.take_view, View)
        return self._as_view(await self._next(take, timeout), in_place)

    @staticmethod
    def _as_view(view: Any, in_place: InPlace) -> View:
        view._in_place = in_place
        return view  # type: ignore[no-any-return]

    def has_msg(self) -> bool:
        """Whether a message waits."""
        return bool(self._in.has_message())

    def missed(self) -> int:
        """Messages lost on the way to this subscriber."""
        return int(self._in.missed())

    @property
    def publishers(self) -> int:
        """Publishers that are connected."""
        return int(self._in.publishers())

    @property
    def connected(self) -> bool:
        """Whether there is a publisher."""
        return self.publishers > 0

    async def recv_async(self, timeout: Optional[float] = None) -> M:
        """Waits for the next message on the running asyncio loop. A cancelled task takes no
        message. Errors: those of recv()."""
        message: M = await self._next(self._in.take, timeout)
        return self._codec.decode(message) if self._codec.raw else message  # type: ignore[arg-type, no-any-return]

    async def _next(self, take: Callable[[Any], Any], timeout: Optional[float]) -> Any:
        limit = _timeout(timeout)
        self._taken_at_once += 1
        if self._taken_at_once >= _AT_ONCE:
            self._taken_at_once = 0
            await asyncio.sleep(0)
        message = take(_NOTHING)
        if message is _NOTHING:
            async with asyncio.timeout(limit):
                message = await self._wait(take)
        return message

    async def _wait(self, take: Callable[[Any], Any]) -> Any:
        self._taken_at_once = 0
        wakeup = self._idle_wakeups.pop() if self._idle_wakeups else _core.Wakeup()
        wakeup.clear()
        self._in.add_waiter(wakeup)
        try:
            while True:
                message = take(_NOTHING)
                if message is not _NOTHING:
                    return message
                if self._in.listen():
                    continue
                await _woken(wakeup)
        finally:
            self._in.remove_waiter(wakeup)
            self._idle_wakeups.append(wakeup)

    def __aiter__(self) -> "Subscriber[M]":
        return self

    async def __anext__(self) -> M:
        try:
            return await self.recv_async()
        except RuntimeError:
            if self._in.closed():
                raise StopAsyncIteration from None
            raise

    def close(self) -> None:
        """Closes the subscriber. A waiting call on another thread raises RuntimeError, and `async
        for` ends. Any thread."""
        self._in.close()


async def _woken(wakeup: Any) -> None:
    loop = asyncio.get_running_loop()
    come = loop.create_future()
    loop.add_reader(wakeup.fileno(), _tell, come)
    try:
        await come
    finally:
        loop.remove_reader(wakeup.fileno())
    wakeup.clear()


def _tell(come: "asyncio.Future[None]") -> None:
    if not come.done():
        come.set_result(None)


class Link(Publisher[M], Subscriber[M]):
    """One end of a connection between exactly two hubs, in both directions, separate from all
    topics. Made by Hub.create_link(). Any thread, any asyncio loop."""

    def __init__(self, name: str, peer: str, out: Any, in_: Any, codec: Codec) -> None:
        self.name = name
        self.peer = peer
        self._out = out
        self._listen(in_, codec)

    @property
    def connected(self) -> bool:
        """Whether the peer's end is connected in both directions; messages sent before that go
        nowhere."""
        return self.subscribers > 0 and self.publishers > 0

    def close(self) -> None:
        """Ends both directions. Any thread."""
        self._out.close()
        self._in.close()


class Hub:
    """A named place where links, publishers and subscribers meet.

        hub = horus.Hub.tcp("127.0.0.1:8080", "sensor_hub")
        link = hub.create_link("sensor_data", "remote_hub")
        link.send({"temperature": 21.5})

    `Hub(name)` reaches the ports made through it; the hubs of the other constructors reach further.
    Any thread may use it, and so may nodes. It is closed by close(), at the end of a `with` block,
    when no reference to it or its ports is left, and when the program ends. A forked child has no
    hubs: RuntimeError.

    `type` of a topic or link: None (None, bool, int, float, str, bytes, lists, tuples, dicts),
    bytes, str, a ctypes.Structure (horus.messages has ready-made ones), a dataclass of fixed
    fields, or a structured NumPy dtype. Both ends must name the same type, also when one of them is
    written in C++."""

    _core: Any

    def __init__(self, name: str = "local") -> None:
        self._take(_core.Hub.here(_check.text("name", name)))

    def _take(self, core: Any) -> "Hub":
        self._core = core
        self._name = str(core.name)
        return self

    @classmethod
    def tcp(cls, address: str, name: str, **options: Any) -> "Hub":
        """A hub that connects to the hub that names the same address, whichever of the two starts
        first, and to those of `peers`. docs/hub.toml has every option: role, peers, insecure,
        max_message_bytes, …, handshake_limit_ms, idle_limit_ms, retry_first_ms, retry_most_ms,
        linger_ms.

        Errors: ValueError for an address or option out of range, TypeError for an unknown option,
        PermissionError for an address that other machines reach without `insecure`, OSError when it
        must listen and cannot."""
        _check.text("address", address)
        return cls._new(_core.Hub.tcp(address, _check.text("name", name), options))

    @classmethod
    def shm(cls, name: str, **options: Any) -> "Hub":
        """A hub that connects to the hubs of the same name in this user's processes on this
        machine, through shared memory. Options: directory, max_peers, handshake_limit_ms,
        idle_limit_ms. Errors: PermissionError when the directory belongs to another user;
        TypeError, ValueError, OSError."""
        return cls._new(_core.Hub.shm(_check.text("name", name), options))

    @classmethod
    def global_hub(cls, name: str, **options: Any) -> "Hub":
        """The hub of that name that this process and all others share, as shm() makes it. Every
        call gives the same hub, until it is closed."""
        _check.text("name", name)
        with _globals_lock:
            known = _globals.get(name)
            if known is None or known.closed:
                known = cls._new(_core.Hub.global_hub(name, options))
                _globals[name] = known
            return known

    @classmethod
    def from_config(cls, path: Union[str, "os.PathLike[str]"], name: str) -> "Hub":
        """The hub that section [hub.NAME] of a TOML or YAML file describes; docs/hub.toml has every
        key. Errors: ValueError with file, line and key; OSError when it cannot be read."""
        return cls._new(_core.Hub.from_config(os.fspath(path), _check.text("name", name)))

    @classmethod
    def _new(cls, core: Any) -> "Hub":
        return cls.__new__(cls)._take(core)

    # --- Ports

    @overload
    def create_link(
        self,
        name: str,
        peer: str,
        type: Type[M],
        *,
        depth: int = DEPTH,
        overflow: str = "drop_oldest",
        stale_after: Optional[float] = None,
        keep_in_emergency: bool = False,
        max_bytes: Optional[int] = None,
        max_queued: int = 1024,
    ) -> Link[M]: ...

    @overload
    def create_link(
        self,
        name: str,
        peer: str,
        type: Any = None,
        *,
        depth: int = DEPTH,
        overflow: str = "drop_oldest",
        stale_after: Optional[float] = None,
        keep_in_emergency: bool = False,
        max_bytes: Optional[int] = None,
        max_queued: int = 1024,
    ) -> Link[Any]: ...

    def create_link(
        self,
        name: str,
        peer: str,
        type: Any = None,
        *,
        depth: int = DEPTH,
        overflow: str = "drop_oldest",
        stale_after: Optional[float] = None,
        keep_in_emergency: bool = False,
        max_bytes: Optional[int] = None,
        max_queued: int = 1024,
    ) -> Link[Any]:
        """This hub's end of a link with the hub named `peer`, which makes the other end.

        depth: messages queued here, 1 to 65536. overflow: drop_oldest, latest, drop_newest.
        stale_after, keep_in_emergency: as for subscribe(). max_bytes: the limit for one message, 1
        to 64 MiB; by default 1 MiB, or the type's size. max_queued: messages under way to the peer,
        2 to 1048576, its depth included.
        Errors: TypeError for a type that cannot be sent, or that differs from the link's;
        ValueError; RuntimeError when the hub is closed."""
        codec = codec_of(type)
        receiving = _receiving(depth, overflow, stale_after, keep_in_emergency)
        sending = _sending(max_bytes, max_queued)
        _check.text("name", name), _check.text("peer", peer)
        out, in_ = self._core.create_link(name, peer, codec.format, *receiving, *sending)
        return Link(name, peer, out, in_, codec)

    @overload
    def advertise(
        self,
        topic: str,
        type: Type[M],
        *,
        max_bytes: Optional[int] = None,
        max_queued: int = 1024,
    ) -> Publisher[M]: ...

    @overload
    def advertise(
        self,
        topic: str,
        type: Any = None,
        *,
        max_bytes: Optional[int] = None,
        max_queued: int = 1024,
    ) -> Publisher[Any]: ...

    def advertise(
        self,
        topic: str,
        type: Any = None,
        *,
        max_bytes: Optional[int] = None,
        max_queued: int = 1024,
    ) -> Publisher[Any]:
        """A publisher of `topic`. max_queued: messages in the queues of all its subscribers
        together. Errors: as create_link()."""
        codec = codec_of(type)
        sending = _sending(max_bytes, max_queued)
        out = self._core.advertise(_check.text("topic", topic), codec.format, *sending)
        return Publisher(topic, out, codec)

    @overload
    def subscribe(
        self,
        topic: str,
        type: Type[M],
        *,
        depth: int = DEPTH,
        overflow: str = "drop_oldest",
        stale_after: Optional[float] = None,
        keep_in_emergency: bool = False,
    ) -> Subscriber[M]: ...

    @overload
    def subscribe(
        self,
        topic: str,
        type: Any = None,
        *,
        depth: int = DEPTH,
        overflow: str = "drop_oldest",
        stale_after: Optional[float] = None,
        keep_in_emergency: bool = False,
    ) -> Subscriber[Any]: ...

    def subscribe(
        self,
        topic: str,
        type: Any = None,
        *,
        depth: int = DEPTH,
        overflow: str = "drop_oldest",
        stale_after: Optional[float] = None,
        keep_in_emergency: bool = False,
    ) -> Subscriber[Any]:
        """A subscriber to `topic`, with a queue of `depth` messages for each publisher.

        stale_after: seconds, above 0. latest() gives nothing while its newest message is older,
        because its publisher has died, is frozen or is silent. None: no limit. keep_in_emergency:
        latest() keeps its message when the publisher is muted (isolated, emergency stop) or has
        gone; use it for maps and parameters. recv() and try_recv() give every message, however old.
        Errors: as create_link()."""
        codec = codec_of(type)
        receiving = _receiving(depth, overflow, stale_after, keep_in_emergency)
        in_ = self._core.subscribe(_check.text("topic", topic), codec.format, *receiving)
        return Subscriber(topic, in_, codec)

    # --- Questions; any thread

    @property
    def name(self) -> str:
        """The hub's name, as other hubs see it."""
        return self._name

    @property
    def address(self) -> str:
        """The address where others reach it, with the port that the kernel chose; "" without
        one."""
        return str(self._core.address)

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return bool(self._core.closed())

    def get_metrics(self) -> Dict[str, Any]:
        """The counters of all its ports, former ones included: messages_sent, messages_received,
        bytes_sent, bytes_received, send_failures, recv_failures (messages that subscribers lost or
        could not decode), dropped (messages that the publishers' subscribers lost), queued,
        publishers, subscribers, and latency, a histogram in nanoseconds."""
        return dict(self._core.metrics())

    def get_connection_state(self) -> Dict[str, Any]:
        """`connected`: whether it reaches a peer; True for a hub within this process. `peers`: a
        list of dicts with name, address, connected and problem, "" where there is none."""
        return dict(self._core.connection_state())

    def close(self) -> None:
        """Closes the hub with its links, publishers and subscribers. Sent messages are still
        delivered, within `linger_ms`. A second call does nothing."""
        self._core.close()

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, *_error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Hub {self._name!r}{' at ' + self.address if self.address else ''}>"


_globals: "weakref.WeakValueDictionary[str, Hub]" = weakref.WeakValueDictionary()
_globals_lock = threading.RLock()  # a signal handler may ask too
