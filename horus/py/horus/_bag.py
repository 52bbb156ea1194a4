# SPDX-License-Identifier: Apache-2.0
"""Recordings that are read: messages as objects, arrays for NumPy (docs/recording.md)."""

import array
import ctypes
import difflib
import fnmatch
import importlib
import json
import os
import struct
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Type, Union

from horus import _check, _core, _message, messages
from horus._types import _tail, codec_of

_LATEST_NS = 2**64 - 1
_LONGEST_S = 1e9

Decode = Callable[[bytes], Any]


class BagMessage(NamedTuple):
    """One message of a recording."""

    topic: str
    message: Any  # an object of the topic's class; a dict or what else was sent; bytes where nobody knows the type
    log_ns: int  # when it was recorded, nanoseconds since 1970
    publish_ns: int  # when it was published
    sequence: int  # its number among those of its publisher


class BagTopic(NamedTuple):
    """What a recording has of a topic."""

    messages: int
    type: str  # "horus::messages::Imu", or the schema's "sensor_msgs/msg/Imu"; empty: not known
    encoding: str  # "cdr", "json", …


# --- Classes from descriptions (horus/msg/format/description_bytes.cpp) ----------------------------------------------------


class _Recorded(messages.Message):
    """A message whose class this program does not have: made from the description in the recording."""

    def __repr__(self) -> str:
        values = [f"{name}={messages._shown(getattr(self, name))}" for name, *_ in self._fields_ if name[0] != "_"]
        if hasattr(type(self), "Tail"):
            values.append(f"tail of {len(self.tail)}")
        return f"{type(self).__name__}({', '.join(values)})"


class _Member(NamedTuple):
    name: str
    code: int
    shape: int
    hidden: bool
    offset: int
    type: int
    text: int
    extents: List[int]
    count_at: int


class _Parts:
    """A binary form, which C++ has checked."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def text(self) -> str:
        size = self.take("H")
        self.at += size
        return self.data[self.at - size : self.at].decode(errors="replace")

    def member(self) -> _Member:
        name = self.text()
        self.text()
        self.text()
        code, shape, flags, offset = self.take("BBBI")
        type_ = self.take("H") if flags & 1 else 0
        text = self.take("I") if code == _message._TEXT else 0
        extents = [self.take("I") for _ in range(self.take("B"))] if shape else []
        count = self.take("I") if shape == _message._SEQUENCE else 0
        return _Member(name, code, shape, bool(flags & 2), offset, type_, text, extents, count)


class _Classes:
    def __init__(self, description: bytes) -> None:
        parts = _Parts(description)
        _, count = parts.take("BH")
        self.types: List[Tuple[int, str, int, List[_Member]]] = []  # kind, name, size, members
        for _ in range(count):
            kind, name = parts.take("B"), parts.text()
            parts.text()
            size, _ = parts.take("II")
            parts.text()
            members: List[_Member] = []
            if kind == 0:
                members = [parts.member() for _ in range(parts.take("H"))]
            elif kind == 1:
                for _ in range(parts.take("BH")[1]):
                    parts.text()
                    parts.take("Q")
            self.types.append((kind, name, size, members))
        self.tail: Optional[_Member] = None
        if parts.take("B"):
            parts.take("H")
            self.tail = parts.member()
        self.made: Dict[int, Any] = {}

    @property
    def name(self) -> str:
        return self.types[0][1]

    @property
    def size(self) -> int:
        return self.types[0][2]

    def value(self, member: _Member) -> Any:
        if member.code == _message._TEXT:
            return ctypes.c_char * member.text
        if member.code == _message._STRUCTURE:
            return self.structure(member.type)
        if member.code == _message._STAMP:
            return ctypes.c_int64
        if member.code == 13:  # long double
            return ctypes.c_ubyte * 16
        if member.code == 17:  # nobody described it
            return ctypes.c_ubyte * self.types[member.type][2]
        return _KINDS[member.code]

    def structure(self, index: int) -> Any:
        if index in self.made:
            return self.made[index]
        _, name, size, members = self.types[index]
        counts = {member.offset for member in members if member.hidden}
        fields: List[Tuple[str, Any]] = []
        lists: List[str] = []
        at = 0

        def pad(to: int) -> None:
            nonlocal at
            if to > at:
                fields.append((f"_{len(fields)}", ctypes.c_ubyte * (to - at)))
            at = max(at, to)

        def place(member: _Member) -> int:
            in_place = member.shape == _message._SEQUENCE and member.count_at not in counts
            return member.count_at if in_place else member.offset

        for member in sorted(members, key=place):
            kind = self.value(member)
            if member.shape == _message._SEQUENCE and member.count_at not in counts:
                kind = self.sequence(kind, member.extents[0], member.offset - member.count_at)
                lists.append(member.name)
            else:
                for extent in reversed(member.extents):
                    kind = kind * extent
            pad(place(member))
            fields.append((member.name, kind))
            at += ctypes.sizeof(kind)
        pad(size)
        body = {"_pack_": 1, "_fields_": fields, "_horus_name_": name, "_horus_lists_": tuple(lists)}
        if index == 0 and self.tail is not None:
            body["Tail"] = self.element()
            if self.tail.name != "tail":
                body[self.tail.name] = property(lambda message: message.tail)
        self.made[index] = type(name.rpartition("::")[2] or "Message", (_Recorded,), body)
        return self.made[index]

    @staticmethod
    def sequence(kind: Any, most: int, begin: int) -> Any:
        fields = [("count", ctypes.c_uint32), ("_0", ctypes.c_ubyte * (begin - 4)), ("items", kind * most)]
        body = {"_pack_": 1, "_fields_": fields, "_horus_sequence_": (kind, most)}
        return type("Sequence", (_message.Sequence,), body)

    def element(self) -> Any:
        assert self.tail is not None
        kind = self.value(self.tail)
        for extent in reversed(self.tail.extents):
            kind = kind * extent
        return kind


_KINDS: Dict[int, Any] = {number: kind for kind, number in reversed(list(_message._CODES.items()))}
_KINDS[2] = ctypes.c_uint8


def _known_class(name: str) -> Any:
    """The class of this program that stands for the C++ struct of that name; None."""
    known = _message.made_classes.get(name)
    if known is not None:
        return known
    if name.startswith("horus::messages::"):
        return getattr(messages, name.rpartition("::")[2], None)
    return None


# --- Decoding --------------------------------------------------------------------------------------------------------------


def _plain_data(data: bytes) -> Any:
    value = json.loads(data)
    # Data of Python that is no dict; horus/msg/json.hpp tells it from a dict with that key.
    if data.startswith(b'{"value":') and len(value) == 1:
        return value["value"]
    return value


def _structure_decoder(type_: Any, start: int) -> Decode:
    element = getattr(type_, "Tail", None)
    if element is None:
        decode: Decode = type_.from_buffer_copy
        return decode
    _, unpack = _tail(type_, element)

    def decode_with_tail(data: bytes) -> Any:
        message = type_.from_buffer_copy(data)
        message.tail = unpack(data[start:])
        return message

    return decode_with_tail


def _list_decoder(classes: _Classes) -> Decode:
    """Of messages that are all tail."""
    if classes.name == "text":
        return lambda data: data.decode(errors="replace")
    kind = classes.element()
    letter = getattr(kind, "_type_", None)
    if ctypes.sizeof(kind) == 1:
        return lambda data: data
    if isinstance(letter, str):

        def numbers(data: bytes) -> Any:
            made: Any = array.array(letter)  # type: ignore[arg-type]
            made.frombytes(data)
            return made

        return numbers
    return lambda data: (kind * (len(data) // ctypes.sizeof(kind))).from_buffer_copy(data)


class _Topic:
    """How the messages of one channel become objects."""

    def __init__(self, core: Any, channel: Dict[str, Any], type_: Any) -> None:
        self.name: str = channel["topic"]
        self.type: Any = None  # a ctypes.Structure
        self.start = 0  # of the tail
        self.decode: Decode = lambda data: data
        if type_ is None and channel["encoding"] == "json":
            self.decode = _plain_data
        elif type_ is not None:
            self._as(core, channel, type_)
        elif channel["foreign"] and channel["description"] is None:
            core.decode_foreign(channel["id"])
            self.decode = json.loads
        elif channel["description"] is None:
            pass  # of a type that nobody described: bytes, as it was in memory
        else:
            classes = _Classes(channel["description"])
            known = _known_class(classes.name)
            if known is not None:
                self._as(core, channel, known)
                return
            core.decode(channel["id"], None, b"", b"")
            if classes.size == 0:
                self.decode = _list_decoder(classes)
                return
            self.type = classes.structure(0)
            self.start = classes.tail.offset if classes.tail is not None else 0
            self.decode = _structure_decoder(self.type, self.start)

    def _as(self, core: Any, channel: Dict[str, Any], type_: Any) -> None:
        codec = codec_of(type_)
        if isinstance(type_, type) and issubclass(type_, ctypes.Structure):
            self.type = type_
            self.start = codec.format.tail_offset
        if codec.format.hash == channel["layout"]:
            core.decode(channel["id"], None, b"", b"")
        elif self.type is not None:
            element = getattr(type_, "Tail", None)
            core.decode(channel["id"], _message.describe(type_), bytes(type_()), b"" if element is None else bytes(element()))
        else:
            raise TypeError(f"topic {self.name}: {channel['type']} was recorded, not {codec.format.describe()}")
        if codec.raw:
            self.decode = codec.decode
        elif type_ is str:
            self.decode = lambda data: data.decode()


class Messages(Iterator[BagMessage]):
    """The messages of a recording, in the order of their log time. From Bag.messages() and read(). After an error (a
    damaged chunk, a message that cannot be decoded) the next call goes on behind it."""

    def __init__(self, path: str, core: Any, topics: Dict[int, _Topic]) -> None:
        self._path, self._core, self._topics = path, core, topics
        self._waiting: List[Tuple[int, int, int, int, bytes]] = []

    def __next__(self) -> BagMessage:
        if not self._waiting:
            self._waiting = self._core.next()
            self._waiting.reverse()
            if not self._waiting:
                raise StopIteration
        channel, sequence, log_ns, publish_ns, data = self._waiting.pop()
        topic = self._topics[channel]
        try:
            message = topic.decode(data)
        except ValueError as error:
            raise ValueError(f"topic {topic.name} of {self._path} at {log_ns} ns: {error}") from None
        return BagMessage(topic.name, message, log_ns, publish_ns, sequence)


# --- The recording ---------------------------------------------------------------------------------------------------------


class Bag:
    """A recording (an MCAP file) that is read, outside of any event loop:

        with horus.Bag("run.mcap") as bag:
            print(bag.topics, bag.duration)
            for topic, message, log_ns, *_ in bag.messages(["odometry", "camera/*"]):
                print(topic, message)
            odometry = bag.to_numpy("odometry")

    Files whose recorder was killed are read as far as they are whole; `damages` says what is not. A large file is read
    chunk by chunk. Errors: OSError with the path, and the offset of what is damaged. Any thread, one at a time."""

    def __init__(self, path: Union[str, "os.PathLike[str]"]) -> None:
        self._path = os.fspath(path)
        core = _core.Bag(self._path)
        self._about: Dict[str, Any] = core.about()
        self._channels: List[Dict[str, Any]] = core.channels()
        self._metadata: Optional[Dict[str, Dict[str, str]]] = None

    @property
    def path(self) -> str:
        return self._path

    @property
    def topics(self) -> Dict[str, BagTopic]:
        """The topics by name."""
        all_: Dict[str, BagTopic] = {}
        for one in sorted(self._channels, key=lambda channel: str(channel["topic"])):
            before = all_.get(one["topic"])
            count = one["messages"] + (before.messages if before else 0)
            all_[one["topic"]] = BagTopic(count, one["type"] or one["schema"], one["encoding"])
        return all_

    @property
    def count(self) -> int:
        """Messages of all topics."""
        return int(self._about["messages"])

    @property
    def first_ns(self) -> int:
        """Log time of the first message, nanoseconds since 1970; 0 without messages."""
        return int(self._about["first_ns"])

    @property
    def last_ns(self) -> int:
        """Log time of the last message."""
        return int(self._about["last_ns"])

    @property
    def duration(self) -> float:
        """Seconds between the two."""
        return (self.last_ns - self.first_ns) / 1e9

    @property
    def indexed(self) -> bool:
        """Whether it has its index; without it the whole file was scanned (`horus bag recover` writes one)."""
        return bool(self._about["indexed"])

    @property
    def damages(self) -> List[str]:
        """What cannot be read, and where."""
        return list(self._about["damages"])

    @property
    def metadata(self) -> Dict[str, Dict[str, str]]:
        """Texts about the recording as a whole, by name: "horus.clock", "horus.losses"."""
        if self._metadata is None:
            self._metadata = _core.Bag(self._path).metadata()
        return self._metadata

    def messages(
        self,
        topics: Union[str, Sequence[str]] = (),
        *,
        start: Optional[float] = None,
        end: Optional[float] = None,
        types: Optional[Mapping[str, Any]] = None,
    ) -> Messages:
        """Messages in the order of their log time. `topics` are patterns in which `*` stands for any characters; without
        them all topics. `start` and `end` are seconds after the first message of the recording. `types` gives a topic
        another class than the program's own of the recorded name (@horus.message, horus.messages); fields are found by their
        names where the class is not the recorded one. Errors: ValueError for a topic that is not there, TypeError for a
        class that cannot be meant."""
        wanted = self._wanted([topics] if isinstance(topics, str) else list(topics))
        for name in types or {}:
            self._wanted([name])
        core = _core.Bag(self._path)
        chosen = {
            channel["id"]: _Topic(core, channel, (types or {}).get(channel["topic"]))
            for channel in self._channels
            if channel["topic"] in wanted
        }
        core.select(set(chosen), self._time("start", start, 0), self._time("end", end, _LATEST_NS))
        return Messages(self._path, core, chosen)

    def to_numpy(
        self, topic: str, *, start: Optional[float] = None, end: Optional[float] = None, type: Any = None
    ) -> Any:
        """The messages of a topic as a structured array: log_ns, publish_ns, and a column for each field. A tail is a
        column of arrays. Messages that are dicts have a column for each key, other ones the column `value`. Errors:
        ImportError without NumPy; those of messages()."""
        try:
            numpy = importlib.import_module("numpy")
        except ImportError:
            raise ImportError("to_numpy() needs NumPy: pip install numpy (messages() does without)") from None
        types = None if type is None else {topic: type}
        found = self.messages([_check.text("topic", topic)], start=start, end=end, types=types)
        all_ = list(found)
        columns: List[Tuple[str, Any]] = [
            ("log_ns", numpy.array([one.log_ns for one in all_], dtype="u8")),
            ("publish_ns", numpy.array([one.publish_ns for one in all_], dtype="u8")),
        ]
        values = [one.message for one in all_]
        kinds = {topic_.type for topic_ in found._topics.values()}
        if len(kinds) == 1 and None not in kinds:
            columns += _columns_of(numpy, kinds.pop(), values)
        elif values and all(isinstance(value, dict) for value in values):
            for key in dict.fromkeys(key for value in values for key in value):
                columns.append((str(key), _column(numpy, [value.get(key) for value in values])))
        else:
            columns.append(("value", _column(numpy, values)))
        made = numpy.empty(len(all_), dtype=[(name, column.dtype, column.shape[1:]) for name, column in columns])
        for name, column in columns:
            made[name] = column
        return made

    def close(self) -> None:
        """Does nothing: each iteration has its own file."""

    def __enter__(self) -> "Bag":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Bag {self._path!r}: {self.count} messages of {len(self.topics)} topics>"

    def _time(self, what: str, seconds: Optional[float], without: int) -> int:
        if seconds is None:
            return without
        return self.first_ns + round(_check.number(what, seconds, 0, _LONGEST_S, "seconds") * 1e9)

    def _wanted(self, patterns: List[str]) -> "set[str]":
        names = list(self.topics)
        if not patterns:
            return set(names)
        chosen: "set[str]" = set()
        for pattern in patterns:
            _check.text("topics", pattern)
            literal = pattern.replace("[", "[[]").replace("?", "[?]")
            found = [name for name in names if fnmatch.fnmatchcase(name, literal)]
            if not found:
                near = difflib.get_close_matches(pattern, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
                raise ValueError(f"{self._path} has no topic {pattern!r}; {hint}")
            chosen.update(found)
        return chosen


def _column(numpy: Any, values: List[Any]) -> Any:
    plain = (bool, int, float)
    if values and all(isinstance(value, plain) for value in values):
        return numpy.array(values)
    column = numpy.empty(len(values), dtype=object)
    column[:] = values
    return column


def _columns_of(numpy: Any, type_: Any, values: List[Any]) -> List[Tuple[str, Any]]:
    heads = numpy.frombuffer(bytearray(b"".join(bytes(value) for value in values)), dtype=numpy.dtype(type_))
    columns = [(name, heads[name]) for name, *_ in type_._fields_ if name[0] != "_"]
    element = getattr(type_, "Tail", None)
    if element is not None:
        tails = numpy.empty(len(values), dtype=object)
        for index, value in enumerate(values):
            tails[index] = numpy.frombuffer(bytes(value.tail), dtype=numpy.dtype(element))
        columns.append(("tail", tails))
    return columns


def read(
    path: Union[str, "os.PathLike[str]"],
    topics: Union[str, Sequence[str]] = (),
    *,
    start: Optional[float] = None,
    end: Optional[float] = None,
    types: Optional[Mapping[str, Any]] = None,
) -> Messages:
    """The messages of a recording, as Bag(path).messages():

        for one in horus.read("run.mcap", ["odometry"], start=10.0, end=20.0):
            print(one.log_ns, one.message.pose)
    """
    return Bag(path).messages(topics, start=start, end=end, types=types)
