// SPDX-License-Identifier: Apache-2.0
// add_reader and its relatives: see loop_methods.hpp.
#include <horus/py/loop/loop_methods.hpp>

namespace horus::python {

namespace {

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

}  // namespace

PyObject* add_reader(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return add_watch(self, Watches::kReader, arguments, count);
}
PyObject* add_writer(PyObject* self, PyObject* const* arguments, Py_ssize_t count) {
  return add_watch(self, Watches::kWriter, arguments, count);
}

PyObject* remove_reader(PyObject* self, PyObject* fd) { return remove_side(self, fd, Watches::kReader); }
PyObject* remove_writer(PyObject* self, PyObject* fd) { return remove_side(self, fd, Watches::kWriter); }

// (reader's handle or None, writer's)
PyObject* watched(PyObject* self, PyObject* descriptor) {
  int fd = -1;
  if (!to_descriptor(descriptor, fd)) return nullptr;
  const Watches& watches = LoopCore::from(self)->state->watches;
  PyObject* reader = watches.handle(fd, Watches::kReader);
  PyObject* writer = watches.handle(fd, Watches::kWriter);
  return Py_BuildValue("(OO)", reader == nullptr ? Py_None : reader, writer == nullptr ? Py_None : writer);
}

}  // namespace horus::python
