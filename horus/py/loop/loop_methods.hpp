// SPDX-License-Identifier: Apache-2.0
// LoopCore's methods for Python, by source, for the table in loop.cpp, and what the sources share. With the GIL, on the
// loop's thread. Internal.
#pragma once

#include <cstdint>

#include <horus/py/loop/loop.hpp>

namespace horus::python {

/// False with an exception set: the loop is closed.
bool check_open(LoopCore* self);

// --- loop_calls.cpp: callbacks, timers, tasks ----------------------------------------------------------------------------

/// callback, *arguments, context=None as call_soon() has them, after `first` others.
struct Call {
  PyObject* callback = nullptr;
  PyObject* const* arguments = nullptr;
  Py_ssize_t count = 0;
  PyObject* context = nullptr;

  bool parse(const char* name, Py_ssize_t first, PyObject* const* given, Py_ssize_t positional,
             PyObject* keywords);
};
/// A handle by a method of asyncio's own loop, with its checks; it knows where it was made.
PyObject* in_debug_mode(LoopCore* self, const char* method_name, const Call& call, PyObject* when);
/// Seconds of the loop's clock as nanoseconds, never early.
std::int64_t to_ns(double seconds);
double now_seconds();
/// Whether asyncio has what tasks and futures are made with; false with an exception set.
bool find_asyncio();

PyObject* call_soon(PyObject* object, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
/// Any thread with the GIL, also a signal handler of Python.
PyObject* call_soon_threadsafe(PyObject* object, PyObject* const* arguments, Py_ssize_t count,
                               PyObject* keywords);
PyObject* call_later(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
PyObject* call_at(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);
PyObject* time_of_loop(PyObject*, PyObject*);
PyObject* create_future_method(PyObject* self, PyObject*);
PyObject* create_task(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords);

// --- loop_turn.cpp: one iteration ----------------------------------------------------------------------------------------

/// Wakes the tasks whose operations have ended since the last look, in their order.
void take_completed(LoopCore* self);

PyObject* run_once(PyObject* object, PyObject*);
PyObject* turn_method(PyObject* object, PyObject* seconds);
PyObject* count_ready(PyObject* self, PyObject*);
PyObject* take_ready(PyObject* self, PyObject*);
PyObject* set_until_stopped(PyObject* self, PyObject* value);

// --- loop_watches.cpp: add_reader and its relatives ----------------------------------------------------------------------

PyObject* add_reader(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* add_writer(PyObject* self, PyObject* const* arguments, Py_ssize_t count);
PyObject* remove_reader(PyObject* self, PyObject* fd);
PyObject* remove_writer(PyObject* self, PyObject* fd);
PyObject* watched(PyObject* self, PyObject* descriptor);

}  // namespace horus::python
