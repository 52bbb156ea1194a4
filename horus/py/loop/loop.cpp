// SPDX-License-Identifier: Apache-2.0
#include <horus/py/loop/loop.hpp>

#include <algorithm>
#include <cmath>

#include <horus/base/error.hpp>
#include <horus/py/loop/loop_reactor.hpp>
#include <horus/py/loop/operation.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {

PyTypeObject* loop_type = nullptr;

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

// --- The queue ----------------------------------------------------------------------------------------------------------

bool check_open(LoopCore* self) {
  if (!self->state->closed) return true;
  PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
  return false;
}

// callback, *arguments, context=None as call_soon() has them, after `first` others.
struct Call {
  PyObject* callback = nullptr;
  PyObject* const* arguments = nullptr;
  Py_ssize_t count = 0;
  PyObject* context = nullptr;

  bool parse(const char* name, Py_ssize_t first, PyObject* const* given, Py_ssize_t positional,
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
};

// asyncio's own checks and handles, which know where they were made.
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

// Seconds of the loop's clock as nanoseconds, never early.
std::int64_t to_ns(double seconds) {
  const double ns = std::ceil(seconds * 1e9 - 0.001);
  if (!(ns > -9.2e18)) return INT64_MIN;
  return ns < 9.2e18 ? static_cast<std::int64_t>(ns) : INT64_MAX;
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

double now_seconds() { return static_cast<double>(monotonic_ns()) * 1e-9; }

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
PyObject* call_later(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call_at_or_later(self, "call_later", true, arguments, count, keywords);
}
PyObject* call_at(PyObject* self, PyObject* const* arguments, Py_ssize_t count, PyObject* keywords) {
  return call_at_or_later(self, "call_at", false, arguments, count, keywords);
}

PyObject* time_of_loop(PyObject*, PyObject*) { return PyFloat_FromDouble(now_seconds()); }

PyObject* create_future_method(PyObject* self, PyObject*) { return LoopCore::from(self)->create_future(); }

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

// --- One iteration ------------------------------------------------------------------------------------------------------

// What has ended since the last look, in its order: tasks are woken.
void take_completed(LoopCore* self) {
  Awaited* latest = std::exchange(self->state->completed, nullptr);
  if (latest == nullptr) return;
  LoopCore::settle_all(latest);
}

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

// After a run on a thread that may end: nothing of the loop stays there, unless operations are under way.
PyObject* leave_thread(PyObject* object, PyObject*) {
  LoopState& state = *LoopCore::from(object)->state;
  if (state.reactor && state.in_flight == 0 && !state.running &&
      state.thread == horus::detail::thread_state.number) {
    retire(state);
  }
  Py_RETURN_NONE;
}

PyObject* wake(PyObject* self, PyObject*) {
  LoopState& state = *LoopCore::from(self)->state;
  if (state.sleeping) state.reactor->interrupt();
  Py_RETURN_NONE;
}

PyObject* enqueue(PyObject* self, PyObject* handle) {
  LoopCore::from(self)->push(Py_NewRef(handle));
  Py_RETURN_NONE;
}

PyObject* set_debug_flag(PyObject* self, PyObject* enabled) {
  const int truth = PyObject_IsTrue(enabled);
  if (truth < 0) return nullptr;
  LoopCore::from(self)->state->debug = truth != 0;
  Py_RETURN_NONE;
}

// Asked by every Future and Task that is made.
PyObject* get_debug(PyObject* self, PyObject*) {
  return PyBool_FromLong(LoopCore::from(self)->state->debug ? 1 : 0);
}

// --- add_reader and its relatives ---------------------------------------------------------------------------------------

// As selectors have it: a number, or what int() makes of its fileno(). False with an exception set.
bool to_descriptor(PyObject* object, int& fd) {
  if (PyLong_Check(object)) {
    fd = PyObject_AsFileDescriptor(object);
    return fd >= 0;
  }
  PyObject* told = PyObject_CallMethod(object, "fileno", nullptr);
  PyObject* number = told != nullptr ? PyNumber_Long(told) : nullptr;
  Py_XDECREF(told);
  if (number == nullptr) {
    if (PyErr_ExceptionMatches(PyExc_AttributeError) || PyErr_ExceptionMatches(PyExc_TypeError) ||
        PyErr_ExceptionMatches(PyExc_ValueError))
      PyErr_Format(PyExc_ValueError, "Invalid file object: %R", object);
    return false;
  }
  fd = PyObject_AsFileDescriptor(number);
  Py_DECREF(number);
  return fd >= 0;
}

PyObject* add_watch(PyObject* object, Watches::Side side, PyObject* const* arguments, Py_ssize_t count) {
  LoopCore* self = LoopCore::from(object);
  LoopState& state = *self->state;
  int fd = -1;
  if (count < 2) {
    PyErr_SetString(PyExc_TypeError, "a descriptor and a callback are needed");
    return nullptr;
  }
  if (!check_open(self) || !to_descriptor(arguments[0], fd)) return nullptr;
  PyObject* handle = nullptr;
  if (state.debug) {
    Call call;
    call.callback = arguments[1];
    call.arguments = arguments + 2;
    call.count = count - 2;
    handle = in_debug_mode(self, "_debug_handle", call, nullptr);
  } else {
    Handle* made = make_handle(arguments[1], arguments + 2, count - 2, nullptr);
    if (made != nullptr) made->repeats = true;
    handle = reinterpret_cast<PyObject*>(made);
  }
  if (handle == nullptr) return nullptr;
  if (!state.watches.set(fd, side, handle)) Py_CLEAR(handle);
  return handle;
}
PyObject* add_reader(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return add_watch(self, Watches::kReader, arguments, count);
}
PyObject* add_writer(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return add_watch(self, Watches::kWriter, arguments, count);
}

PyObject* remove_side(PyObject* self, PyObject* descriptor, Watches::Side side) {
  LoopState& state = *LoopCore::from(self)->state;
  if (state.closed) Py_RETURN_FALSE;
  int fd = -1;
  if (!to_descriptor(descriptor, fd)) {
    // A socket that was closed meanwhile has no number any more; asyncio looks for the object itself.
    return nullptr;
  }
  PyObject* handle = state.watches.remove(fd, side);
  if (handle == nullptr) Py_RETURN_FALSE;
  static PyObject* const cancel = PyUnicode_InternFromString("cancel");
  PyObject* done = PyObject_CallMethodNoArgs(handle, cancel);
  Py_DECREF(handle);
  if (done == nullptr) return nullptr;
  Py_DECREF(done);
  Py_RETURN_TRUE;
}
// (reader's handle or None, writer's)
PyObject* watched(PyObject* self, PyObject* descriptor) {
  int fd = -1;
  if (!to_descriptor(descriptor, fd)) return nullptr;
  const Watches& watches = LoopCore::from(self)->state->watches;
  PyObject* reader = watches.handle(fd, Watches::kReader);
  PyObject* writer = watches.handle(fd, Watches::kWriter);
  return Py_BuildValue("(OO)", reader == nullptr ? Py_None : reader, writer == nullptr ? Py_None : writer);
}
PyObject* remove_reader(PyObject* self, PyObject* fd) { return remove_side(self, fd, Watches::kReader); }
PyObject* remove_writer(PyObject* self, PyObject* fd) { return remove_side(self, fd, Watches::kWriter); }

// --- Life ---------------------------------------------------------------------------------------------------------------

void forget_everything(LoopCore* self) {
  LoopState& state = *self->state;
  while (state.ready.size() > 0) Py_DECREF(state.ready.pop());
  while (io::TimerEntry* entry = state.timers.pop_due(io::TimerQueue::kNever)) {
    TimerHandle& timer = TimerHandle::of(*entry);
    timer.timer.unlink();
    timer.loop = nullptr;
    Py_DECREF(&timer);
  }
}

// Operations that use nobody's memory; their tasks are not told, as asyncio's of a closed loop are not.
void forget_waits(LoopState& state) {
  for (Operation* each = state.under_way; each != nullptr;) {
    Operation* following = each->after;
    if (!each->wait->in_kernel() && each->wait->let_go()) {
      Operation::forget(each);
      following = state.under_way;  // what it owned may have ended others
    }
    each = following;
  }
}

// Cancels what is under way and waits for it, as long as the reactor's drain limit allows.
PyObject* close_core(PyObject* object, PyObject*) {
  LoopCore* self = LoopCore::from(object);
  LoopState& state = *self->state;
  if (state.closed) Py_RETURN_NONE;
  Py_INCREF(object);
  if (state.process != this_process()) state.watches.belong_to_parent();
  state.watches.clear();
  forget_waits(state);
  retire(state);
  take_completed(self);
  state.watches.close();
  state.closed = true;
  forget_everything(self);
  end_retired();
  Py_DECREF(object);
  Py_RETURN_NONE;
}

PyObject* new_loop(PyTypeObject* type, PyObject*, PyObject*) {
  auto* self = reinterpret_cast<LoopCore*>(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  if (future_type() == nullptr || task_type() == nullptr || only_loop() == nullptr ||
      cancelled_error() == nullptr) {
    Py_DECREF(self);
    return nullptr;
  }
  self->host = nullptr;
  self->state = new LoopState;
  self->state->process = this_process();
  return reinterpret_cast<PyObject*>(self);
}

// asyncio's own __del__ warns of loops that were not closed, and closes them.
void drop_loop(PyObject* object) {
  PyObject_GC_UnTrack(object);
  LoopCore* self = LoopCore::from(object);
  if (self->state != nullptr) {
    self->leave_host();
    if (self->state->process != this_process()) self->state->watches.belong_to_parent();
    self->state->watches.clear();
    retire(*self->state);
    forget_everything(self);
    delete std::exchange(self->state, nullptr);
  }
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

// Operations that use memory are the reactor's, and keep their loop alive.
int traverse_loop(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  LoopCore* self = LoopCore::from(object);
  Py_VISIT(self->host);
  if (self->state == nullptr) return 0;
  LoopState& state = *self->state;
  for (std::size_t i = 0; i < state.ready.size(); ++i) Py_VISIT(state.ready.at(i));
  int stop = 0;
  state.pending.for_each([&](TimerHandle::Entry& entry) {
    if (stop == 0) stop = visit(reinterpret_cast<PyObject*>(&entry.owner), arg);
  });
  if (stop != 0) return stop;
  for (Operation* each = state.under_way; each != nullptr; each = each->after) {
    if (!each->wait->in_kernel()) Py_VISIT(each);
  }
  return state.watches.visit(visit, arg);
}

int clear_loop(PyObject* object) {
  LoopCore* self = LoopCore::from(object);
  if (self->state == nullptr) return 0;
  forget_waits(*self->state);
  self->state->watches.clear();
  forget_everything(self);
  return 0;
}

PyMethodDef loop_methods[] = {
    {"call_soon", method(&call_soon), METH_FASTCALL | METH_KEYWORDS,
     "call_soon(callback, *args, context=None): with the loop's next iteration."},
    {"call_soon_threadsafe", method(&call_soon_threadsafe), METH_FASTCALL | METH_KEYWORDS,
     "The same from any thread, also from a signal handler; in one order with call_soon()."},
    {"call_later", method(&call_later), METH_FASTCALL | METH_KEYWORDS,
     "call_later(delay, callback, *args, context=None): after `delay` seconds, never early."},
    {"call_at", method(&call_at), METH_FASTCALL | METH_KEYWORDS,
     "call_at(when, callback, *args, context=None): at that time() of the loop, in seconds."},
    {"time", &time_of_loop, METH_NOARGS, "CLOCK_MONOTONIC, in seconds."},
    {"create_future", &create_future_method, METH_NOARGS, "An asyncio.Future of this loop."},
    {"create_task", method(&create_task), METH_FASTCALL | METH_KEYWORDS,
     "create_task(coro, **options): an asyncio.Task that runs the coroutine."},
    {"_run_once", &run_once, METH_NOARGS, nullptr},
    {"_leave_thread", &leave_thread, METH_NOARGS, nullptr},
    {"_write_to_self", &wake, METH_NOARGS, nullptr},
    {"_enqueue", &enqueue, METH_O, nullptr},
    {"get_debug", &get_debug, METH_NOARGS, "Whether it runs in asyncio's debug mode."},
    {"_set_debug_flag", &set_debug_flag, METH_O, nullptr},
    {"_close_core", &close_core, METH_NOARGS, nullptr},
    {"_add_reader", method(&add_reader), METH_FASTCALL, nullptr},
    {"_add_writer", method(&add_writer), METH_FASTCALL, nullptr},
    {"_remove_reader", &remove_reader, METH_O, nullptr},
    {"_remove_writer", &remove_writer, METH_O, nullptr},
    {"_watched", &watched, METH_O, nullptr},
    {"_turn", &turn_method, METH_O, nullptr},
    {"_count_ready", &count_ready, METH_NOARGS, nullptr},
    {"_take_ready", &take_ready, METH_NOARGS, nullptr},
    {"_set_until_stopped", &set_until_stopped, METH_O, nullptr},
    {"sock_recv", method(&sock_recv), METH_FASTCALL,
     "sock_recv(sock, nbytes): at most so many bytes from a non-blocking socket, b'' at the end."},
    {"sock_recv_into", method(&sock_recv_into), METH_FASTCALL,
     "sock_recv_into(sock, buffer): the number of bytes that came; the buffer is held until it has ended."},
    {"sock_sendall", method(&sock_sendall), METH_FASTCALL,
     "sock_sendall(sock, data): sends all of it; the buffer is held until it has ended."},
    {"_open", method(&file_open), METH_FASTCALL, nullptr},
    {"_read", method(&file_read), METH_FASTCALL, nullptr},
    {"_read_into", method(&file_read_into), METH_FASTCALL, nullptr},
    {"_write", method(&file_write), METH_FASTCALL, nullptr},
    {"_sync", method(&file_sync), METH_FASTCALL, nullptr},
    {"_close", method(&file_close), METH_FASTCALL, nullptr},
    {"_read_stream", method(&stream_read), METH_FASTCALL, nullptr},
    {"_read_stream_into", method(&stream_read_into), METH_FASTCALL, nullptr},
    {"_write_stream", method(&stream_write), METH_FASTCALL, nullptr},
    {"_wait_ready", method(&wait_ready), METH_FASTCALL, nullptr},
    {"_cancel_all", &cancel_all, METH_O, nullptr},
    {"_nothing", &no_operation, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void CallbackQueue::grow() {
  std::vector<PyObject*> larger(places_.size() * 2);
  const std::size_t count = size();
  for (std::size_t i = 0; i < count; ++i) larger[i] = at(i);
  places_ = std::move(larger);
  head_ = 0;
  tail_ = count;
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

void LoopCore::forget_timer(TimerHandle& timer) {
  if (timer.loop == nullptr) return;
  LoopCore* loop = std::exchange(timer.loop, nullptr);
  loop->state->timers.cancel(timer.timer);
  timer.timer.unlink();
  Py_DECREF(&timer);
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

PyObject* LoopCore::create_future() {
  PyObject* arguments[] = {host == nullptr ? object() : host};
  return PyObject_Vectorcall(future_type(), arguments, 0, only_loop());
}

void LoopCore::push(PyObject* handle) {
  state->ready.push(handle);
  if (state->sleeping) state->reactor->interrupt();
}

io::Reactor* LoopCore::running_reactor(const char* what) {
  if (state->running && io::Reactor::current() == state->reactor.get()) [[likely]]
    return state->reactor.get();
  PyErr_Format(PyExc_RuntimeError,
               "%s outside of its event loop: await it in a coroutine that this loop runs", what);
  return nullptr;
}

PyObject* cancelled_error() {
  static PyObject* const type = attribute_of("asyncio", "CancelledError");
  return type;
}

LoopCore* running_loop() {
  static PyObject* const get = attribute_of("asyncio", "get_running_loop");
  PyObject* loop = get == nullptr ? nullptr : PyObject_CallNoArgs(get);
  if (loop == nullptr) return nullptr;
  LoopCore* core = is_loop(loop) ? LoopCore::from(loop) : attached_to(loop);
  Py_DECREF(loop);  // it runs, so it lives
  if (core == nullptr)
    PyErr_SetString(PyExc_RuntimeError,
                    "this needs Horus' own event loop (horus.run(main()), or "
                    "loop_factory=horus.new_event_loop), or a reactor in this one: `async with "
                    "horus.Reactor.attach():`");
  return core;
}

bool add_loop(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("The C++ half of horus.EventLoop.")},
      {Py_tp_new, slot(&new_loop)},
      {Py_tp_dealloc, slot(&drop_loop)},
      {Py_tp_traverse, slot(&traverse_loop)},
      {Py_tp_clear, slot(&clear_loop)},
      {Py_tp_methods, loop_methods},
      {0, nullptr},
  };
  PyType_Spec spec{"horus._core.LoopCore", sizeof(LoopCore), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  loop_type = add_type(module, spec);
  return loop_type != nullptr;
}

}  // namespace horus::python
