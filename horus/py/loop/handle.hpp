// SPDX-License-Identifier: Apache-2.0
// Handle and TimerHandle of Horus' event loop: what asyncio's classes of these names are, as small C objects that are
// recycled. To isinstance() they are asyncio's. With the GIL. Internal.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <cstddef>

#include <Python.h>

#include <horus/base/intrusive_list.hpp>
#include <horus/io/loop/timer_queue.hpp>

namespace horus::python {

struct LoopCore;
struct PendingTag;

/// A callback with its arguments and context. It forgets them when it has run or was cancelled, so that it keeps nobody
/// alive; those of add_reader() run many times.
struct Handle {
  static constexpr Py_ssize_t kInline = 3;

  PyObject_HEAD PyObject* callback;  // null: forgotten
  PyObject* arguments[kInline];      // the first of them null and `many` set: a tuple
  PyObject* many;
  PyObject* context;
  PyObject* weak_references;
  Py_ssize_t count;
  bool cancelled;
  bool repeats;
};

/// A Handle that runs at a time of the loop's clock.
struct TimerHandle {
  struct Entry : io::TimerEntry, ListHook<PendingTag> {
    explicit Entry(TimerHandle& handle) noexcept : owner(handle) {}
    TimerHandle& owner;
  };
  Handle handle;
  Entry timer;
  LoopCore* loop;        // while it is pending; borrowed
  PyObject* stands_for;  // asyncio's own handle, which a loop in debug mode uses; null otherwise
  double when;           // seconds

  static TimerHandle& of(io::TimerEntry& entry) noexcept { return static_cast<Entry&>(entry).owner; }
};

extern PyTypeObject* handle_type;
extern PyTypeObject* timer_handle_type;

/// Makes both types and adds them to `module`; false with an exception set.
bool add_handles(PyObject* module);

/// A new reference; null with an exception set. `context` null: a copy of the current one.
Handle* make_handle(PyObject* callback, PyObject* const* arguments, Py_ssize_t count, PyObject* context);
TimerHandle* make_timer_handle(PyObject* callback, PyObject* const* arguments, Py_ssize_t count,
                               PyObject* context, double when);
inline bool is_handle(PyObject* object) {
  return Py_TYPE(object) == handle_type || Py_TYPE(object) == timer_handle_type;
}
/// The result, or null with the callback's exception set.
PyObject* call_handle(Handle* handle);
void forget_callback(Handle* handle);

}  // namespace horus::python
