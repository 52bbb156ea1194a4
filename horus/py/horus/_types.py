# SPDX-License-Identifier: Apache-2.0
"""How Python's types travel: a ctypes.Structure, a dataclass of fixed fields or a structured NumPy
dtype has the layout of the C++ struct with the same name and fields. Any thread."""

import array
import ctypes
import dataclasses
import sys
import typing
from typing import Any, Callable, Dict, List, Optional, Tuple

from horus import _core

_BIG_ENDIAN_HOST = sys.byteorder == "big"
_INTEGERS = {"b": "i", "h": "i", "i": "i", "l": "i", "q": "i"}
_INTEGERS.update({code.upper(): "u" for code in _INTEGERS})
_PLAIN: Dict[Any, Any] = {float: ctypes.c_double, int: ctypes.c_int64, bool: ctypes.c_bool}


class InPlace:
    """How a message is used where it lies in memory. `head` gives its fixed part over a buffer, which
    shows what is written there where the buffer may be written to; without, there is none. The tail
    begins at `start` and has elements of `letter`, a format of struct, or bytes."""

    def __init__(
        self,
        head: Optional[Callable[[Any], Any]] = None,
        blank: bytes = b"",
        start: Optional[int] = None,
        letter: Optional[str] = None,
    ) -> None:
        self.head, self.blank, self.start, self.letter = head, blank, start, letter

    def tail(self, buffer: Any) -> memoryview:
        if self.start is None:
            raise TypeError("messages of this type have no tail")
        view = memoryview(buffer)[self.start :]
        return view if self.letter is None else view.cast(self.letter)


class Codec:
    """One type's form on the wire, and the ways there and back. `raw` messages go through encode
    and decode; the others are done in C++. Those without `in_place` are never looked at in place."""

    def __init__(
        self,
        format: Any,
        encode: Optional[Callable[[Any], Tuple[Any, Any]]] = None,
        decode: Optional[Callable[[bytes], Any]] = None,
        in_place: Optional[InPlace] = None,
    ) -> None:
        self.format = format
        self.in_place = in_place
        self.raw = encode is not None
        self.encode: Callable[[Any], Tuple[Any, Any]] = encode or _no_code
        self.decode: Callable[[bytes], Any] = decode or _no_code


def _no_code(_message: Any) -> Any:
    raise AssertionError("coded in C++")


def codec_of(type_: Any) -> Codec:
    """What `type=` of a topic or link means. Errors: TypeError for types without a fixed layout."""
    if type_ is None:
        return Codec(_core.Format.data())
    if type_ is bytes or type_ is bytearray:
        return Codec(_core.Format.bytes(), in_place=InPlace(start=0))
    if type_ is str:
        return Codec(_core.Format.text(), in_place=InPlace(start=0))
    if isinstance(type_, type) and issubclass(type_, ctypes.Structure):
        return _structure_codec(type_)
    if isinstance(type_, type) and dataclasses.is_dataclass(type_):
        return _dataclass_codec(type_)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(type_, numpy.dtype) and type_.names is not None:
        return _dtype_codec(numpy, type_)
    raise TypeError(
        "type is None (any data), bytes, str, a ctypes.Structure, a dataclass of fixed fields or a "
        f"structured NumPy dtype, not {type_!r}"
    )


def _name(type_: Any) -> str:
    return str(getattr(type_, "_horus_name_", type_.__name__))


def _over(type_: Any) -> Callable[[Any], Any]:
    """A structure over a buffer that may be written to, a copy of another one's."""

    def head(buffer: Any) -> Any:
        with memoryview(buffer) as view:
            return (type_.from_buffer_copy if view.readonly else type_.from_buffer)(buffer)

    return head


# --- ctypes.Structure ----------------------------------------------------------------------------


def _fields(type_: Any) -> List[Tuple[str, Any]]:
    fields: List[Tuple[str, Any]] = []
    for base in reversed(type_.__mro__):
        for name, kind, *bits in vars(base).get("_fields_", ()):
            if bits:
                raise TypeError(f"{type_.__name__}.{name} is a bit field, which has no fixed layout")
            fields.append((name, kind))
    if not fields:
        raise TypeError(f"{type_.__name__} has no _fields_")
    return fields


def _code(kind: Any, where: str) -> str:
    """The name of a field's type that C++ gives it."""
    if issubclass(kind, ctypes.Array):
        return f"{_code(kind._type_, where)}[{kind._length_}]"
    sequence = getattr(kind, "_horus_sequence_", None)
    if sequence is not None:
        return f"{_code(sequence[0], where)}[<={sequence[1]}]"
    if issubclass(kind, ctypes.Structure):
        return "{" + _describe(kind) + "}"
    letter = getattr(kind, "_type_", None)
    foreign = getattr(kind, "__ctype_le__" if _BIG_ENDIAN_HOST else "__ctype_be__", None)
    size = 8 * ctypes.sizeof(kind)
    if isinstance(letter, str) and (size == 8 or foreign is not kind):
        if letter in _INTEGERS:
            return f"{_INTEGERS[letter]}{size}"
        if letter in "fd":
            return f"f{size}"
        if letter in "?c":
            return "bool" if letter == "?" else "char"
    raise TypeError(f"{where} is a {kind.__name__}, which cannot travel: numbers, bool, c_char, "
                    "arrays and structures of them can")


def _describe(type_: Any) -> str:
    if issubclass(type_, (ctypes.BigEndianStructure, ctypes.LittleEndianStructure)) and (
        type_.__mro__[1] is not ctypes.Structure and hasattr(type_, "_swappedbytes_")
    ):
        raise TypeError(f"{type_.__name__} has swapped bytes; messages have those of the machine")
    return ", ".join(
        f"{_code(kind, f'{type_.__name__}.{name}')} {name} @{getattr(type_, name).offset}"
        for name, kind in _fields(type_)
    )


def _tell(format: _core.Format, type_: Any) -> None:
    """Recordings need the description. A class that has none (a union in it, say) travels all the
    same."""
    from horus import _message  # it needs horus.messages, which needs this module

    try:
        format.learn(_message.describe(type_))
    except (TypeError, ValueError):
        pass


def _structure_codec(type_: Any) -> Codec:
    fields = _describe(type_)
    element = getattr(type_, "Tail", None)
    size, alignment = ctypes.sizeof(type_), ctypes.alignment(type_)
    if element is None:

        def encode(message: Any) -> Tuple[Any, Any]:
            if not isinstance(message, type_):
                raise TypeError(f"a {type_.__name__} travels here, not {type(message).__name__}")
            return message, b""

        format = _core.Format(_name(type_), fields, size, alignment, 0, 1)
        _tell(format, type_)
        in_place = InPlace(_over(type_), bytes(type_()))
        return Codec(format, encode, type_.from_buffer_copy, in_place)

    fields += f", then {_code(element, f'{type_.__name__}.Tail')}s"
    element_size = ctypes.sizeof(element)
    format = _core.Format(
        _name(type_), fields, size, alignment, element_size, ctypes.alignment(element)
    )
    _tell(format, type_)
    start = format.tail_offset
    pack, unpack = _tail(type_, element)

    def encode_with_tail(message: Any) -> Tuple[Any, Any]:
        if not isinstance(message, type_):
            raise TypeError(f"a {type_.__name__} travels here, not {type(message).__name__}")
        return message, pack(getattr(message, "tail", b""))

    def decode_with_tail(data: bytes) -> Any:
        message = type_.from_buffer_copy(data)
        message.tail = unpack(data[start:])
        return message

    letter = getattr(element, "_type_", None)
    known = letter if isinstance(letter, str) and letter != "c" else None
    in_place = InPlace(_over(type_), bytes(type_()), start, known)
    return Codec(format, encode_with_tail, decode_with_tail, in_place)


def _tail(type_: Any, element: Any) -> Tuple[Callable[[Any], Any], Callable[[bytes], Any]]:
    """Bytes where the elements are bytes, array.array of numbers, ctypes arrays of structures."""
    letter = getattr(element, "_type_", None)
    size = ctypes.sizeof(element)
    where = f"tail of {type_.__name__}"

    def from_list(tail: Any) -> Any:
        if letter == "c":
            raise TypeError(f"{where} is bytes")
        if isinstance(letter, str):
            return array.array("B" if letter == "?" else letter, tail)
        return (element * len(tail))(*tail)

    def pack(tail: Any) -> Any:
        if isinstance(tail, (list, tuple)):
            return from_list(tail)
        view = memoryview(tail)
        kinds = ("f", "d") if letter in ("f", "d") else ("?", *_INTEGERS)
        known = view.format.lstrip("<=@") in kinds if isinstance(letter, str) else True
        if view.itemsize != 1 and (view.itemsize != size or not known):
            raise TypeError(
                f"{where} has elements of {size} bytes ({element.__name__}), not of the format "
                f"{view.format!r}"
            )
        return view if view.c_contiguous else view.tobytes()

    def unpack(data: bytes) -> Any:
        if letter in ("B", "c", "b", "?"):
            return data
        if isinstance(letter, str):
            numbers = array.array(letter)
            numbers.frombytes(data)
            return numbers
        return (element * (len(data) // size)).from_buffer_copy(data)

    return pack, unpack


# --- Dataclasses ---------------------------------------------------------------------------------


def _wire_type(type_: Any) -> Any:
    """The ctypes.Structure that a dataclass travels as."""
    hints = typing.get_type_hints(type_)
    fields = []
    for field in dataclasses.fields(type_):
        kind = hints[field.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            kind = _wire_type(kind)
        kind = _PLAIN.get(kind, kind)
        if not (isinstance(kind, type) and issubclass(kind, _CDATA)):
            raise TypeError(
                f"{type_.__name__}.{field.name} is a {kind!r}, which has no fixed size: use float, "
                "int, bool, a type of ctypes, an array of one, or a dataclass of these"
            )
        fields.append((field.name, kind))
    wire = type(type_.__name__, (ctypes.Structure,), {"_fields_": fields})
    wire._horus_name_ = _name(type_)  # type: ignore[attr-defined]
    return wire


_CDATA: Any = ctypes.c_int.__mro__[-2]  # ctypes._CData, which has no public name


def _fill(wire: Any, message: Any, where: str) -> None:
    for name, kind in wire._fields_:
        value = getattr(message, name)
        try:
            if issubclass(kind, ctypes.Structure):
                _fill(getattr(wire, name), value, f"{where}.{name}")
            elif issubclass(kind, ctypes.Array) and not isinstance(value, (bytes, kind)):
                setattr(wire, name, kind(*value))
            else:
                setattr(wire, name, value)
                if type(value) is int and getattr(wire, name) != value:
                    raise ValueError(f"{value} is out of range")
        except (TypeError, ValueError, AttributeError) as error:
            raise type(error)(f"{where}.{name}: {error}") from None


def _read(wire: Any, type_: Any, hints: Any) -> Any:
    values = {}
    for field in dataclasses.fields(type_):
        value = getattr(wire, field.name)
        kind = hints[field.name]
        if dataclasses.is_dataclass(kind):
            value = _read(value, kind, typing.get_type_hints(kind))
        elif isinstance(value, ctypes.Array):
            value = list(value)
        values[field.name] = value
    return type_(**values)


def _dataclass_codec(type_: Any) -> Codec:
    wire_type = _wire_type(type_)
    hints = typing.get_type_hints(type_)
    format = _structure_codec(wire_type).format

    def encode(message: Any) -> Tuple[Any, Any]:
        if not isinstance(message, type_):
            raise TypeError(f"a {type_.__name__} travels here, not {type(message).__name__}")
        wire = wire_type()
        _fill(wire, message, type_.__name__)
        return wire, b""

    def decode(data: bytes) -> Any:
        return _read(wire_type.from_buffer_copy(data), type_, hints)

    return Codec(format, encode, decode)


# --- NumPy ---------------------------------------------------------------------------------------


def _dtype_code(dtype: Any, where: str) -> str:
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return _dtype_code(base, where) + "".join(f"[{size}]" for size in reversed(shape))
    if dtype.names is not None:
        return "{" + _dtype_fields(dtype, where) + "}"
    if dtype.isnative:
        if dtype.kind == "b":
            return "bool"
        if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize in (4, 8)):
            return f"{dtype.kind}{8 * dtype.itemsize}"
        if dtype.kind == "S":
            return f"char[{dtype.itemsize}]"
    raise TypeError(f"{where} is a {dtype}, which cannot travel: native numbers, bool, S, arrays and "
                    "structures of them can")


def _dtype_fields(dtype: Any, where: str) -> str:
    return ", ".join(
        f"{_dtype_code(dtype.fields[name][0], f'{where}.{name}')} {name} @{dtype.fields[name][1]}"
        for name in dtype.names
    )


def _dtype_codec(numpy: Any, dtype: Any) -> Codec:
    name = str((dtype.metadata or {}).get("name", "dtype"))
    format = _core.Format(
        name, _dtype_fields(dtype, name), dtype.itemsize, dtype.alignment, 0, 1
    )

    def encode(message: Any) -> Tuple[Any, Any]:
        one = numpy.asarray(message, dtype=dtype)
        if one.size != 1:
            raise ValueError(f"one {name} travels at a time, not an array of {one.size}")
        return one.tobytes(), b""

    def decode(data: bytes) -> Any:
        return numpy.frombuffer(bytearray(data), dtype=dtype)[0]

    def head(buffer: Any) -> Any:
        return numpy.frombuffer(buffer, dtype=dtype, count=1)[0]

    in_place = InPlace(head, bytes(dtype.itemsize))
    return Codec(format, encode, decode, in_place)
