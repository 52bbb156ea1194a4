// SPDX-License-Identifier: Apache-2.0
#include <horus/py/loop/loop.hpp>

#include <utility>

#include <horus/base/error.hpp>
#include <horus/py/loop/loop_methods.hpp>
#include <horus/py/loop/loop_reactor.hpp>
#include <horus/py/loop/operation.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {

PyTypeObject* loop_type = nullptr;

namespace {

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
  if (!find_asyncio() || cancelled_error() == nullptr) {
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

bool check_open(LoopCore* self) {
  if (!self->state->closed) return true;
  PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
  return false;
}

void CallbackQueue::grow() {
  std::vector<PyObject*> larger(places_.size() * 2);
  const std::size_t count = size();
  for (std::size_t i = 0; i < count; ++i) larger[i] = at(i);
  places_ = std::move(larger);
  head_ = 0;
  tail_ = count;
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
