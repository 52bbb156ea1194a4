// SPDX-License-Identifier: Apache-2.0
#include <horus/py/loop/handle.hpp>

#include <array>
#include <cstddef>
#include <new>

#include <structmember.h>

#include <horus/py/loop/loop.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {

PyTypeObject* handle_type = nullptr;
PyTypeObject* timer_handle_type = nullptr;

namespace {

// What was freed last is made again next. Guarded by the GIL.
template <class T>
struct FreeList {
  static constexpr std::size_t kMost = 256;
  std::array<T*, kMost> objects{};
  std::size_t count = 0;
};
FreeList<Handle> free_handles;
FreeList<TimerHandle> free_timers;

template <class T>
T* allocate(PyTypeObject* type, FreeList<T>& free) {
  if (free.count > 0) {
    T* object = free.objects[--free.count];
    return reinterpret_cast<T*>(PyObject_Init(reinterpret_cast<PyObject*>(object), type));
  }
  return PyObject_GC_New(T, type);
}

template <class T>
void release(PyObject* self, FreeList<T>& free) {
  PyTypeObject* type = Py_TYPE(self);
  if (free.count < free.kMost) {
    free.objects[free.count++] = reinterpret_cast<T*>(self);
  } else {
    type->tp_free(self);
  }
  Py_DECREF(type);
}

bool fill(Handle* handle, PyObject* callback, PyObject* const* arguments, Py_ssize_t count,
          PyObject* context) {
  handle->cancelled = handle->repeats = false;
  handle->callback = Py_NewRef(callback);
  handle->count = count;
  handle->many = nullptr;
  handle->weak_references = nullptr;
  if (count > Handle::kInline) {
    handle->many = PyTuple_New(count);
    if (handle->many == nullptr) handle->count = 0;
    for (Py_ssize_t i = 0; handle->many != nullptr && i < count; ++i)
      PyTuple_SET_ITEM(handle->many, i, Py_NewRef(arguments[i]));
  } else {
    for (Py_ssize_t i = 0; i < count; ++i) handle->arguments[i] = Py_NewRef(arguments[i]);
  }
  handle->context = context == nullptr || context == Py_None ? PyContext_CopyCurrent() : Py_NewRef(context);
  return handle->context != nullptr && handle->count == count;
}

Handle* as_handle(PyObject* self) { return reinterpret_cast<Handle*>(self); }
TimerHandle* as_timer(PyObject* self) { return reinterpret_cast<TimerHandle*>(self); }

PyObject* cancel(PyObject* self, PyObject*) {
  Handle* handle = as_handle(self);
  if (handle->cancelled) Py_RETURN_NONE;
  handle->cancelled = true;
  forget_callback(handle);
  if (Py_TYPE(self) == timer_handle_type) LoopCore::forget_timer(*as_timer(self));
  Py_RETURN_NONE;
}

PyObject* is_cancelled(PyObject* self, PyObject*) { return PyBool_FromLong(as_handle(self)->cancelled); }
PyObject* get_cancelled(PyObject* self, void*) { return PyBool_FromLong(as_handle(self)->cancelled); }

PyObject* get_context(PyObject* self, PyObject*) {
  PyObject* context = as_handle(self)->context;
  return Py_NewRef(context != nullptr ? context : Py_None);
}

PyObject* get_callback(PyObject* self, void*) {
  PyObject* callback = as_handle(self)->callback;
  return Py_NewRef(callback != nullptr ? callback : Py_None);
}

PyObject* get_arguments(PyObject* self, void*) {
  Handle* handle = as_handle(self);
  if (handle->callback == nullptr) Py_RETURN_NONE;
  if (handle->many != nullptr) return Py_NewRef(handle->many);
  PyObject* tuple = PyTuple_New(handle->count);
  for (Py_ssize_t i = 0; tuple != nullptr && i < handle->count; ++i)
    PyTuple_SET_ITEM(tuple, i, Py_NewRef(handle->arguments[i]));
  return tuple;
}

PyObject* when(PyObject* self, PyObject*) { return PyFloat_FromDouble(as_timer(self)->when); }

PyObject* represent(PyObject* self) {
  Handle* handle = as_handle(self);
  const char* state = handle->cancelled ? " cancelled" : "";
  if (handle->callback == nullptr) return PyUnicode_FromFormat("<%s%s>", raw_name(self), state);
  if (Py_TYPE(self) == timer_handle_type) {
    PyObject* at = PyFloat_FromDouble(as_timer(self)->when);
    if (at == nullptr) return nullptr;
    PyObject* text = PyUnicode_FromFormat("<%s%s when=%R %R>", raw_name(self), state, at, handle->callback);
    Py_DECREF(at);
    return text;
  }
  return PyUnicode_FromFormat("<%s%s %R>", raw_name(self), state, handle->callback);
}

// asyncio's own class, which they stand for.
PyObject* asyncio_class(PyObject* self, void*) {
  static PyObject* const plain = attribute_of("asyncio", "Handle");
  static PyObject* const timed = attribute_of("asyncio", "TimerHandle");
  return Py_XNewRef(Py_TYPE(self) == timer_handle_type ? timed : plain);
}

PyObject* get_loop(PyObject*, void*) {
  LoopCore* loop = running_loop();
  if (loop == nullptr) {
    PyErr_Clear();
    Py_RETURN_NONE;
  }
  return Py_NewRef(loop->object());
}
PyObject* get_nothing(PyObject*, void*) { Py_RETURN_NONE; }
PyObject* get_context_attribute(PyObject* self, void*) { return get_context(self, nullptr); }
PyObject* get_when(PyObject* self, void*) { return when(self, nullptr); }
PyObject* get_scheduled(PyObject* self, void*) { return PyBool_FromLong(as_timer(self)->loop != nullptr); }

// What asyncio's loop, and programs that do its work, call.
PyObject* run_callback(PyObject* self, PyObject*) {
  LoopCore* loop = running_loop();
  if (loop == nullptr) return nullptr;
  if (loop->host != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "a handle of Horus' event loop runs in that loop");
    return nullptr;
  }
  if (!LoopCore::run_by_hand(loop, as_handle(self))) return nullptr;
  Py_RETURN_NONE;
}

// In the order of their times, as asyncio's.
PyObject* compare(PyObject* self, PyObject* other, int how) {
  if (Py_TYPE(other) != timer_handle_type) Py_RETURN_NOTIMPLEMENTED;
  if (how == Py_EQ || how == Py_NE) return PyBool_FromLong((self == other) == (how == Py_EQ));
  const double mine = as_timer(self)->when;
  const double its = as_timer(other)->when;
  Py_RETURN_RICHCOMPARE(mine, its, how);
}
Py_hash_t hash(PyObject* self) { return _Py_HashPointer(self); }

int visit(PyObject* self, visitproc visit, void* arg) {
  Handle* handle = as_handle(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(handle->callback);
  Py_VISIT(handle->many);
  if (handle->callback != nullptr && handle->many == nullptr) {
    for (Py_ssize_t i = 0; i < handle->count; ++i) Py_VISIT(handle->arguments[i]);
  }
  Py_VISIT(handle->context);
  if (Py_TYPE(self) == timer_handle_type) Py_VISIT(as_timer(self)->stands_for);
  return 0;
}

int clear_handle(PyObject* self) {
  forget_callback(as_handle(self));
  return 0;
}

void let_go(PyObject* self) {
  PyObject_GC_UnTrack(self);
  if (as_handle(self)->weak_references != nullptr) PyObject_ClearWeakRefs(self);
  forget_callback(as_handle(self));
}

void drop_handle(PyObject* self) {
  let_go(self);
  release(self, free_handles);
}

void drop_timer(PyObject* self) {
  TimerHandle* timer = as_timer(self);
  let_go(self);
  Py_CLEAR(timer->stands_for);
  timer->timer.~Entry();
  release(self, free_timers);
}

PyMethodDef handle_methods[] = {
    {"cancel", &cancel, METH_NOARGS, "Does not call it any more."},
    {"cancelled", &is_cancelled, METH_NOARGS, "Whether it was cancelled."},
    {"get_context", &get_context, METH_NOARGS, "The context that it runs in."},
    {"_run", &run_callback, METH_NOARGS, nullptr},
    {nullptr, nullptr, 0, nullptr},
};
PyMethodDef timer_methods[] = {
    {"cancel", &cancel, METH_NOARGS, "Does not call it any more."},
    {"cancelled", &is_cancelled, METH_NOARGS, "Whether it was cancelled."},
    {"get_context", &get_context, METH_NOARGS, "The context that it runs in."},
    {"_run", &run_callback, METH_NOARGS, nullptr},
    {"when", &when, METH_NOARGS, "The time of the loop's clock when it runs, in seconds."},
    {nullptr, nullptr, 0, nullptr},
};
// The attributes of asyncio's that programs look at.
#define HORUS_ATTRIBUTES_OF_HANDLES                                    \
  {"__class__", &asyncio_class, nullptr, nullptr, nullptr},            \
      {"_cancelled", &get_cancelled, nullptr, nullptr, nullptr},       \
      {"_callback", &get_callback, nullptr, nullptr, nullptr},         \
      {"_args", &get_arguments, nullptr, nullptr, nullptr},            \
      {"_context", &get_context_attribute, nullptr, nullptr, nullptr}, \
      {"_loop", &get_loop, nullptr, nullptr, nullptr}, {               \
    "_source_traceback", &get_nothing, nullptr, nullptr, nullptr       \
  }
PyGetSetDef members[] = {
    HORUS_ATTRIBUTES_OF_HANDLES,
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
PyGetSetDef timer_members[] = {
    HORUS_ATTRIBUTES_OF_HANDLES,
    {"_when", &get_when, nullptr, nullptr, nullptr},
    {"_scheduled", &get_scheduled, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};
#undef HORUS_ATTRIBUTES_OF_HANDLES
PyMemberDef weakly_referable[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Handle, weak_references), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr},
};

}  // namespace

bool add_handles(PyObject* module) {
  PyType_Slot handle_slots[] = {
      {Py_tp_doc,
       const_cast<char*>("What call_soon() gives: cancel() keeps the callback from being called.")},
      {Py_tp_dealloc, slot(&drop_handle)},
      {Py_tp_repr, slot(&represent)},
      {Py_tp_methods, handle_methods},
      {Py_tp_getset, members},
      {Py_tp_members, weakly_referable},
      {Py_tp_traverse, slot(&visit)},
      {Py_tp_clear, slot(&clear_handle)},
      {0, nullptr},
  };
  PyType_Slot timer_slots[] = {
      {Py_tp_doc, const_cast<char*>("What call_later() and call_at() give.")},
      {Py_tp_dealloc, slot(&drop_timer)},
      {Py_tp_repr, slot(&represent)},
      {Py_tp_methods, timer_methods},
      {Py_tp_getset, timer_members},
      {Py_tp_members, weakly_referable},
      {Py_tp_traverse, slot(&visit)},
      {Py_tp_clear, slot(&clear_handle)},
      {Py_tp_richcompare, slot(&compare)},
      {Py_tp_hash, slot(&hash)},
      {0, nullptr},
  };
  constexpr unsigned kFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_HAVE_GC;
  PyType_Spec handle_spec{"horus._core.Handle", sizeof(Handle), 0, kFlags, handle_slots};
  PyType_Spec timer_spec{"horus._core.TimerHandle", sizeof(TimerHandle), 0, kFlags, timer_slots};
  handle_type = add_type(module, handle_spec);
  timer_handle_type = handle_type == nullptr ? nullptr : add_type(module, timer_spec);
  return timer_handle_type != nullptr;
}

Handle* make_handle(PyObject* callback, PyObject* const* arguments, Py_ssize_t count, PyObject* context) {
  Handle* handle = allocate(handle_type, free_handles);
  if (handle == nullptr) return nullptr;
  if (!fill(handle, callback, arguments, count, context)) {
    Py_DECREF(handle);
    return nullptr;
  }
  PyObject_GC_Track(handle);
  return handle;
}

TimerHandle* make_timer_handle(PyObject* callback, PyObject* const* arguments, Py_ssize_t count,
                               PyObject* context, double when) {
  TimerHandle* timer = allocate(timer_handle_type, free_timers);
  if (timer == nullptr) return nullptr;
  new (&timer->timer) TimerHandle::Entry(*timer);
  timer->loop = nullptr;
  timer->stands_for = nullptr;
  timer->when = when;
  if (!fill(&timer->handle, callback, arguments, count, context)) {
    Py_DECREF(timer);
    return nullptr;
  }
  PyObject_GC_Track(timer);
  return timer;
}

PyObject* call_handle(Handle* handle) {
  // The callback may cancel its own handle: what is called belongs to this call.
  PyObject* callback = Py_NewRef(handle->callback);
  PyObject* result = nullptr;
  if (handle->many != nullptr) {
    PyObject* many = Py_NewRef(handle->many);
    result = PyObject_Call(callback, many, nullptr);
    Py_DECREF(many);
  } else {
    PyObject* arguments[1 + Handle::kInline];  // the first place is for a bound method's self
    const Py_ssize_t count = handle->count;
    for (Py_ssize_t i = 0; i < count; ++i) arguments[1 + i] = Py_NewRef(handle->arguments[i]);
    result = PyObject_Vectorcall(callback, arguments + 1,
                                 static_cast<std::size_t>(count) | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
    for (Py_ssize_t i = 0; i < count; ++i) Py_DECREF(arguments[1 + i]);
  }
  Py_DECREF(callback);
  return result;
}

void forget_callback(Handle* handle) {
  PyObject* callback = handle->callback;
  if (callback == nullptr) return;
  handle->callback = nullptr;
  PyObject* many = handle->many;
  handle->many = nullptr;
  const Py_ssize_t count = many == nullptr ? handle->count : 0;
  handle->count = 0;
  PyObject* context = handle->context;
  handle->context = nullptr;
  for (Py_ssize_t i = 0; i < count; ++i) Py_DECREF(handle->arguments[i]);
  Py_XDECREF(many);
  Py_XDECREF(context);
  Py_DECREF(callback);
}

}  // namespace horus::python
