// SPDX-License-Identifier: Apache-2.0
// Slot: the memory of one message as a Python buffer, a received one or one that is being written. With the GIL. Internal.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <cstddef>
#include <memory>

#include <Python.h>

namespace horus::python {

/// Gives the memory back when it dies. With the GIL, on any thread.
class SlotOwner {
 public:
  SlotOwner() = default;
  SlotOwner(const SlotOwner&) = delete;
  SlotOwner& operator=(const SlotOwner&) = delete;
  virtual ~SlotOwner() = default;
};

/// The base of horus.View and horus.Loan.
struct Slot {
  PyObject_HEAD std::byte* data;
  std::size_t size;    // bytes
  Py_ssize_t exports;  // memoryviews, arrays and the like that refer to it
  bool writable;
  SlotOwner* owner;  // null: given back

  /// A new object of `type`, a subclass; null with an exception set.
  static PyObject* make(PyTypeObject* type, std::unique_ptr<SlotOwner> owner, std::byte* data,
                        std::size_t size, bool writable);
  /// Of one that nothing refers to; null with an exception set otherwise, BufferError or ValueError.
  static Slot* unused(PyObject* object, const char* what);
};

bool add_slots(PyObject* module);

}  // namespace horus::python
