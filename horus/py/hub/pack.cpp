// SPDX-License-Identifier: Apache-2.0
#include <horus/py/hub/pack.hpp>

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <msgpack/null_visitor.hpp>
#include <msgpack/pack.hpp>
#include <msgpack/parse.hpp>
#include <msgpack/unpack.hpp>  // first: the others lack its includes

namespace horus::python {
namespace {

// --- Packing ----------------------------------------------------------------------------------------------------------

struct Sink {
  std::string& bytes;
  void write(const char* data, std::size_t size) { bytes.append(data, size); }
};

class Packer {
 public:
  Packer(std::string& bytes, std::size_t most)
      : sink_{bytes}, packer_(sink_), start_(bytes.size()), most_(most) {}

  void pack(py::handle message) {
    if (value(message.ptr(), 0)) return;
    const std::string line = "message" + where_ + " " + problem_;
    PyErr_SetString(kind_, line.c_str());
    throw py::error_already_set();
  }

 private:
  bool fail(PyObject* kind, std::string problem) {
    kind_ = kind;
    problem_ = std::move(problem);
    return false;
  }
  bool under(std::string step) {  // the failure lies below
    where_.insert(0, step);
    return false;
  }

  bool value(PyObject* object, int depth) {
    if (sink_.bytes.size() - start_ > most_)
      return fail(PyExc_ValueError, fmt::format("has more than the {} bytes of max_bytes", most_));
    if (++values_ > kMostValues)
      return fail(PyExc_ValueError,
                  fmt::format("has more than {} values: send arrays as bytes, or give the topic a type",
                              kMostValues));
    if (object == Py_None) {
      packer_.pack_nil();
    } else if (PyBool_Check(object)) {
      object == Py_True ? packer_.pack_true() : packer_.pack_false();
    } else if (PyLong_Check(object)) {
      return integer(object);
    } else if (PyFloat_Check(object)) {
      floating(PyFloat_AS_DOUBLE(object));
    } else if (PyUnicode_Check(object)) {
      return text(object);
    } else if (PyBytes_Check(object)) {
      return bytes(PyBytes_AS_STRING(object), PyBytes_GET_SIZE(object));
    } else if (PyByteArray_Check(object)) {
      return bytes(PyByteArray_AS_STRING(object), PyByteArray_GET_SIZE(object));
    } else if (PyList_Check(object) || PyTuple_Check(object)) {
      return sequence(object, depth + 1);
    } else if (PyDict_Check(object)) {
      return mapping(object, depth + 1);
    } else if (is_numpy_scalar(object)) {
      return scalar(object, depth);
    } else {
      return fail(PyExc_TypeError,
                  fmt::format("is a {}, which cannot travel: send None, bool, int, float, str, bytes, list, "
                              "tuple and dict, or give the topic a type",
                              Py_TYPE(object)->tp_name));
    }
    return true;
  }

  // Not packer_.pack_double, which sends 3.0 as the integer 3.
  void floating(double value) {
    char bytes[9] = {'\xcb'};
    const auto bits = std::bit_cast<std::uint64_t>(value);
    for (int i = 0; i < 8; ++i) bytes[1 + i] = static_cast<char>(bits >> (56 - 8 * i));
    sink_.write(bytes, sizeof bytes);
  }

  // Only NumPy's own types: a class derived from one could run code of Python's.
  static bool is_numpy_scalar(PyObject* object) {
    PyTypeObject* const type = Py_TYPE(object);
    if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) != 0) return false;
    const auto numpy = py::reinterpret_steal<py::object>(PyImport_GetModule(py::str("numpy").ptr()));
    if (!numpy) {
      PyErr_Clear();
      return false;
    }
    const py::object generic = py::getattr(numpy, "generic", py::none());
    return PyType_Check(generic.ptr()) != 0 &&
           PyType_IsSubtype(type, reinterpret_cast<PyTypeObject*>(generic.ptr())) != 0;
  }

  // float16 to longdouble as float, every integer as int, bool_ as bool. What is none of these is refused by its own name.
  bool scalar(PyObject* object, int depth) {
    auto value_of = py::reinterpret_steal<py::object>(PyObject_CallMethod(object, "item", nullptr));
    if (value_of && Py_TYPE(value_of.ptr()) == Py_TYPE(object))  // longdouble, which has no better one
      value_of = PyComplex_Check(value_of.ptr()) != 0 || !py::hasattr(value_of, "is_integer")
                     ? py::object()
                     : py::reinterpret_steal<py::object>(PyNumber_Float(object));
    PyErr_Clear();
    const bool plain = value_of && (PyBool_Check(value_of.ptr()) || PyLong_Check(value_of.ptr()) ||
                                    PyFloat_Check(value_of.ptr()));
    if (plain) return value(value_of.ptr(), depth);
    return fail(PyExc_TypeError,
                fmt::format("is a {}, which cannot travel: NumPy's floats, integers and bools can, arrays as "
                            "bytes, or give the topic a type",
                            Py_TYPE(object)->tp_name));
  }

  bool integer(PyObject* object) {
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow == 0) {
      packer_.pack_int64(value);
      return true;
    }
    if (overflow > 0) {
      const unsigned long long large = PyLong_AsUnsignedLongLong(object);
      if (PyErr_Occurred() == nullptr) {
        packer_.pack_uint64(large);
        return true;
      }
      PyErr_Clear();
    }
    return fail(PyExc_ValueError, "is an int of more than 64 bits: send it as a str");
  }

  bool text(PyObject* object) {
    Py_ssize_t size = 0;
    const char* data = PyUnicode_AsUTF8AndSize(object, &size);
    if (data == nullptr) {
      PyErr_Clear();
      return fail(PyExc_ValueError, "is a str with half a surrogate pair, which UTF-8 does not have");
    }
    if (!fits(size)) return false;
    packer_.pack_str(static_cast<std::uint32_t>(size));
    packer_.pack_str_body(data, static_cast<std::uint32_t>(size));
    return true;
  }

  bool bytes(const char* data, Py_ssize_t size) {
    if (!fits(size)) return false;
    packer_.pack_bin(static_cast<std::uint32_t>(size));
    packer_.pack_bin_body(data, static_cast<std::uint32_t>(size));
    return true;
  }

  bool fits(Py_ssize_t size) {
    if (static_cast<std::size_t>(size) <= most_) return true;
    return fail(PyExc_ValueError, fmt::format("has {} bytes; max_bytes is {}", size, most_));
  }

  bool level(Py_ssize_t size, int depth) {
    if (depth > kDeepest)
      return fail(PyExc_ValueError, fmt::format("is deeper than {} levels, or within itself", kDeepest));
    return fits(size);  // each element has at least one byte
  }

  // No code of Python's runs meanwhile, so nobody changes what is gone through.
  bool sequence(PyObject* object, int depth) {
    const Py_ssize_t size = PySequence_Fast_GET_SIZE(object);
    if (!level(size, depth)) return false;
    packer_.pack_array(static_cast<std::uint32_t>(size));
    for (Py_ssize_t i = 0; i < size; ++i) {
      if (!value(PySequence_Fast_GET_ITEM(object, i), depth)) return under(fmt::format("[{}]", i));
    }
    return true;
  }

  bool mapping(PyObject* object, int depth) {
    if (!level(PyDict_Size(object), depth)) return false;
    packer_.pack_map(static_cast<std::uint32_t>(PyDict_Size(object)));
    PyObject* key = nullptr;
    PyObject* item = nullptr;
    for (Py_ssize_t at = 0; PyDict_Next(object, &at, &key, &item) != 0;) {
      if (PyTuple_Check(key))
        return fail(PyExc_TypeError, "has a tuple among its keys: use str, int, float, bool, bytes or None");
      if (!value(key, depth)) return under("'s key");
      if (!value(item, depth)) return under("[" + py::cast<std::string>(py::repr(key)) + "]");
    }
    return true;
  }

  Sink sink_;
  msgpack::packer<Sink> packer_;
  const std::size_t start_;
  const std::size_t most_;
  std::size_t values_ = 0;
  PyObject* kind_ = nullptr;
  std::string problem_;
  std::string where_;
};

// --- Unpacking --------------------------------------------------------------------------------------------------------

// Builds the objects while the bytes are parsed; believes no size before its elements have come.
class Builder : public msgpack::null_visitor {
 public:
  py::object root;
  std::string problem;

  bool visit_nil() { return add(py::none()); }
  bool visit_boolean(bool value) { return add(py::bool_(value)); }
  bool visit_positive_integer(std::uint64_t value) { return add(own(PyLong_FromUnsignedLongLong(value))); }
  bool visit_negative_integer(std::int64_t value) { return add(own(PyLong_FromLongLong(value))); }
  bool visit_float32(float value) { return visit_float64(static_cast<double>(value)); }
  bool visit_float64(double value) { return add(own(PyFloat_FromDouble(value))); }
  bool visit_str(const char* data, std::uint32_t size) {
    PyObject* text = PyUnicode_DecodeUTF8(data, size, nullptr);
    if (text == nullptr && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError) != 0) {
      PyErr_Clear();
      return refuse("a str that is no UTF-8");
    }
    return add(own(text));
  }
  bool visit_bin(const char* data, std::uint32_t size) {
    return add(own(PyBytes_FromStringAndSize(data, size)));
  }
  bool visit_ext(const char* /*data*/, std::uint32_t /*size*/) { return refuse("an extension type"); }

  bool start_array(std::uint32_t /*elements*/) { return open(own(PyList_New(0)), false); }
  bool end_array() { return close(); }
  bool start_map(std::uint32_t /*pairs*/) { return open(own(PyDict_New()), true); }
  bool end_map() { return close(); }
  bool end_map_key() {
    Level& level = levels_.back();
    level.key = std::exchange(level.value, py::object());
    return true;
  }
  bool end_map_value() {
    Level& level = levels_.back();
    const int failed = PyDict_SetItem(level.container.ptr(), level.key.ptr(), level.value.ptr());
    if (failed != 0) throw py::error_already_set();
    level.key = level.value = py::object();
    return true;
  }
  bool start_map_key() {
    levels_.back().in_key = true;
    return true;
  }
  bool start_map_value() {
    levels_.back().in_key = false;
    return true;
  }
  void insufficient_bytes(std::size_t /*from*/, std::size_t /*to*/) { refuse("an end before its end"); }
  void parse_error(std::size_t /*from*/, std::size_t /*to*/) { refuse("no MessagePack"); }

 private:
  struct Level {
    py::object container, key, value;
    bool is_map = false;
    bool in_key = false;
  };

  static py::object own(PyObject* object) {
    if (object == nullptr) throw py::error_already_set();
    return py::reinterpret_steal<py::object>(object);
  }
  bool refuse(const char* what) {
    if (problem.empty()) problem = what;
    return false;
  }
  bool open(py::object container, bool is_map) {
    if (levels_.size() >= static_cast<std::size_t>(kDeepest)) return refuse("too many levels");
    if (!levels_.empty() && levels_.back().is_map && levels_.back().in_key)
      return refuse("a list or dict as a key");
    levels_.emplace_back();
    levels_.back().container = std::move(container);
    levels_.back().is_map = is_map;
    return true;
  }
  bool close() {
    py::object whole = std::move(levels_.back().container);
    levels_.pop_back();
    return add(std::move(whole));
  }
  bool add(py::object value) {
    if (++values_ > kMostValues) return refuse("too many values");
    if (levels_.empty()) {
      root = std::move(value);
    } else if (levels_.back().is_map) {
      levels_.back().value = std::move(value);
    } else if (PyList_Append(levels_.back().container.ptr(), value.ptr()) != 0) {
      throw py::error_already_set();
    }
    return true;
  }

  std::vector<Level> levels_;
  std::size_t values_ = 0;
};

}  // namespace

void pack(py::handle message, std::size_t most, std::string& bytes) {
  Packer(bytes, most).pack(message);
  if (bytes.size() > most)
    throw py::value_error(fmt::format("message has {} bytes; max_bytes is {}", bytes.size(), most));
}

py::object unpack(std::string_view bytes, std::string& problem) {
  Builder builder;
  std::size_t at = 0;
  const bool whole = msgpack::parse(bytes.data(), bytes.size(), at, builder);
  if (whole && at == bytes.size() && builder.root) return std::move(builder.root);
  problem = !builder.problem.empty() ? builder.problem : whole ? "more than one value" : "no MessagePack";
  return {};
}

}  // namespace horus::python
