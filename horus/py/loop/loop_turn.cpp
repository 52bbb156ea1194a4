// SPDX-License-Identifier: Apache-2.0
// One iteration of a loop: what has happened is taken, then called. See loop_methods.hpp.
#include <algorithm>
#include <utility>

#include <horus/py/loop/loop_methods.hpp>
#include <horus/py/loop/loop_reactor.hpp>
#include <horus/py/loop/operation.hpp>

namespace horus::python {

namespace {

void take_due_timers(LoopCore* self) {
  LoopState& state = *self->state;
  if (state.timers.size() == 0) return;
  const std::int64_t now = monotonic_ns();
  while (io::TimerEntry* entry = state.timers.pop_due(now)) {
    TimerHandle& timer = TimerHandle::of(*entry);
    timer.timer.unlink();
    timer.loop = nullptr;
    if (timer.stands_for == nullptr) {
      state.ready.push(reinterpret_cast<PyObject*>(&timer));
    } else {
      state.ready.push(std::exchange(timer.stands_for, nullptr));
      Py_DECREF(&timer);
    }
  }
}

// False with an exception set: KeyboardInterrupt and SystemExit leave the loop, as in asyncio.
bool report_failure(LoopCore* self, PyObject* handle) {
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit))
    return false;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  if (trace != nullptr) PyException_SetTraceback(value, trace);
  PyObject* done = PyObject_CallMethod(self->object(), "_callback_failed", "OO", handle, value);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(trace);
  if (done == nullptr) return false;
  Py_DECREF(done);
  return true;
}

bool run_handle(LoopCore* self, PyObject* object) {
  if (self->state->debug || !is_handle(object)) [[unlikely]] {
    PyObject* done = PyObject_CallMethod(self->object(), "_run_handle", "O", object);
    if (done == nullptr) return false;
    Py_DECREF(done);
    return true;
  }
  return LoopCore::run_callback(self, reinterpret_cast<Handle*>(object));
}

// Sleeps without the GIL until there is something to do. False with an exception set, of a signal's handler.
bool wait(LoopCore* self, std::int64_t until_ns) {
  LoopState& state = *self->state;
  io::Reactor& reactor = *state.reactor;
  Duration timeout = Duration::max();
  if (until_ns != io::TimerQueue::kNever)
    timeout = Duration(std::max<std::int64_t>(0, until_ns - monotonic_ns()));
  state.sleeping = true;
  PyThreadState* thread = PyEval_SaveThread();
  reactor.run_once(timeout);
  PyEval_RestoreThread(thread);
  state.sleeping = false;
  return PyErr_CheckSignals() == 0;
}

bool is_stopping(LoopCore* self, bool& stopping) {
  static PyObject* const name = PyUnicode_InternFromString("_stopping");
  PyObject* value = PyObject_GetAttr(self->object(), name);
  if (value == nullptr) return false;
  stopping = value == Py_True;
  Py_DECREF(value);
  return true;
}

// Takes what has happened; sleeps until `until_ns` where nothing has. What is to be called has joined the queue then.
bool turn(LoopCore* self, bool at_once, std::int64_t until_ns) {
  LoopState& state = *self->state;
  io::Reactor& reactor = *state.reactor;
  if (at_once || state.ready.size() > 0 || state.completed != nullptr || state.watches.due()) {
    if (!reactor.nothing_to_take()) reactor.run_once();
    state.watches.look_if_not_armed();
  } else {
    state.watches.arm(reactor);
    if (!wait(self, std::min(until_ns, state.timers.next_deadline()))) return false;
  }
  state.watches.look(state.ready);
  take_completed(self);
  take_due_timers(self);
  return true;
}

bool iterate(LoopCore* self) {
  LoopState& state = *self->state;
  bool stopping = false;
  if (!is_stopping(self, stopping) || !turn(self, stopping, io::TimerQueue::kNever)) return false;
  for (std::size_t todo = state.ready.size(); todo > 0 && state.ready.size() > 0; --todo) {
    PyObject* handle = state.ready.pop();
    const bool fine = run_handle(self, handle);
    Py_DECREF(handle);
    if (!fine) return false;
  }
  return true;
}

}  // namespace

void take_completed(LoopCore* self) {
  Awaited* latest = std::exchange(self->state->completed, nullptr);
  if (latest == nullptr) return;
  LoopCore::settle_all(latest);
}

// One iteration. horus.EventLoop's own run_forever() sets `until_stopped`: then it goes on until the loop is stopping,
// but not when somebody in a callback of that run calls it.
PyObject* run_once(PyObject* object, PyObject*) {
  LoopCore* self = LoopCore::from(object);
  if (!check_open(self) || !make_reactor(self)) return nullptr;
  LoopState& state = *self->state;
  const bool is_nested = state.running;
  const bool goes_on = state.until_stopped && !is_nested;
  PyObject* suspended = nullptr;  // the task that calls us cannot be current while others run
  if (is_nested) {
    suspended = PyObject_CallMethod(object, "_suspend_task", nullptr);
    if (suspended == nullptr) return nullptr;
  }
  bool fine = false;
  bool stopping = false;
  {
    const io::CurrentReactor here(state.reactor.get());
    state.running = true;
    do {
      fine = is_ours(self) && iterate(self) && is_stopping(self, stopping);
    } while (fine && goes_on && !stopping);
    state.running = is_nested;
  }
  if (suspended != nullptr) {
    PyObject *type, *value, *trace;
    PyErr_Fetch(&type, &value, &trace);
    PyObject* done = PyObject_CallMethod(object, "_restore_task", "O", suspended);
    Py_DECREF(suspended);
    Py_XDECREF(done);
    if (fine && done == nullptr) return nullptr;
    PyErr_Restore(type, value, trace);
  }
  if (!fine) return nullptr;
  Py_RETURN_NONE;
}

// For those that drive asyncio's loop by hand: see horus/_driven.py. Seconds; None: as long as it takes.
PyObject* turn_method(PyObject* object, PyObject* seconds) {
  LoopCore* self = LoopCore::from(object);
  if (!check_open(self) || !make_reactor(self)) return nullptr;
  double most = 0.0;
  if (seconds != Py_None) {
    most = PyFloat_AsDouble(seconds);
    if (most == -1.0 && PyErr_Occurred() != nullptr) return nullptr;
  }
  const std::int64_t until = seconds == Py_None ? io::TimerQueue::kNever : to_ns(now_seconds() + most);
  const io::CurrentReactor here(self->state->reactor.get());
  const bool before = std::exchange(self->state->running, true);
  const bool fine = is_ours(self) && turn(self, seconds != Py_None && most <= 0.0, until);
  self->state->running = before;
  if (!fine) return nullptr;
  Py_RETURN_NONE;
}

PyObject* count_ready(PyObject* self, PyObject*) {
  return PyLong_FromSize_t(LoopCore::from(self)->state->ready.size());
}

PyObject* take_ready(PyObject* self, PyObject*) {
  LoopState& state = *LoopCore::from(self)->state;
  if (state.ready.size() > 0) return state.ready.pop();
  PyErr_SetString(PyExc_IndexError, "nothing is ready");
  return nullptr;
}

PyObject* set_until_stopped(PyObject* self, PyObject* value) {
  LoopState& state = *LoopCore::from(self)->state;
  const int truth = PyObject_IsTrue(value);
  if (truth < 0) return nullptr;
  return PyBool_FromLong(std::exchange(state.until_stopped, truth != 0) ? 1 : 0);
}

bool LoopCore::run_callback(LoopCore* self, Handle* handle) {
  if (handle->callback == nullptr) return true;  // cancelled
  PyObject* context = Py_NewRef(handle->context);
  bool fine = PyContext_Enter(context) == 0;
  if (fine) {
    PyObject* result = call_handle(handle);
    fine = result != nullptr;
    Py_XDECREF(result);
    if (PyContext_Exit(context) < 0) fine = false;
  }
  Py_DECREF(context);
  if (!fine) fine = report_failure(self, reinterpret_cast<PyObject*>(handle));
  if (!handle->repeats) forget_callback(handle);
  return fine;
}

bool LoopCore::run_by_hand(LoopCore* self, Handle* handle) {
  if (!check_open(self) || !make_reactor(self)) return false;
  const io::CurrentReactor here(self->state->reactor.get());
  const bool before = std::exchange(self->state->running, true);
  const bool fine = run_callback(self, handle);
  self->state->running = before;
  return fine;
}

void LoopCore::completed(Awaited& awaited) noexcept {
  LoopState& state = *static_cast<Operation*>(awaited.operation_)->loop->state;
  awaited.next_ = std::exchange(state.completed, &awaited);
  static_cast<Operation*>(awaited.operation_)->loop->touched();
}

void LoopCore::settle_all(Awaited* latest) {
  Awaited* first = nullptr;
  while (latest != nullptr) {
    Awaited* before = latest->next_;
    latest->next_ = first;
    first = latest;
    latest = before;
  }
  while (first != nullptr) {
    Awaited* following = first->next_;
    Operation::settle(*first);
    first = following;
  }
}

}  // namespace horus::python
