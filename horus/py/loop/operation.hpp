// SPDX-License-Identifier: Apache-2.0
// Operation: the awaitable object that Python sees for one wait in a reactor. Awaited, it begins; what ends at once gives
// its value inline, anything else suspends the task behind a real asyncio Future. With the GIL. Internal.
#pragma once

#include <cstddef>
#include <new>
#include <utility>

#include <horus/py/loop/loop.hpp>

namespace horus::python {

struct Operation {
  enum class State : std::uint8_t { fresh, under_way, ended, spent };
  static constexpr std::size_t kInside = 304;

  PyObject_HEAD LoopCore* loop;
  Awaited* wait;     // in `inside` or allocated; null: spent
  PyObject* future;  // what the task waits for while it is under way
  PyObject* type;    // what was thrown in meanwhile; raised when it has ended
  PyObject* value;
  PyObject* trace;
  Operation* before;  // of those that are under way in its loop
  Operation* after;
  State state;
  bool is_inside;
  std::size_t tag;  // of the horus.Reactor that it was asked of, which cancels it in the end; 0: of nobody
  alignas(std::max_align_t) std::byte inside[kInside];

  static Operation* from(PyObject* self) noexcept { return reinterpret_cast<Operation*>(self); }
  void adopt(Awaited* awaited) noexcept;
  void list() noexcept;
  void unlist() noexcept;
  /// What is under way and uses nobody's memory is over, and nobody is told. Drops the reference of what is under way.
  static void forget(Operation* self);
  /// The wait has ended, and the loop has the GIL: wakes the task. Takes over the reference of what is under way.
  static void settle(Awaited& awaited);
};

/// A fresh operation of `loop` without its wait; null with an exception set.
Operation* new_operation(LoopCore* loop);

/// An operation that waits by a W, made in place from `arguments`.
template <class W, class... Arguments>
PyObject* make_operation(LoopCore* loop, Arguments&&... arguments) {
  static_assert(sizeof(W) <= Operation::kInside);
  Operation* operation = new_operation(loop);
  if (operation == nullptr) return nullptr;
  operation->is_inside = true;
  operation->adopt(new (operation->inside) W(std::forward<Arguments>(arguments)...));
  return reinterpret_cast<PyObject*>(operation);
}
bool is_operation(PyObject* object);
/// One that was allocated elsewhere, which the operation owns from now on, also when this fails.
PyObject* make_operation(LoopCore* loop, Awaited* awaited);

// --- Operations of the kernel: methods of LoopCore -----------------------------------------------------------------------

PyObject* cancel_all(PyObject* self, PyObject* whose);
PyObject* sock_recv(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* sock_recv_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* sock_sendall(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* file_open(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* file_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* file_read_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* file_write(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* file_sync(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* file_close(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* stream_read(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* stream_read_into(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* stream_write(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* wait_ready(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* no_operation(PyObject* self, PyObject* unused);

}  // namespace horus::python
