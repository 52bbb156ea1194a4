// SPDX-License-Identifier: Apache-2.0
// A reactor in somebody else's asyncio loop, which watches its descriptor. Operations are those of Horus' own loop; what
// their tasks wait for are the host's futures.
#include <algorithm>
#include <vector>

#include <horus/base/error.hpp>
#include <horus/py/loop/operation.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {
namespace {

std::vector<LoopCore*> attachments;  // guarded by the GIL

PyObject* attach(PyObject* object, PyObject* host) {
  LoopCore* self = LoopCore::from(object);
  LoopState& state = *self->state;
  if (io::Reactor::current() != nullptr || attached_to(host) != nullptr) {
    PyErr_SetString(
        PyExc_RuntimeError,
        "a reactor or a scheduler lives on this thread already; run the other on a thread of its own");
    return nullptr;
  }
  try {
    state.reactor = std::make_unique<io::Reactor>();  // this thread's current one until detach()
    const int fd = state.reactor->poll_fd().or_throw();
    state.thread = horus::detail::thread_state.number;
    state.running = true;
    self->host = Py_NewRef(host);
    attachments.push_back(self);
    return PyLong_FromLong(fd);
  } catch (const Error& error) {
    state.reactor.reset();
    PyErr_SetString(PyExc_OSError, error.message().c_str());
    return nullptr;
  }
}

PyObject* pump(PyObject* object, PyObject*) {
  LoopCore* self = LoopCore::from(object);
  LoopState& state = *self->state;
  state.pump_due = false;
  if (state.reactor == nullptr) Py_RETURN_NONE;  // detached meanwhile
  if (io::Reactor::current() != state.reactor.get()) {
    PyErr_SetString(PyExc_RuntimeError, "this reactor belongs to another thread or to the parent process");
    return nullptr;
  }
  state.pumping = true;
  state.watches.arm(*state.reactor);
  state.reactor->run_once();
  if (state.watches.due()) {
    state.watches.look(state.ready);
    state.watches.arm(*state.reactor);  // again before the host sleeps
    state.reactor->run_once();
  }
  state.pumping = false;
  if (Awaited* latest = std::exchange(state.completed, nullptr)) LoopCore::settle_all(latest);
  if (state.watches.due()) self->touched();
  Py_RETURN_NONE;
}

PyObject* touched(PyObject* object, PyObject*) {
  LoopCore::from(object)->touched();
  Py_RETURN_NONE;
}

// (operation, tag) → the operation
PyObject* mark(PyObject*, PyObject* const* arguments, Py_ssize_t count) {
  if (count != 2 || !is_operation(arguments[0])) {
    PyErr_SetString(PyExc_TypeError, "an operation and a number are needed");
    return nullptr;
  }
  const std::size_t tag = PyLong_AsSize_t(arguments[1]);
  if (tag == static_cast<std::size_t>(-1) && PyErr_Occurred() != nullptr) return nullptr;
  Operation::from(arguments[0])->tag = tag;
  return Py_NewRef(arguments[0]);
}

PyObject* detach(PyObject* object, PyObject*) {
  LoopCore::from(object)->leave_host();
  Py_RETURN_NONE;
}

PyObject* core_of(PyObject*, PyObject* loop) {
  LoopCore* attached = attached_to(loop);
  PyObject* core = is_loop(loop) ? loop : attached == nullptr ? Py_None : attached->object();
  return Py_NewRef(core);
}

PyMethodDef attachment_methods[] = {
    {"_attach", &attach, METH_O, nullptr},
    {"_pump", &pump, METH_NOARGS, nullptr},
    {"_touched", &touched, METH_NOARGS, nullptr},
    {"_detach", &detach, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};

PyMethodDef attachment_functions[] = {
    {"mark", method(&mark), METH_FASTCALL, "Says of which horus.Reactor an operation was asked."},
    {"core_of", &core_of, METH_O, "The loop if it is Horus' own, what is attached to it, or None."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

// (tag, 0: every operation) → a list of the futures that their tasks wait for.
PyObject* cancel_all(PyObject* object, PyObject* whose) {
  LoopCore* self = LoopCore::from(object);
  const std::size_t tag = PyLong_AsSize_t(whose);
  if (tag == static_cast<std::size_t>(-1) && PyErr_Occurred() != nullptr) return nullptr;
  PyObject* futures = PyList_New(0);
  for (Operation* each = self->state->under_way; each != nullptr && futures != nullptr; each = each->after) {
    if (tag != 0 && each->tag != tag) continue;
    each->wait->cancel();
    if (each->future != nullptr && PyList_Append(futures, each->future) < 0) Py_CLEAR(futures);
  }
  self->touched();
  return futures;
}

LoopCore* attached_to(PyObject* loop) {
  const auto found = std::find_if(attachments.begin(), attachments.end(),
                                  [loop](const LoopCore* core) { return core->host == loop; });
  return found == attachments.end() ? nullptr : *found;
}

void LoopCore::leave_host() noexcept {
  if (host == nullptr) return;
  std::erase(attachments, this);
  state->running = false;
  if (io::Reactor::current() == state->reactor.get()) {
    state->pumping = true;
    state->reactor.reset();
    state->pumping = false;
    if (Awaited* latest = std::exchange(state->completed, nullptr)) settle_all(latest);
  } else {
    static_cast<void>(state->reactor.release());  // the parent's, after a fork, or another thread's
  }
  Py_CLEAR(host);
}

void LoopCore::touched() noexcept {
  if (host == nullptr || state->pumping || state->pump_due) return;
  static PyObject* const call_soon = PyUnicode_InternFromString("call_soon");
  static PyObject* const pump_name = PyUnicode_InternFromString("_pump");
  PyObject *type, *value, *trace;  // whoever calls may have an exception set
  PyErr_Fetch(&type, &value, &trace);
  PyObject* turn = PyObject_GetAttr(object(), pump_name);
  PyObject* handle = turn == nullptr ? nullptr : PyObject_CallMethodOneArg(host, call_soon, turn);
  if (handle == nullptr) {
    PyErr_WriteUnraisable(host);
  } else {
    state->pump_due = true;
  }
  Py_XDECREF(handle);
  Py_XDECREF(turn);
  PyErr_Restore(type, value, trace);
}

void touch_running_loop() {
  if (attachments.empty()) return;
  LoopCore* loop = running_loop();
  if (loop == nullptr) return PyErr_Clear();  // nobody waits any more
  loop->touched();
}

bool add_attachments(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("The C++ half of what horus.Reactor attaches to a loop.")},
      {Py_tp_methods, attachment_methods},
      {0, nullptr},
  };
  PyType_Spec spec{"horus._core.AttachedCore", sizeof(LoopCore), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                   slots};
  return add_type(module, spec, loop_type) != nullptr &&
         PyModule_AddFunctions(module, attachment_functions) == 0;
}

}  // namespace horus::python
