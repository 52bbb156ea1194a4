# SPDX-License-Identifier: Apache-2.0
"""Messages of one's own, described once: the same bytes, and the same description, as the C++ struct of that name with its
HORUS_MESSAGE, HORUS_ENUM and horus_about. Any thread."""

import ctypes
import enum
import inspect
import re
import struct
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple, Type

from horus.messages import Message

_FIELDS_MOST = 64
_NAME_MOST = 255
_BYTES_MOST = 65536
_FNV_BASIS, _FNV_PRIME = 0xCBF29CE484222325, 0x100000001B3
_ROS_FIELD = re.compile(r"[a-z](_?[a-z0-9])*")
_ROS_TYPE = re.compile(r"[a-z](_?[a-z0-9])*/msg/[A-Z][A-Za-z0-9]*")

# As Description::Code numbers them.
_CODES: Dict[Any, int] = {ctypes.c_bool: 0, ctypes.c_char: 1}
for _number, _kinds in enumerate(
    [
        (ctypes.c_int8,),
        (ctypes.c_int16,),
        (ctypes.c_int32,),
        (ctypes.c_int64, ctypes.c_long, ctypes.c_longlong),
        (ctypes.c_uint8,),
        (ctypes.c_uint16,),
        (ctypes.c_uint32,),
        (ctypes.c_uint64, ctypes.c_ulong, ctypes.c_ulonglong),
        (ctypes.c_float,),
        (ctypes.c_double,),
    ],
    3,
):
    for _kind in _kinds:
        _CODES[_kind] = _number
_STAMP, _TEXT, _STRUCTURE = 14, 15, 16
_ONE, _ARRAY, _SEQUENCE = 0, 1, 2
_HAS_TYPE = 1

i8, i16, i32, i64 = ctypes.c_int8, ctypes.c_int16, ctypes.c_int32, ctypes.c_int64
u8, u16, u32, u64 = ctypes.c_uint8, ctypes.c_uint16, ctypes.c_uint32, ctypes.c_uint64
f32, f64 = ctypes.c_float, ctypes.c_double
boolean, char = ctypes.c_bool, ctypes.c_char


# Those of this program by the C++ name, the last one of each: a recording finds them.
made_classes: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()


class _Field:
    """What an annotation stands for: its type in memory, and what else the description has of it."""

    def __init__(self, kind: Any, code: Optional[int] = None, constants: Any = None, name: str = "") -> None:
        self.kind, self.code, self.constants, self.name = kind, code, constants, name


class _Tail:
    def __init__(self, field: _Field) -> None:
        self.field = field


class _Maker:
    """text[32], array[Wheel, 4], …: what stands in the brackets makes the field."""

    def __init__(self, make: Callable[..., Any], doc: str) -> None:
        self._make = make
        self.__doc__ = doc

    def __getitem__(self, arguments: Any) -> Any:
        return self._make(*(arguments if isinstance(arguments, tuple) else (arguments,)))


class Sequence(ctypes.Structure):
    """Up to so many values in place: append(value), len(), [i], iteration, clear(). Assign any list to the field."""

    _horus_sequence_: Tuple[Any, int]
    count: int
    items: Any

    def __len__(self) -> int:
        return min(self.count, self._horus_sequence_[1])

    def __getitem__(self, index: int) -> Any:
        return self.items[range(len(self))[index]]

    def __setitem__(self, index: int, value: Any) -> None:
        self.items[range(len(self))[index]] = value

    def append(self, value: Any) -> None:
        """Errors: IndexError when there is no room."""
        most = self._horus_sequence_[1]
        if len(self) >= most:
            raise IndexError(f"a sequence of at most {most} values is full")
        self.items[len(self)] = value
        self.count += 1

    def clear(self) -> None:
        ctypes.memset(ctypes.addressof(self), 0, ctypes.sizeof(self))

    def __eq__(self, other: Any) -> bool:
        return list(self) == list(other)

    def __repr__(self) -> str:
        return repr(list(self))

    __hash__ = None  # type: ignore[assignment]


def _field_of(what: Any) -> _Field:
    if isinstance(what, _Field):
        return what
    if isinstance(what, type) and issubclass(what, (ctypes.Structure, ctypes._SimpleCData)):
        return _Field(what)
    raise TypeError(
        f"{what!r} is no field of a message: horus.i8 to i64, u8 to u64, f32, f64, boolean, char, stamp, text[n], "
        "array[type, n], sequence[type, n], enumeration[Enum, type], tail[type], or a message"
    )


def _positive(count: Any) -> int:
    if not isinstance(count, int) or count < 1:
        raise TypeError(f"a length is a whole number from 1 on, not {count!r}")
    return count


def _text(size: int) -> _Field:
    return _Field(ctypes.c_char * _positive(size), _TEXT)


def _array(what: Any, count: int) -> _Field:
    inner = _field_of(what)
    return _Field(inner.kind * _positive(count), inner.code, inner.constants, inner.name)


def _sequence(what: Any, most: int) -> _Field:
    inner = _field_of(what)
    if issubclass(inner.kind, Sequence) or (issubclass(inner.kind, ctypes.Array) and inner.code != _TEXT):
        raise TypeError("a sequence of sequences or arrays: put the inner one into a message of its own")
    kind = type(
        "Sequence",
        (Sequence,),
        {
            "_fields_": [("count", ctypes.c_uint32), ("items", inner.kind * _positive(most))],
            "_horus_sequence_": (inner.kind, most),
        },
    )
    return _Field(kind, inner.code, inner.constants, inner.name)


def _enumeration(constants: Type[enum.IntEnum], kind: Any, name: str = "") -> _Field:
    is_enum = isinstance(constants, type) and issubclass(constants, enum.IntEnum)
    if not is_enum or _CODES.get(kind, 99) not in range(3, 11):
        raise TypeError("enumeration[Enum, type] takes an enum.IntEnum and a whole number, horus.u8")
    return _Field(kind, None, constants, name)


text = _Maker(_text, "text[32]: short text, C++'s horus::Text<32>")
array = _Maker(_array, "array[horus.f64, 9]: C++'s std::array")
sequence = _Maker(_sequence, "sequence[Fault, 8]: up to 8 values in place, C++'s horus::Sequence<Fault, 8>")
enumeration = _Maker(
    _enumeration, "enumeration[Mode, horus.u8]: an IntEnum; its C++ name is in the message's namespace, or is a third argument"
)
tail = _Maker(
    lambda what: _Tail(_field_of(what)),
    "tail[horus.f32]: the part of variable length. Its place among the fields counts for ROS",
)
stamp = _Field(ctypes.c_int64, _STAMP)


class _About:
    """What the description has of one class beyond its bytes."""

    def __init__(self) -> None:
        self.ros = ""
        self.fields: Dict[str, _Field] = {}
        self.units: Dict[str, str] = {}
        self.ros_names: Dict[str, str] = {}
        self.tail: Optional[Tuple[str, _Field, int]] = None  # name, elements, place


# Of horus.messages, what C++'s horus_about tells.
_READY: Dict[str, str] = {
    "Header": "std_msgs",
    "Point": "geometry_msgs",
    "Vector3": "geometry_msgs",
    "Quaternion": "geometry_msgs",
    "Pose": "geometry_msgs",
    "Twist": "geometry_msgs",
    "PoseWithCovariance": "geometry_msgs",
    "TwistWithCovariance": "geometry_msgs",
    "Odometry": "nav_msgs",
    "Imu": "sensor_msgs",
}


def _about_of(type_: Any) -> _About:
    known = vars(type_).get("_horus_about_")
    if isinstance(known, _About):
        return known
    about = _About()
    package = _READY.get(type_.__name__)
    if package is not None and _cpp_name(type_) == f"horus::messages::{type_.__name__}":
        about.ros = f"{package}/msg/{type_.__name__}"
        if type_.__name__ == "Header":
            about.fields["stamp_ns"] = stamp
            about.ros_names["stamp_ns"] = "stamp"
    return about


def _cpp_name(type_: Any) -> str:
    return str(getattr(type_, "_horus_name_", type_.__name__))


class _Described(Message):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self)._horus_lists_:
            field = getattr(self, name)
            field.clear()
            for one in value:
                field.append(one.encode() if isinstance(one, str) else one)
            return
        super().__setattr__(name, value.encode() if isinstance(value, str) else value)

    _horus_lists_: Tuple[str, ...] = ()


def message(
    name: str = "",
    *,
    ros: str = "",
    units: Optional[Dict[str, str]] = None,
    ros_names: Optional[Dict[str, str]] = None,
) -> Callable[[Any], Any]:
    """Makes a class with annotations a message, the C++ struct `name` ("rover::Drive"; the class's own without).

        @horus.message("rover::Drive", ros="rover_msgs/msg/Drive", units={"speed": "m/s"})
        class Drive:
            stamp: horus.stamp
            frame: horus.text[32]
            speed: horus.f64
            faults: horus.sequence[Fault, 8]
            ranges: horus.tail[horus.f32]

    A value in the class body is the field's default. `ros_names` has names of fields that are others in ROS. Errors: TypeError
    for an annotation that cannot travel, ValueError for a name that is not there or that ROS does not allow."""

    def decorate(cls: Any) -> Any:
        return _make(cls, name or cls.__name__, ros, dict(units or {}), dict(ros_names or {}))

    return decorate


def _make(cls: Any, name: str, ros: str, units: Dict[str, str], ros_names: Dict[str, str]) -> Any:
    about = _About()
    fields: List[Tuple[str, Any]] = []
    for field_name, what in inspect.get_annotations(cls, eval_str=True).items():
        if isinstance(what, _Tail):
            if about.tail is not None:
                raise TypeError(f"{cls.__name__}.{field_name}: a message has one tail; use sequence[type, n] for the other")
            about.tail = (field_name, what.field, len(fields))
            continue
        try:
            about.fields[field_name] = _field_of(what)
        except TypeError as error:
            raise TypeError(f"{cls.__name__}.{field_name}: {error}") from None
        fields.append((field_name, about.fields[field_name].kind))
    if not 1 <= len(fields) <= _FIELDS_MOST:
        raise TypeError(f"{cls.__name__}: a message has 1 to {_FIELDS_MOST} fields besides its tail")
    there = [*about.fields, *([about.tail[0]] if about.tail else [])]
    for told in (units, ros_names):
        for field_name in told:
            if field_name not in there:
                raise ValueError(f"{cls.__name__} has no field {field_name!r}; there are: {', '.join(there)}")
    for foreign in ros_names.values():
        if not _ROS_FIELD.fullmatch(foreign):
            raise ValueError(f"{foreign!r} is no name of a ROS field: small letters, digits and single _")
    if ros and not _ROS_TYPE.fullmatch(ros):
        raise ValueError(f"{ros!r} is no name of a ROS message, as in 'rover_msgs/msg/Drive'")
    about.ros, about.units, about.ros_names = ros, units, ros_names

    body = {key: value for key, value in vars(cls).items() if key not in ("__dict__", "__weakref__", "__annotations__")}
    body["_defaults_"] = {key: body.pop(key) for key in about.fields if key in body}
    body.update(
        _fields_=fields,
        _horus_name_=name,
        _horus_about_=about,
        _horus_lists_=tuple(key for key, field in about.fields.items() if issubclass(field.kind, Sequence)),
    )
    if about.tail is not None:
        body["Tail"] = about.tail[1].kind
        if about.tail[0] != "tail":
            body[about.tail[0]] = property(lambda self: self.tail, lambda self, value: setattr(self, "tail", value))
    made = type(cls.__name__, (_Described,), body)
    describe(made)  # what cannot be is told now
    made_classes[name] = made
    return made


# --- The binary form of a description (horus/msg/format/description_bytes.cpp) ----------------------------------------------


def _packed(value: str) -> bytes:
    raw = value.encode()
    if len(raw) > _NAME_MOST:
        raise ValueError(f"a name of more than {_NAME_MOST} bytes: {value[:40]}…")
    return struct.pack("<H", len(raw)) + raw


class _Description:
    def __init__(self, root: Any) -> None:
        self.types: List[bytes] = []
        self.index: Dict[Any, int] = {}
        self.structure(root)
        self.tail = b"\0"
        about = _about_of(root)
        element = getattr(root, "Tail", None)
        if about.tail is not None or element is not None:
            name, field, place = about.tail or ("tail", _Field(element), len(root._fields_))
            alignment = ctypes.alignment(field.kind)
            start = (ctypes.sizeof(root) + alignment - 1) // alignment * alignment
            unit = about.units.get(name, "")
            self.tail = b"\1" + struct.pack("<H", place) + self.member(root, name, "", unit, field, start)

    def structure(self, type_: Any) -> int:
        if type_ in self.index:
            return self.index[type_]
        index = self.index[type_] = len(self.types)
        self.types.append(b"")
        about = _about_of(type_)
        members = [
            self.member(
                type_,
                name,
                about.ros_names.get(name, ""),
                about.units.get(name, ""),
                about.fields.get(name) or _Field(kind),
                getattr(type_, name).offset,
            )
            for name, kind in type_._fields_
        ]
        head = b"\0" + _packed(_cpp_name(type_)) + _packed(about.ros)
        head += struct.pack("<II", ctypes.sizeof(type_), ctypes.alignment(type_)) + _packed("")
        self.types[index] = head + struct.pack("<H", len(members)) + b"".join(members)
        return index

    def enumeration(self, owner: Any, field: _Field, kind: Any) -> int:
        if field.constants in self.index:
            return self.index[field.constants]
        index = self.index[field.constants] = len(self.types)
        space = _cpp_name(owner).rpartition("::")[0]
        name = field.name or (f"{space}::" if space else "") + str(field.constants.__name__)
        size = ctypes.sizeof(kind)
        made = b"\1" + _packed(name) + _packed("") + struct.pack("<II", size, size) + _packed("")
        made += struct.pack("<BH", _CODES[kind], len(field.constants))
        for constant in field.constants:
            made += _packed(constant.name) + struct.pack("<Q", constant.value & (2**64 - 1))
        self.types.append(made)
        return index

    def member(self, owner: Any, name: str, ros: str, unit: str, field: _Field, offset: int) -> bytes:
        kind, shape, extents, rest = field.kind, _ONE, b"", b""
        if issubclass(kind, Sequence):
            shape, (kind, most) = _SEQUENCE, kind._horus_sequence_
            rest = struct.pack("<I", offset)
            offset += field.kind.items.offset
            extents = struct.pack("<BI", 1, most)
        lengths: List[int] = []
        while issubclass(kind, ctypes.Array) and kind._type_ is not ctypes.c_char:
            lengths.append(kind._length_)
            kind = kind._type_
        if lengths:
            shape = _ARRAY
            extents = struct.pack(f"<B{len(lengths)}I", len(lengths), *lengths)
        index: Optional[int] = None
        text_bytes = b""
        if issubclass(kind, ctypes.Array):
            code = _TEXT
            text_bytes = struct.pack("<I", kind._length_)
        elif issubclass(kind, ctypes.Structure):
            code, index = _STRUCTURE, self.structure(kind)
        elif field.code == _STAMP:
            code = _STAMP
        elif kind in _CODES:
            code = _CODES[kind]
            if field.constants is not None:
                index = self.enumeration(owner, field, kind)
        else:
            raise TypeError(f"{owner.__name__}.{name} is a {kind.__name__}, which has no description")
        made = _packed(name) + _packed(ros) + _packed(unit)
        made += struct.pack("<BBBI", code, shape, 0 if index is None else _HAS_TYPE, offset)
        made += b"" if index is None else struct.pack("<H", index)
        return made + text_bytes + extents + rest


def describe(type_: Any) -> bytes:
    """The description of a message class in binary form, as C++'s `describe<T>().encode()`: byte for byte the same for the
    struct of that name. Of `horus.messages`, Header, Odometry, Imu and what they consist of have all that C++ tells of them; of
    the others, units, enumerations and names in ROS are not known here. Errors: TypeError, ValueError."""
    if not (isinstance(type_, type) and issubclass(type_, ctypes.Structure) and hasattr(type_, "_fields_")):
        raise TypeError(f"a class that horus.message made, or a ctypes.Structure, has a description, not {type_!r}")
    made = _Description(type_)
    whole = struct.pack("<BH", 1, len(made.types)) + b"".join(made.types) + made.tail
    if len(whole) > _BYTES_MOST:
        raise ValueError(f"{type_.__name__}: more than 64 KiB of names")
    return whole


def identity(type_: Any) -> int:
    """The hash over describe(type_), as C++'s `describe<T>().identity()`: everything counts."""
    value = _FNV_BASIS
    for byte in describe(type_):
        value = (value ^ byte) * _FNV_PRIME % 2**64
    return value
