// SPDX-License-Identifier: Apache-2.0
// Callbacks, timers, futures and tasks of a loop: see loop_methods.hpp.
#include <algorithm>
#include <cmath>

#include <horus/py/loop/loop_methods.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {

namespace {

// asyncio's own, looked up once. The GIL guards them.
PyObject* future_type() {
  static PyObject* const type = attribute_of("asyncio", "Future");
  return type;
}
PyObject* task_type() {
  static PyObject* const type = attribute_of("asyncio", "Task");
  return type;
}
PyObject* only_loop() {  // the keyword that makes a Future
  static PyObject* const names = Py_BuildValue("(s)", "loop");
  return names;
}

PyObject* add_timer(LoopCore* self, const Call& call, double when) {
  LoopState& state = *self->state;
  PyObject* stands_for = nullptr;
  if (state.debug) [[unlikely]] {
    PyObject* at = PyFloat_FromDouble(when);
    if (at == nullptr) return nullptr;
    stands_for = in_debug_mode(self, "_debug_call_at", call, at);
    Py_DECREF(at);
    if (stands_for == nullptr) return nullptr;
  }
  // One that stands for asyncio's own keeps nothing of the call: a cancelled one lets go of it, this one stays until then.
  TimerHandle* timer = stands_for == nullptr
                           ? make_timer_handle(call.callback, call.arguments, call.count, call.context, when)
                           : make_timer_handle(Py_None, nullptr, 0, call.context, when);
  if (timer == nullptr) {
    Py_XDECREF(stands_for);
    return nullptr;
  }
  timer->loop = self;
  timer->stands_for = stands_for;
  Py_INCREF(timer);
  state.timers.insert(timer->timer, to_ns(when));
  state.pending.push_back(timer->timer);
  if (stands_for == nullptr) return reinterpret_cast<PyObject*>(timer);
  Py_DECREF(timer);  // the queue has it
  return Py_NewRef(stands_for);
}

PyObject* call_at_or_later(PyObject* object, const char* name, bool later, PyObject* const* arguments,
                           Py_ssize_t count, PyObject* keywords) {
  LoopCore* self = LoopCore::from(object);
  Call call;
  if (!call.parse(name, 1, arguments, count, keywords)) return nullptr;
  if (arguments[0] == Py_None) {
    PyErr_SetString(PyExc_TypeError, later ? "delay must not be None" : "when cannot be None");
    return nullptr;
  }
  const double time = PyFloat_AsDouble(arguments[0]);
  if ((time == -1.0 && PyErr_Occurred() != nullptr) || !check_open(self)) return nullptr;
  if (std::isnan(time)) {
    PyErr_Format(PyExc_ValueError, "%s() needs a time, not NaN", name);
    return nullptr;
  }
  return add_timer(self, call, later ? now_seconds() + time : time);
}

// Whether tasks are made by somebody else, or in debug mode: asyncio's longer way. -1: an exception is set.
int makes_tasks_slowly(LoopCore* self) {
  static PyObject* const name = PyUnicode_InternFromString("_task_factory");
  if (self->state->debug) return 1;
  PyObject* factory = PyObject_GetAttr(self->object(), name);
  if (factory == nullptr) return -1;
  const int made_elsewhere = factory == Py_None ? 0 : 1;
  Py_DECREF(factory);
  return made_elsewhere;
}

}  // namespace

bool Call::parse(const char* name, Py_ssize_t first, PyObject* const* given, Py_ssize_t positional,
                 PyObject* keywords) {
  if (positional <= first) {
    PyErr_Format(PyExc_TypeError, "%s() needs a callback", name);
    return false;
  }
  callback = given[first];
  arguments = given + first + 1;
  count = positional - first - 1;
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* keyword = PyTuple_GET_ITEM(keywords, i);
    if (PyUnicode_CompareWithASCIIString(keyword, "context") != 0) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", name, keyword);
      return false;
    }
    context = given[positional + i];
  }
  return true;
}

PyObject* in_debug_mode(LoopCore* self, const char* method_name, const Call& call, PyObject* when) {
  PyObject* arguments = PyTuple_New(call.count);
  if (arguments == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < call.count; ++i) PyTuple_SET_ITEM(arguments, i, Py_NewRef(call.arguments[i]));
  PyObject* context = call.context == nullptr ? Py_None : call.context;
  PyObject* handle =
      when == nullptr
          ? PyObject_CallMethod(self->object(), method_name, "OOO", call.callback, arguments, context)
          : PyObject_CallMethod(self->object(), method_name, "OOOO", when, call.callback, arguments, context);
  Py_DECREF(arguments);
  return handle;
}

PyObject* call_soon(PyObject* object, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  LoopCore* self = LoopCore::from(object);
  Call call;
  if (!call.parse("call_soon", 0, arguments, count, keywords) || !check_open(self)) return nullptr;
  if (self->state->debug) [[unlikely]] {
    PyObject* handle = in_debug_mode(self, "_debug_call_soon", call, nullptr);
    if (handle != nullptr) self->state->ready.push(Py_NewRef(handle));
    return handle;
  }
  auto* handle =
      reinterpret_cast<PyObject*>(make_handle(call.callback, call.arguments, call.count, call.context));
  if (handle != nullptr) self->state->ready.push(Py_NewRef(handle));
  return handle;
}

PyObject* call_soon_threadsafe(PyObject* object, PyObject* const* arguments, Py_ssize_t count,
                               PyObject* keywords) {
  LoopCore* self = LoopCore::from(object);
  Call call;
  if (!call.parse("call_soon_threadsafe", 0, arguments, count, keywords) || !check_open(self)) return nullptr;
  PyObject* handle =
      self->state->debug
          ? in_debug_mode(self, "_debug_call_soon_threadsafe", call, nullptr)
          : reinterpret_cast<PyObject*>(make_handle(call.callback, call.arguments, call.count, call.context));
  if (handle != nullptr) self->push(Py_NewRef(handle));
  return handle;
}

std::int64_t to_ns(double seconds) {
  const double ns = std::ceil(seconds * 1e9 - 0.001);
  if (!(ns > -9.2e18)) return INT64_MIN;
  return ns < 9.2e18 ? static_cast<std::int64_t>(ns) : INT64_MAX;
}

double now_seconds() { return static_cast<double>(monotonic_ns()) * 1e-9; }

PyObject* call_later(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call_at_or_later(self, "call_later", true, arguments, count, keywords);
}
PyObject* call_at(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call_at_or_later(self, "call_at", false, arguments, count, keywords);
}

PyObject* time_of_loop(PyObject*, PyObject*) { return PyFloat_FromDouble(now_seconds()); }

PyObject* create_future_method(PyObject* self, PyObject*) { return LoopCore::from(self)->create_future(); }

bool find_asyncio() { return future_type() != nullptr && task_type() != nullptr && only_loop() != nullptr; }

PyObject* create_task(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  if (count != 1) {
    PyErr_Format(PyExc_TypeError, "create_task() takes one coroutine, not %zd arguments", count);
    return nullptr;
  }
  LoopCore* loop = LoopCore::from(self);
  if (!check_open(loop)) return nullptr;
  const int slowly = makes_tasks_slowly(loop);
  if (slowly < 0) return nullptr;
  if (slowly > 0) {
    static PyObject* const name = PyUnicode_InternFromString("_create_task_slowly");
    std::vector<PyObject*> all{self};
    all.insert(all.end(), arguments,
               arguments + count + (keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords)));
    return PyObject_VectorcallMethod(name, all.data(), static_cast<std::size_t>(count) + 1, keywords);
  }
  const Py_ssize_t named = keywords == nullptr ? 0 : PyTuple_GET_SIZE(keywords);
  if (named == 0) {
    PyObject* all[] = {arguments[0], self};
    return PyObject_Vectorcall(task_type(), all, 1, only_loop());
  }
  std::vector<PyObject*> all(arguments, arguments + 1 + named);
  all.push_back(self);
  PyObject* names = PyTuple_New(named + 1);
  if (names == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < named; ++i) PyTuple_SET_ITEM(names, i, Py_NewRef(PyTuple_GET_ITEM(keywords, i)));
  PyTuple_SET_ITEM(names, named, PyUnicode_InternFromString("loop"));
  PyObject* task = PyObject_Vectorcall(task_type(), all.data(), 1, names);
  Py_DECREF(names);
  return task;
}

void LoopCore::forget_timer(TimerHandle& timer) {
  if (timer.loop == nullptr) return;
  LoopCore* loop = std::exchange(timer.loop, nullptr);
  loop->state->timers.cancel(timer.timer);
  timer.timer.unlink();
  Py_DECREF(&timer);
}

PyObject* LoopCore::create_future() {
  PyObject* arguments[] = {host == nullptr ? object() : host};
  return PyObject_Vectorcall(future_type(), arguments, 0, only_loop());
}

void LoopCore::push(PyObject* handle) {
  state->ready.push(handle);
  if (state->sleeping) state->reactor->interrupt();
}

}  // namespace horus::python
