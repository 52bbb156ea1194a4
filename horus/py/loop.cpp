// SPDX-License-Identifier: Apache-2.0
#include <horus/py/loop.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>

#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <horus/base/error.hpp>
#include <horus/base/log.hpp>
#include <horus/py/operation.hpp>
#include <horus/py/raw_type.hpp>

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

// getpid() is a system call, and each turn asks. The number changes in the child of a fork() alone.
std::atomic<int> process_number{0};
int this_process() noexcept {
  const int known = process_number.load(std::memory_order_relaxed);
  if (known != 0) [[likely]]
    return known;
  static const int watched =
      ::pthread_atfork(nullptr, nullptr, [] { process_number.store(0, std::memory_order_relaxed); });
  const int number = ::getpid();
  if (watched == 0) process_number.store(number, std::memory_order_relaxed);
  return number;
}

// --- Reactors -----------------------------------------------------------------------------------------------------------
// A reactor belongs to its thread, a loop may be run on one and closed on another. Whoever cannot end a reactor leaves it
// here for its thread, which ends it with its next loop; those of threads that are gone stay.

std::mutex retired_mutex;
std::multimap<std::uint64_t, std::unique_ptr<io::Reactor>>& retired() {
  static auto& reactors = *new std::multimap<std::uint64_t, std::unique_ptr<io::Reactor>>;
  return reactors;
}

// Outside of run() no reactor of a loop is the thread's current one.
void end_here(std::unique_ptr<io::Reactor> reactor) {
  const io::CurrentReactor here(reactor.get());
  reactor.reset();
}

void end_retired() {
  while (true) {
    std::unique_ptr<io::Reactor> reactor;
    {
      const std::lock_guard lock(retired_mutex);
      const auto found = retired().find(horus::detail::thread_state.number);
      if (found == retired().end()) return;
      reactor = std::move(found->second);
      retired().erase(found);
    }
    end_here(std::move(reactor));
  }
}

// A watch whose reactor ends on another thread, at a time when the loop may be gone.
void orphan(Watch& watch) {
  watch.unlink();
  watch.complete = [](io::CompletionHandler& handler, std::int32_t, std::uint32_t) noexcept {
    delete &static_cast<Watch&>(handler);
  };
}

void retire(LoopState& state) {
  if (!state.reactor) return;
  if (state.process != this_process()) {  // the parent's: nothing of it may be touched here
    static_cast<void>(state.reactor.release());
    return;
  }
  if (state.thread == horus::detail::thread_state.number) return end_here(std::move(state.reactor));
  state.armed.for_each([](Watch& watch) { orphan(watch); });
  if (state.in_flight > 0) {
    log_error(
        "an event loop was closed on another thread than it ran on, with operations under way: they are "
        "leaked");
    static_cast<void>(state.reactor.release());
    return;
  }
  const std::lock_guard lock(retired_mutex);
  retired().emplace(state.thread, std::move(state.reactor));
}

// False with an exception set: a fork has taken it to a child.
bool is_ours(LoopCore* self) {
  if (self->state->process == this_process()) [[likely]]
    return true;
  PyErr_SetString(PyExc_RuntimeError,
                  "this event loop belongs to the parent process; make a new one after fork()");
  return false;
}

// The reactor of this thread for this loop. False with an exception set.
bool make_reactor(LoopCore* self) {
  LoopState& state = *self->state;
  if (!is_ours(self)) return false;
  if (state.reactor && state.thread == horus::detail::thread_state.number && state.thread != 0) return true;
  if (state.reactor) {
    if (state.in_flight > 0) {
      PyErr_Format(
          PyExc_RuntimeError,
          "%zu operations that were begun on another thread are under way: let the loop run there until they "
          "have ended",
          state.in_flight);
      return false;
    }
    for (auto& both : state.watches) {
      for (Watch*& watch : both) {
        if (watch == nullptr || !watch->armed()) continue;
        auto* fresh =
            new Watch(watch->loop, watch->fd, watch->events);  // the old one belongs to the old ring
        fresh->handle = std::exchange(watch->handle, nullptr);
        watch = fresh;
        state.to_arm.push_back(watch);
      }
    }
    retire(state);
  }
  end_retired();
  try {
    io::Reactor* before = io::Reactor::current();
    const io::CurrentReactor keep(before);  // a new reactor makes itself the current one
    state.reactor = std::make_unique<io::Reactor>();
    state.thread = horus::detail::thread_state.number;
  } catch (const Error& error) {
    PyErr_SetString(PyExc_OSError, error.message().c_str());
    return false;
  }
  return true;
}

// --- Watching descriptors -----------------------------------------------------------------------------------------------

enum Side : std::size_t { kReader = 0, kWriter = 1 };

void arm(Watch& watch) {
  if (watch.armed() || watch.handle == nullptr) return;
  watch.loop.state->armed.push_back(watch);
  if (watch.is_new)
    watch.loop.state->reactor->backend().may_be_another(watch.fd);  // Python closes without us
  watch.is_new = false;
  watch.loop.state->reactor->submit_handler(watch, [&watch](io_uring_sqe& entry) {
    std::uint32_t mask = static_cast<std::uint16_t>(watch.events);
    if constexpr (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__) mask <<= 16;
    entry.opcode = IORING_OP_POLL_ADD;
    entry.fd = watch.fd;
    entry.poll32_events = mask;
  });
}

// Nobody is told any more. Its memory lives until its poll has ended.
bool remove_watch(LoopState& state, int fd, Side side) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= state.watches.size()) return false;
  Watch* watch = std::exchange(state.watches[static_cast<std::size_t>(fd)][side], nullptr);
  if (watch == nullptr) return false;
  PyObject* handle = std::exchange(watch->handle, nullptr);
  std::erase(state.to_arm, watch);
  if (!watch->armed()) {
    if (!watch->fired) delete watch;
  } else if (state.thread == horus::detail::thread_state.number) {
    state.reactor->cancel_handler(*watch);
  }
  static PyObject* const cancel = PyUnicode_InternFromString("cancel");
  PyObject* done = PyObject_CallMethodNoArgs(handle, cancel);
  if (done == nullptr) PyErr_WriteUnraisable(handle);
  Py_XDECREF(done);
  Py_DECREF(handle);
  return true;
}

// Callbacks of descriptors that have become ready join the others.
void take_fired(LoopCore* self) {
  LoopState& state = *self->state;
  for (Watch* watch : state.fired) {
    watch->fired = false;
    if (watch->handle == nullptr) {
      delete watch;
      continue;
    }
    state.ready.push(Py_NewRef(watch->handle));
    state.to_arm.push_back(watch);
  }
  state.fired.clear();
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
  auto* handle = reinterpret_cast<Handle*>(object);
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
  if (!fine) fine = report_failure(self, object);
  if (!handle->repeats) forget_callback(handle);
  return fine;
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

bool iterate(LoopCore* self) {
  LoopState& state = *self->state;
  io::Reactor& reactor = *state.reactor;
  for (Watch* watch : state.to_arm) arm(*watch);
  state.to_arm.clear();
  bool at_once = state.ready.size() > 0 || state.completed != nullptr || !state.fired.empty();
  if (!at_once && !is_stopping(self, at_once)) return false;
  if (at_once) {
    if (!reactor.nothing_to_take()) reactor.run_once();
  } else if (!wait(self, state.timers.next_deadline())) {
    return false;
  }
  take_completed(self);
  take_fired(self);
  take_due_timers(self);
  for (std::size_t todo = state.ready.size(); todo > 0; --todo) {
    PyObject* handle = state.ready.pop();
    const bool fine = run_handle(self, handle);
    Py_DECREF(handle);
    if (!fine) return false;
  }
  return true;
}

// asyncio's run_forever() calls it until the loop is stopping: so it goes on until then by itself.
PyObject* run_once(PyObject* object, PyObject*) {
  LoopCore* self = LoopCore::from(object);
  if (!check_open(self) || !make_reactor(self)) return nullptr;
  bool fine = false;
  bool stopping = false;
  {
    const io::CurrentReactor here(self->state->reactor.get());
    const bool before = std::exchange(self->state->running, true);
    do {
      fine = is_ours(self) && iterate(self) && is_stopping(self, stopping);
    } while (fine && !stopping);
    self->state->running = before;
  }
  if (!fine) return nullptr;
  Py_RETURN_NONE;
}

// After a run on a thread that may end: nothing of the loop stays there, unless operations are under way.
PyObject* leave_thread(PyObject* object, PyObject*) {
  LoopState& state = *LoopCore::from(object)->state;
  if (state.reactor && state.in_flight == 0 && !state.running &&
      state.thread == horus::detail::thread_state.number) {
    for (auto& both : state.watches) {
      for (Watch* watch : both) {
        if (watch != nullptr && watch->armed()) state.to_arm.push_back(watch);
      }
    }
    retire(state);  // ends every poll
    for (Watch* watch : state.fired) {
      watch->fired = false;
      if (watch->handle == nullptr) delete watch;
    }
    state.fired.clear();
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

// As selectors have it: a number, or what int() makes of its fileno().
bool to_descriptor(PyObject* object, int& fd) {
  fd = PyObject_AsFileDescriptor(object);
  if (fd >= 0) return true;
  if (!PyErr_ExceptionMatches(PyExc_TypeError) || PyObject_HasAttrString(object, "fileno") == 0) return false;
  PyErr_Clear();
  PyObject* told = PyObject_CallMethod(object, "fileno", nullptr);
  PyObject* number = told != nullptr ? PyNumber_Long(told) : nullptr;
  Py_XDECREF(told);
  if (number == nullptr) return false;
  fd = PyObject_AsFileDescriptor(number);
  Py_DECREF(number);
  return fd >= 0;
}

PyObject* add_watch(PyObject* object, Side side, PyObject* const* arguments, Py_ssize_t count) {
  LoopCore* self = LoopCore::from(object);
  LoopState& state = *self->state;
  int fd = -1;
  if (count < 2) {
    PyErr_SetString(PyExc_TypeError, "a descriptor and a callback are needed");
    return nullptr;
  }
  if (!check_open(self) || !to_descriptor(arguments[0], fd)) return nullptr;
  struct stat status{};
  if (::fstat(fd, &status) < 0) return PyErr_SetFromErrno(PyExc_OSError);
  if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode)) {  // always ready: what epoll refuses too
    errno = EPERM;
    return PyErr_SetFromErrno(PyExc_OSError);
  }
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
  remove_watch(state, fd, side);
  if (static_cast<std::size_t>(fd) >= state.watches.size())
    state.watches.resize(static_cast<std::size_t>(fd) + 16);
  auto* watch = new Watch(*self, fd, side == kReader ? POLLIN : POLLOUT);
  watch->handle = Py_NewRef(handle);
  state.watches[static_cast<std::size_t>(fd)][side] = watch;
  state.to_arm.push_back(watch);
  return handle;
}
PyObject* add_reader(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return add_watch(self, kReader, arguments, count);
}
PyObject* add_writer(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return add_watch(self, kWriter, arguments, count);
}

PyObject* remove_side(PyObject* self, PyObject* descriptor, Side side) {
  LoopState& state = *LoopCore::from(self)->state;
  if (state.closed) Py_RETURN_FALSE;
  int fd = -1;
  if (!to_descriptor(descriptor, fd)) {
    // A socket that was closed meanwhile has no number any more; asyncio looks for the object itself.
    return nullptr;
  }
  return PyBool_FromLong(remove_watch(state, fd, side) ? 1 : 0);
}
// A cancelled poll keeps its socket open until the kernel has seen the cancellation; a listener's port would stay taken.
PyObject* submit_now(PyObject* self, PyObject*) {
  LoopState& state = *LoopCore::from(self)->state;
  if (state.reactor && state.thread == horus::detail::thread_state.number) state.reactor->submit_now();
  Py_RETURN_NONE;
}
PyObject* remove_reader(PyObject* self, PyObject* fd) { return remove_side(self, fd, kReader); }
PyObject* remove_writer(PyObject* self, PyObject* fd) { return remove_side(self, fd, kWriter); }

// --- Life ---------------------------------------------------------------------------------------------------------------

void forget_everything(LoopCore* self) {
  LoopState& state = *self->state;
  while (state.ready.size() > 0) Py_DECREF(state.ready.pop());
  while (io::TimerEntry* entry = state.timers.pop_due(io::TimerQueue::kNever)) {
    TimerHandle& timer = TimerHandle::of(*entry);
    timer.loop = nullptr;
    Py_DECREF(&timer);
  }
}

// Cancels what is under way and waits for it, as long as the reactor's drain limit allows.
PyObject* close_core(PyObject* object, PyObject*) {
  LoopCore* self = LoopCore::from(object);
  LoopState& state = *self->state;
  if (state.closed) Py_RETURN_NONE;
  for (std::size_t fd = 0; fd < state.watches.size(); ++fd) {
    remove_watch(state, static_cast<int>(fd), kReader);
    remove_watch(state, static_cast<int>(fd), kWriter);
  }
  Py_INCREF(object);
  retire(state);
  take_completed(self);
  take_fired(self);
  state.closed = true;
  forget_everything(self);
  Py_CLEAR(self->kept);
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
  self->kept = self->host = nullptr;
  self->state = new LoopState;
  self->state->process = this_process();
  return reinterpret_cast<PyObject*>(self);
}

// asyncio's own __del__ warns of loops that were not closed, and closes them.
void drop_loop(PyObject* object) {
  PyObject_GC_UnTrack(object);
  LoopCore* self = LoopCore::from(object);
  if (self->state != nullptr) {
    Py_CLEAR(self->kept);
    self->leave_host();
    retire(*self->state);
    forget_everything(self);
    delete std::exchange(self->state, nullptr);
  }
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

int traverse(PyObject* object, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(object));
  LoopCore* self = LoopCore::from(object);
  Py_VISIT(self->kept);
  Py_VISIT(self->host);
  if (self->state == nullptr) return 0;
  for (std::size_t i = 0; i < self->state->ready.size(); ++i) {
    PyObject* handle = self->state->ready.at(i);
    if (is_handle(handle)) {
      const int stop = visit_handle(reinterpret_cast<Handle*>(handle), visit, arg);
      if (stop != 0) return stop;
    } else {
      Py_VISIT(handle);
    }
  }
  return 0;
}

int clear(PyObject* object) {
  LoopCore* self = LoopCore::from(object);
  Py_CLEAR(self->kept);
  if (self->state != nullptr) forget_everything(self);
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
    {"_submit_now", &submit_now, METH_NOARGS, nullptr},
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
    {"_poll", method(&poll_descriptor), METH_FASTCALL, nullptr},
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

Watch::Watch(LoopCore& owner, int descriptor, short what) noexcept
    : loop(owner), fd(descriptor), events(what) {
  complete = [](io::CompletionHandler& handler, std::int32_t result, std::uint32_t) noexcept {
    auto& watch = static_cast<Watch&>(handler);
    watch.unlink();
    if (result == -ECANCELED && watch.handle != nullptr)
      return;  // its reactor ends; armed anew by the next one
    watch.fired = true;
    watch.loop.state->fired.push_back(&watch);
  };
}

void LoopCore::forget_timer(TimerHandle& timer) {
  if (timer.loop == nullptr) return;
  LoopCore* loop = std::exchange(timer.loop, nullptr);
  loop->state->timers.cancel(timer.timer);
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
      {Py_tp_traverse, slot(&traverse)},
      {Py_tp_clear, slot(&clear)},
      {Py_tp_methods, loop_methods},
      {0, nullptr},
  };
  PyType_Spec spec{"horus._core.LoopCore", sizeof(LoopCore), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots};
  loop_type = add_type(module, spec);
  return loop_type != nullptr;
}

}  // namespace horus::python
