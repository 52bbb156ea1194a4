# SPDX-License-Identifier: Apache-2.0
"""Ready messages for robots, with the field names of ROS: the same bytes as C++'s horus::messages
(horus/msg/messages.hpp), whose comments have frames and conventions.

    link = hub.create_link("cmd_vel", "base", horus.messages.Twist)
    link.send(Twist(linear=Vector3(x=0.5)))

Each is a ctypes.Structure with C++'s default values; what is received is a copy. Units are SI: m, s,
rad, kg, V, A; temperatures are degrees Celsius, stamps nanoseconds. `tail` of JointState, LaserScan,
Image and PointCloud is the part of variable length. Plain values; one thread at a time.
"""

import ctypes
import difflib
from ctypes import Structure, c_bool, c_char, c_double, c_float, c_int16, c_int64
from ctypes import c_uint8, c_uint16, c_uint32
from typing import Any, Dict, Optional, Sequence, Tuple, Union

__all__ = [
    "BatteryState",
    "CloudPoint",
    "Header",
    "Image",
    "Imu",
    "Joint",
    "JointState",
    "LaserScan",
    "Message",
    "NavSatFix",
    "NavSatStatus",
    "Odometry",
    "Point",
    "PointCloud",
    "Pose",
    "PoseWithCovariance",
    "Quaternion",
    "Twist",
    "TwistWithCovariance",
    "Vector3",
]


class Message(Structure):
    """What they have in common. A class of your own: derive from it (or from ctypes.Structure), give
    `_fields_`, the name of the C++ struct as `_horus_name_` where it is not the class's, and the type
    of the tail's elements as `Tail` where there is one."""

    _defaults_: Dict[str, Any] = {}  # of fields that do not begin at zero
    _blank: bytes
    tail: Any = b""

    def __init__(self, *values: Any, tail: Any = b"", **named: Any) -> None:
        ctypes.memmove(ctypes.addressof(self), _blank(type(self)), ctypes.sizeof(self))
        super().__init__(*values, **named)
        if len(tail) > 0:
            self.tail = tail

    def __setattr__(self, name: str, value: Any) -> None:
        limits = _limits(type(self)).get(name)
        if limits is None:
            if name != "tail" and not name.startswith("_") and not hasattr(type(self), name):
                raise AttributeError(_unknown(type(self), name))
        elif isinstance(value, int) and not limits[0] <= value <= limits[1]:
            raise ValueError(
                f"{type(self).__name__}.{name} is {limits[0]} to {limits[1]}, not {value}"
            )
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:  # only what is not there
        raise AttributeError(_unknown(type(self), name))

    def __repr__(self) -> str:
        values = [f"{name}={_shown(getattr(self, name))}" for name, *_ in type(self)._fields_]
        if hasattr(type(self), "Tail"):
            values.append(f"tail of {len(self.tail)}")
        return f"{type(self).__name__}({', '.join(values)})"

    def __eq__(self, other: Any) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return bytes(self) == bytes(other) and _plain(self.tail) == _plain(other.tail)

    __hash__ = None  # type: ignore[assignment]


def _blank(type_: Any) -> bytes:
    if "_blank" not in vars(type_):
        blank = type_.from_buffer(bytearray(ctypes.sizeof(type_)))
        for name, kind in type_._fields_:
            if issubclass(kind, Message):
                setattr(blank, name, kind.from_buffer_copy(_blank(kind)))
        for name, value in type_._defaults_.items():
            setattr(blank, name, value)
        type_._blank = bytes(blank)
    return bytes(type_._blank)


def _limits(type_: Any) -> Dict[str, Tuple[int, int]]:
    """What its integer fields can hold: ctypes itself cuts larger ones off."""
    known: Optional[Dict[str, Tuple[int, int]]] = vars(type_).get("_limits_of_fields")
    if known is None:
        known = {}
        for base in type_.__mro__:
            for name, kind, *_ in vars(base).get("_fields_", ()):
                letter = getattr(kind, "_type_", None)
                if isinstance(letter, str) and letter in "bhilq":
                    half = 1 << (8 * ctypes.sizeof(kind) - 1)
                    known[name] = (-half, half - 1)
                elif isinstance(letter, str) and letter in "BHILQ":
                    known[name] = (0, (1 << 8 * ctypes.sizeof(kind)) - 1)
        type_._limits_of_fields = known
    return known


def _unknown(type_: Any, name: str) -> str:
    names = [field for base in type_.__mro__ for field, *_ in vars(base).get("_fields_", ())]
    if hasattr(type_, "Tail"):
        names.append("tail")
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    return f"{type_.__name__} has no field {name!r}; {hint}"


def _shown(value: Any) -> str:
    return repr(list(value) if isinstance(value, ctypes.Array) else value)


def _plain(tail: Any) -> Any:
    return bytes(tail) if isinstance(tail, ctypes.Array) else tail


class Header(Message):
    """When and in which frame something was measured."""

    _horus_name_ = "horus::messages::Header"
    _fields_ = [("stamp_ns", c_int64), ("frame_id", c_char * 32)]
    stamp_ns: int  # nanoseconds, of the clock that both ends agreed upon
    frame_id: bytes  # b"base_link"


class Point(Message):
    """A place, metres."""

    _horus_name_ = "horus::messages::Point"
    _fields_ = [("x", c_double), ("y", c_double), ("z", c_double)]
    x: float
    y: float
    z: float


class Vector3(Message):
    """A direction with a length; the field that holds it gives the unit."""

    _horus_name_ = "horus::messages::Vector3"
    _fields_ = [("x", c_double), ("y", c_double), ("z", c_double)]
    x: float
    y: float
    z: float


class Quaternion(Message):
    """A rotation, of length 1. The default is no rotation."""

    _horus_name_ = "horus::messages::Quaternion"
    _fields_ = [("x", c_double), ("y", c_double), ("z", c_double), ("w", c_double)]
    _defaults_ = {"w": 1.0}
    x: float
    y: float
    z: float
    w: float


class Pose(Message):
    """Place and orientation of a body in a frame."""

    _horus_name_ = "horus::messages::Pose"
    _fields_ = [("position", Point), ("orientation", Quaternion)]
    position: Point
    orientation: Quaternion


class Twist(Message):
    """Velocity of a body: m/s, and rad/s about x, y and z."""

    _horus_name_ = "horus::messages::Twist"
    _fields_ = [("linear", Vector3), ("angular", Vector3)]
    linear: Vector3
    angular: Vector3


class PoseWithCovariance(Message):
    """Row-major 6 × 6 over x, y, z, and rotation about x, y, z: m², rad²."""

    _horus_name_ = "horus::messages::PoseWithCovariance"
    _fields_ = [("pose", Pose), ("covariance", c_double * 36)]
    pose: Pose
    covariance: "ctypes.Array[c_double]"


class TwistWithCovariance(Message):
    """Row-major 6 × 6 over linear x, y, z and angular x, y, z: (m/s)², (rad/s)²."""

    _horus_name_ = "horus::messages::TwistWithCovariance"
    _fields_ = [("twist", Twist), ("covariance", c_double * 36)]
    twist: Twist
    covariance: "ctypes.Array[c_double]"


class Odometry(Message):
    """A robot's estimate of where it is and how it moves."""

    _horus_name_ = "horus::messages::Odometry"
    _fields_ = [
        ("header", Header),
        ("child_frame_id", c_char * 32),
        ("pose", PoseWithCovariance),
        ("twist", TwistWithCovariance),
    ]
    header: Header
    child_frame_id: bytes
    pose: PoseWithCovariance
    twist: TwistWithCovariance


class Imu(Message):
    """An inertial measurement unit: rad/s, m/s². Covariances are row-major 3 × 3; all zero: unknown;
    a first element of -1: not measured."""

    _horus_name_ = "horus::messages::Imu"
    _fields_ = [
        ("header", Header),
        ("orientation", Quaternion),
        ("orientation_covariance", c_double * 9),
        ("angular_velocity", Vector3),
        ("angular_velocity_covariance", c_double * 9),
        ("linear_acceleration", Vector3),
        ("linear_acceleration_covariance", c_double * 9),
    ]
    header: Header
    orientation: Quaternion
    orientation_covariance: "ctypes.Array[c_double]"
    angular_velocity: Vector3
    angular_velocity_covariance: "ctypes.Array[c_double]"
    linear_acceleration: Vector3
    linear_acceleration_covariance: "ctypes.Array[c_double]"


class Joint(Message):
    """One joint: rad or m, per second, N·m or N. NaN where a quantity is not known."""

    _horus_name_ = "horus::messages::Joint"
    _fields_ = [
        ("name", c_char * 32),
        ("position", c_double),
        ("velocity", c_double),
        ("effort", c_double),
    ]
    name: bytes
    position: float
    velocity: float
    effort: float


class JointState(Message):
    """The joints of a robot: `tail` is a list of Joint to send, and an array of them received."""

    _horus_name_ = "horus::messages::JointState"
    _fields_ = [("header", Header)]
    Tail = Joint
    header: Header
    tail: "Union[Sequence[Joint], ctypes.Array[Joint]]"


class LaserScan(Message):
    """One turn of a planar range finder. `tail`: `beams` ranges in m, then as many intensities, from
    devices that measure them; an array.array("f"), or what has that format."""

    _horus_name_ = "horus::messages::LaserScan"
    _fields_ = [
        ("header", Header),
        ("angle_min", c_float),
        ("angle_max", c_float),
        ("angle_increment", c_float),
        ("time_increment", c_float),
        ("scan_time", c_float),
        ("range_min", c_float),
        ("range_max", c_float),
        ("beams", c_uint32),
    ]
    Tail = c_float
    header: Header
    angle_min: float  # rad
    angle_max: float
    angle_increment: float
    time_increment: float  # s
    scan_time: float
    range_min: float  # m
    range_max: float
    beams: int

    @property
    def ranges(self) -> Any:
        """Metres."""
        return self.tail[: self.beams]

    @property
    def intensities(self) -> Any:
        """In the device's own unit; empty when the device measures none."""
        return self.tail[self.beams : 2 * self.beams]


class BatteryState(Message):
    """A battery: V, °C, A (negative while it discharges), Ah. NaN where a quantity is not measured."""

    _horus_name_ = "horus::messages::BatteryState"
    _fields_ = [
        ("header", Header),
        ("voltage", c_float),
        ("temperature", c_float),
        ("current", c_float),
        ("charge", c_float),
        ("capacity", c_float),
        ("design_capacity", c_float),
        ("percentage", c_float),
        ("power_supply_status", c_uint8),
        ("power_supply_health", c_uint8),
        ("power_supply_technology", c_uint8),
        ("present", c_bool),
        ("cell_voltage_count", c_uint32),
        ("cell_temperature_count", c_uint32),
        ("cell_voltage", c_float * 32),
        ("cell_temperature", c_float * 32),
        ("location", c_char * 32),
        ("serial_number", c_char * 32),
    ]
    header: Header
    voltage: float
    temperature: float
    current: float
    charge: float
    capacity: float
    design_capacity: float
    percentage: float  # 0 to 1
    power_supply_status: int  # unknown, charging, discharging, not_charging, full
    power_supply_health: int
    power_supply_technology: int
    present: bool
    cell_voltage_count: int  # of cell_voltage that are filled in
    cell_temperature_count: int
    cell_voltage: "ctypes.Array[c_float]"
    cell_temperature: "ctypes.Array[c_float]"
    location: bytes
    serial_number: bytes


class NavSatStatus(Message):
    """How a satellite fix came about: -1 none, 0 fix, 1 with SBAS, 2 with GBAS; services 1 GPS,
    2 GLONASS, 4 Compass, 8 Galileo."""

    _horus_name_ = "horus::messages::NavSatStatus"
    _fields_ = [("status", c_int16), ("service", c_uint16)]
    _defaults_ = {"status": -1}
    status: int
    service: int


class NavSatFix(Message):
    """A position on the WGS 84 ellipsoid: degrees, north and east positive, and m above it."""

    _horus_name_ = "horus::messages::NavSatFix"
    _fields_ = [
        ("header", Header),
        ("status", NavSatStatus),
        ("position_covariance_type", c_uint32),
        ("latitude", c_double),
        ("longitude", c_double),
        ("altitude", c_double),
        ("position_covariance", c_double * 9),
    ]
    header: Header
    status: NavSatStatus
    position_covariance_type: int  # 0 unknown, 1 approximated, 2 diagonal known, 3 known
    latitude: float
    longitude: float
    altitude: float
    position_covariance: "ctypes.Array[c_double]"


class Image(Message):
    """An uncompressed picture. `tail`: its rows as bytes, `step` bytes each."""

    _horus_name_ = "horus::messages::Image"
    _fields_ = [
        ("header", Header),
        ("height", c_uint32),
        ("width", c_uint32),
        ("encoding", c_char * 16),
        ("step", c_uint32),
        ("is_bigendian", c_uint32),
    ]
    Tail = c_uint8
    header: Header
    height: int  # rows
    width: int  # pixels
    encoding: bytes  # b"rgb8", b"mono8", as in ROS
    step: int  # bytes from one row to the next
    is_bigendian: int


class CloudPoint(Message):
    """A point of a PointCloud: m, NaN where nothing was hit."""

    _horus_name_ = "horus::messages::CloudPoint"
    _fields_ = [("x", c_float), ("y", c_float), ("z", c_float), ("intensity", c_float)]
    x: float
    y: float
    z: float
    intensity: float


class PointCloud(Message):
    """Points in space. `tail`: a list of CloudPoint or a buffer of bytes to send, an array of
    CloudPoint received; numpy.frombuffer reads it."""

    _horus_name_ = "horus::messages::PointCloud"
    _fields_ = [
        ("header", Header),
        ("height", c_uint32),
        ("width", c_uint32),
        ("point_step", c_uint32),
        ("is_dense", c_uint32),
    ]
    _defaults_ = {"height": 1, "point_step": 16}
    Tail = CloudPoint
    header: Header
    height: int  # rows; 1: without order
    width: int  # points of a row
    point_step: int  # bytes
    is_dense: int  # 1: no point is NaN
    tail: "Union[Sequence[CloudPoint], ctypes.Array[CloudPoint], bytes]"
