// SPDX-License-Identifier: Apache-2.0
#include <horus/py/loop/operation.hpp>

#include <horus/py/loop/raw_type.hpp>

namespace horus::python {
namespace {

PyTypeObject* operation_type = nullptr;
constexpr std::size_t kMostFree = 256;
Operation* free_operations[kMostFree];  // guarded by the GIL
std::size_t free_count = 0;

void end_wait(Operation* self) {
  Awaited* wait = std::exchange(self->wait, nullptr);
  if (wait == nullptr) return;
  if (self->is_inside) {
    wait->~Awaited();
  } else {
    delete wait;
  }
}

void drop_thrown(Operation* self) {
  Py_CLEAR(self->type);
  Py_CLEAR(self->value);
  Py_CLEAR(self->trace);
}

// The garbage collector knows those that are under way: their loop has a reference to each, and they to their loop.
int visit_operation(PyObject* object, visitproc visit, void* arg) {
  Operation* self = Operation::from(object);
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->loop);
  Py_VISIT(self->future);
  Py_VISIT(self->type);
  Py_VISIT(self->value);
  Py_VISIT(self->trace);
  return 0;
}

void drop_operation(PyObject* object) {
  Operation* self = Operation::from(object);
  end_wait(self);
  drop_thrown(self);
  Py_CLEAR(self->future);
  Py_CLEAR(self->loop);
  PyTypeObject* type = Py_TYPE(object);
  if (free_count < kMostFree) {
    free_operations[free_count++] = self;
  } else {
    type->tp_free(object);
  }
  Py_DECREF(type);
}

// What the task waits for: a Future of the loop, with asyncio's mark that it was awaited.
PyObject* suspend(Operation* self) {
  PyObject* future = self->loop->create_future();
  if (future == nullptr) return nullptr;
  static PyObject* const mark = PyUnicode_InternFromString("_asyncio_future_blocking");
  if (PyObject_SetAttr(future, mark, Py_True) < 0) {
    Py_DECREF(future);
    return nullptr;
  }
  Py_XSETREF(self->future, Py_NewRef(future));
  return future;
}

// The loop keeps what is under way alive.
void go_under_way(Operation* self) {
  self->state = Operation::State::under_way;
  self->list();
  self->loop->touched();
  Py_INCREF(self);
}

PySendResult begin(Operation* self, PyObject** result) {
  if (self->loop->running_reactor("an operation was awaited") == nullptr) return PYGEN_ERROR;
  if (self->wait->start()) {
    self->state = Operation::State::ended;
    return PYGEN_RETURN;
  }
  go_under_way(self);
  *result = suspend(self);
  return *result == nullptr ? PYGEN_ERROR : PYGEN_NEXT;
}

PySendResult finish(Operation* self, PyObject** result) {
  self->state = Operation::State::spent;
  *result = self->wait->take();
  end_wait(self);
  if (self->type !=
      nullptr) {  // what it brought in spite of that was kept by take(), where somebody may want it
    Py_CLEAR(*result);
    PyErr_Restore(std::exchange(self->type, nullptr), std::exchange(self->value, nullptr),
                  std::exchange(self->trace, nullptr));
  }
  return *result == nullptr ? PYGEN_ERROR : PYGEN_RETURN;
}

PySendResult send(PyObject* object, PyObject*, PyObject** result) {
  Operation* self = Operation::from(object);
  *result = nullptr;
  switch (self->state) {
    case Operation::State::fresh: {
      const PySendResult begun = begin(self, result);
      if (begun != PYGEN_RETURN) return begun;
      [[fallthrough]];
    }
    case Operation::State::ended:
      if (self->type != nullptr || self->wait->resume()) return finish(self, result);
      go_under_way(self);
      *result = suspend(self);
      return *result == nullptr ? PYGEN_ERROR : PYGEN_NEXT;
    case Operation::State::under_way:
      *result = suspend(self);
      return *result == nullptr ? PYGEN_ERROR : PYGEN_NEXT;
    case Operation::State::spent: break;
  }
  PyErr_SetString(PyExc_RuntimeError, "an operation can be awaited once");
  return PYGEN_ERROR;
}

// As a generator's: a value is yielded, or StopIteration carries what it returns.
PyObject* as_generator(PySendResult kind, PyObject* result) {
  if (kind == PYGEN_NEXT || kind == PYGEN_ERROR) return result;
  if (result == Py_None) {
    PyErr_SetNone(PyExc_StopIteration);
  } else {
    PyObject* stop = PyObject_CallOneArg(PyExc_StopIteration, result);
    if (stop != nullptr) PyErr_SetObject(PyExc_StopIteration, stop);
    Py_XDECREF(stop);
  }
  Py_DECREF(result);
  return nullptr;
}

PyObject* next(PyObject* self) {
  PyObject* result = nullptr;
  const PySendResult kind = send(self, Py_None, &result);
  return as_generator(kind, result);
}
PyObject* send_method(PyObject* self, PyObject* value) {
  PyObject* result = nullptr;
  const PySendResult kind = send(self, value, &result);
  return as_generator(kind, result);
}

// The exception of throw(type[, value[, traceback]]), as PyErr_Restore takes it.
void set_thrown(PyObject* const* arguments, Py_ssize_t count) {
  PyObject* type = arguments[0];
  PyObject* value = count > 1 && arguments[1] != Py_None ? arguments[1] : nullptr;
  if (PyExceptionInstance_Check(type)) {
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(type)), type);
  } else if (!PyExceptionClass_Check(type)) {
    PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
  } else if (value == nullptr) {
    PyErr_SetNone(type);
  } else {
    PyErr_SetObject(type, value);
  }
}

// It ends before the exception is raised, as it may be using a buffer; whoever only closes does not wait for that.
PyObject* throw_method(PyObject* object, PyObject* const* arguments, Py_ssize_t count) {
  Operation* self = Operation::from(object);
  if (count < 1 || count > 3) {
    PyErr_SetString(PyExc_TypeError, "throw() takes 1 to 3 arguments");
    return nullptr;
  }
  set_thrown(arguments, count);
  if (self->state != Operation::State::under_way) {
    if (self->state == Operation::State::ended) {  // its value goes where a cancelled one's goes
      PyErr_Fetch(&self->type, &self->value, &self->trace);
      self->wait->discard();
      PyObject* result = nullptr;
      static_cast<void>(finish(self, &result));
      return nullptr;
    }
    self->state = Operation::State::spent;
    end_wait(self);
    return nullptr;
  }
  if (self->wait->let_go()) {
    Operation::forget(self);
    return nullptr;
  }
  self->loop->touched();
  if (PyErr_ExceptionMatches(PyExc_GeneratorExit)) {
    Py_CLEAR(self->future);
    return nullptr;
  }
  drop_thrown(self);
  PyErr_Fetch(&self->type, &self->value, &self->trace);
  return suspend(self);
}

PyObject* close_method(PyObject* object, PyObject*) {
  Operation* self = Operation::from(object);
  if (self->state == Operation::State::under_way) {
    if (self->wait->let_go()) {
      Operation::forget(self);
    } else {
      self->loop->touched();
      Py_CLEAR(self->future);
    }
  } else {
    self->state = Operation::State::spent;
    end_wait(self);
  }
  Py_RETURN_NONE;
}

PyMethodDef operation_methods[] = {
    {"send", &send_method, METH_O, "As a coroutine's."},
    {"throw", method(&throw_method), METH_FASTCALL, "As a coroutine's; raises when the operation has ended."},
    {"close", &close_method, METH_NOARGS, "Cancels it, and waits for nothing."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void Operation::adopt(Awaited* awaited) noexcept {
  wait = awaited;
  wait->operation_ = this;
  wait->ended_ = &LoopCore::completed;
}

void Operation::list() noexcept {
  LoopState& owner = *loop->state;
  if (wait->in_kernel()) ++owner.in_flight;
  before = nullptr;
  after = std::exchange(owner.under_way, this);
  if (after != nullptr) after->before = this;
  PyObject_GC_Track(this);
}

void Operation::unlist() noexcept {
  PyObject_GC_UnTrack(this);
  LoopState& owner = *loop->state;
  if (wait->in_kernel()) --owner.in_flight;
  (before != nullptr ? before->after : owner.under_way) = after;
  if (after != nullptr) after->before = before;
}

void Operation::forget(Operation* self) {
  PyObject *type, *value, *trace;  // whoever calls may have an exception set
  PyErr_Fetch(&type, &value, &trace);
  self->unlist();
  self->state = State::spent;
  end_wait(self);
  Py_CLEAR(self->future);
  Py_DECREF(self);
  PyErr_Restore(type, value, trace);
}

void Operation::settle(Awaited& awaited) {
  auto* self = static_cast<Operation*>(awaited.operation_);
  self->state = State::ended;
  self->unlist();
  PyObject* future = std::exchange(self->future, nullptr);
  if (future != nullptr) {
    static PyObject* const set_result = PyUnicode_InternFromString("set_result");
    PyObject* arguments[] = {future, Py_None};
    PyObject* done =
        PyObject_VectorcallMethod(set_result, arguments, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
    if (done == nullptr) PyErr_Clear();  // cancelled already: its task has been told
    Py_XDECREF(done);
    Py_DECREF(future);
  }
  Py_DECREF(self);
}

Operation* new_operation(LoopCore* loop) {
  Operation* self = nullptr;
  if (free_count > 0) {
    self = free_operations[--free_count];
    PyObject_Init(reinterpret_cast<PyObject*>(self), operation_type);
  } else {
    self = PyObject_GC_New(Operation, operation_type);
    if (self == nullptr) return nullptr;
  }
  self->loop = reinterpret_cast<LoopCore*>(Py_NewRef(loop->object()));
  self->wait = nullptr;
  self->future = self->type = self->value = self->trace = nullptr;
  self->state = Operation::State::fresh;
  self->is_inside = false;
  self->tag = 0;
  return self;
}

bool is_operation(PyObject* object) { return Py_TYPE(object) == operation_type; }

PyObject* make_operation(LoopCore* loop, Awaited* awaited) {
  Operation* operation = new_operation(loop);
  if (operation == nullptr) {
    delete awaited;
    return nullptr;
  }
  operation->adopt(awaited);
  return reinterpret_cast<PyObject*>(operation);
}

bool add_operations(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc,
       const_cast<char*>("Awaited once, it begins, and gives its value when it has ended. Cancelled, it ends "
                         "before it raises.")},
      {Py_tp_dealloc, slot(&drop_operation)},
      {Py_tp_traverse, slot(&visit_operation)},
      {Py_tp_iter, slot(&PyObject_SelfIter)},
      {Py_tp_iternext, slot(&next)},
      {Py_am_await, slot(&PyObject_SelfIter)},
      {Py_am_send, slot(&send)},
      {Py_tp_methods, operation_methods},
      {0, nullptr},
  };
  PyType_Spec spec{"horus._core.Operation", sizeof(Operation), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_GC, slots};
  operation_type = add_type(module, spec);
  return operation_type != nullptr;
}

}  // namespace horus::python
