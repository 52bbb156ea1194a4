// SPDX-License-Identifier: Apache-2.0
// The memory that operations of Python's loop read into and write from, and the checks of their arguments. With the GIL.
// Internal.
#pragma once

#include <algorithm>
#include <climits>
#include <cstdint>
#include <utility>

#include <horus/py/loop/operation.hpp>

namespace horus::python {

/// A user's buffer, held until the kernel has let it go.
class HeldBuffer {
 public:
  HeldBuffer() = default;
  HeldBuffer(const HeldBuffer&) = delete;
  HeldBuffer& operator=(const HeldBuffer&) = delete;
  ~HeldBuffer() {
    if (view_.obj != nullptr) PyBuffer_Release(&view_);
  }
  bool hold(PyObject* object, int flags) { return PyObject_GetBuffer(object, &view_, flags) == 0; }
  [[nodiscard]] char* data() const noexcept { return static_cast<char*>(view_.buf); }
  [[nodiscard]] std::size_t size() const noexcept { return static_cast<std::size_t>(view_.len); }

 private:
  Py_buffer view_{};
};

/// A bytes object that the kernel fills.
class OwnBytes {
 public:
  OwnBytes() = default;
  OwnBytes(const OwnBytes&) = delete;
  OwnBytes& operator=(const OwnBytes&) = delete;
  ~OwnBytes() { Py_XDECREF(object_); }
  /// False with an exception set.
  bool make(Py_ssize_t size) {
    object_ = PyBytes_FromStringAndSize(nullptr, size);
    return object_ != nullptr;
  }
  [[nodiscard]] bool has_memory() const noexcept { return object_ != nullptr; }
  void free() noexcept { Py_CLEAR(object_); }
  [[nodiscard]] char* data() const noexcept { return PyBytes_AS_STRING(object_); }
  /// The first `count` of them; null with an exception set.
  PyObject* give(std::int64_t count) {
    if (count < PyBytes_GET_SIZE(object_) && _PyBytes_Resize(&object_, static_cast<Py_ssize_t>(count)) < 0)
      return nullptr;
    return std::exchange(object_, nullptr);
  }

 private:
  PyObject* object_ = nullptr;
};

/// The kernel counts in 32 bits.
inline std::uint32_t clamp(std::size_t bytes) noexcept {
  return static_cast<std::uint32_t>(std::min<std::size_t>(bytes, INT_MAX & ~4095));
}

inline bool expect(const char* name, Py_ssize_t count, Py_ssize_t wanted) {
  if (count == wanted) return true;
  PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", name, wanted, count);
  return false;
}

/// A whole number within Py_ssize_t, not below `least`.
inline bool to_size(PyObject* object, const char* what, Py_ssize_t least, Py_ssize_t& size) {
  size = PyNumber_AsSsize_t(object, PyExc_OverflowError);
  if (size == -1 && PyErr_Occurred() != nullptr) return false;
  if (size >= least) return true;
  PyErr_Format(PyExc_ValueError, "%s is at least %zd, not %zd", what, least, size);
  return false;
}

inline PyObject* with_buffer(PyObject* operation, HeldBuffer& buffer, PyObject* object, int flags) {
  if (operation == nullptr || buffer.hold(object, flags)) return operation;
  Py_DECREF(operation);
  return nullptr;
}
template <class W>
W& wait_of(PyObject* operation) {
  return static_cast<W&>(*Operation::from(operation)->wait);
}

}  // namespace horus::python
