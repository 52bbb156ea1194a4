// SPDX-License-Identifier: Apache-2.0
// TransportCore: the two hot paths of asyncio's socket transport, reading when there is something and writing what the
// socket takes at once. Everything else is inherited from asyncio.
#include <cerrno>
#include <memory>

#include <sys/socket.h>

#include <horus/py/loop/loop.hpp>
#include <horus/py/loop/raw_type.hpp>

namespace horus::python {
namespace {

constexpr std::size_t kMostRead = std::size_t{256} * 1024;  // as asyncio's max_size

// A buffer for one recv at a time, under the GIL.
char* scratch() {
  static const auto buffer = std::make_unique<char[]>(kMostRead);
  return buffer.get();
}

PyObject* name_of(const char* text) { return PyUnicode_InternFromString(text); }

// Whether an attribute is true: 1, 0, or -1 with an exception set.
int truth(PyObject* self, PyObject* name) {
  PyObject* value = PyObject_GetAttr(self, name);
  if (value == nullptr) return -1;
  const int result = PyObject_IsTrue(value);
  Py_DECREF(value);
  return result;
}

bool descriptor_of(PyObject* self, int& fd) {
  static PyObject* const name = name_of("_sock_fd");
  PyObject* value = PyObject_GetAttr(self, name);
  if (value == nullptr) return false;
  fd = static_cast<int>(PyLong_AsLong(value));
  Py_DECREF(value);
  return fd != -1 || PyErr_Occurred() == nullptr;
}

// The exception that is set ends the connection, as asyncio has it; KeyboardInterrupt and SystemExit leave the loop.
PyObject* fatal(PyObject* self, const char* message) {
  if (PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) || PyErr_ExceptionMatches(PyExc_SystemExit))
    return nullptr;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  if (trace != nullptr) PyException_SetTraceback(value, trace);
  PyObject* result = PyObject_CallMethod(self, "_fatal_error", "Os", value, message);
  Py_XDECREF(type);
  Py_XDECREF(value);
  Py_XDECREF(trace);
  return result;
}

PyObject* deliver(PyObject* self, const char* data, Py_ssize_t size) {
  static PyObject* const protocol_name = name_of("_protocol");
  static PyObject* const received_name = name_of("data_received");
  PyObject* protocol = PyObject_GetAttr(self, protocol_name);
  PyObject* bytes = protocol == nullptr ? nullptr : PyBytes_FromStringAndSize(data, size);
  PyObject* result = nullptr;
  if (bytes != nullptr) {
    PyObject* arguments[] = {protocol, bytes};
    result = PyObject_VectorcallMethod(received_name, arguments, 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr);
  }
  Py_XDECREF(bytes);
  Py_XDECREF(protocol);
  if (result == nullptr) return fatal(self, "Fatal error: protocol.data_received() call failed.");
  return result;
}

PyObject* read_ready(PyObject* self, PyObject*) {
  static PyObject* const lost = name_of("_conn_lost");
  static PyObject* const buffered = name_of("_reads_into_buffers");
  const int is_lost = truth(self, lost);
  if (is_lost < 0) return nullptr;
  if (is_lost > 0) Py_RETURN_NONE;
  const int into_buffers = truth(self, buffered);
  if (into_buffers < 0) return nullptr;
  if (into_buffers > 0) return PyObject_CallMethod(self, "_read_ready_cb", nullptr);
  int fd = -1;
  if (!descriptor_of(self, fd)) return nullptr;
  const ssize_t size = ::recv(fd, scratch(), kMostRead, MSG_DONTWAIT);
  if (size > 0) return deliver(self, scratch(), size);
  if (size == 0) return PyObject_CallMethod(self, "_read_ready__on_eof", nullptr);
  if (errno == EAGAIN || errno == EINTR) Py_RETURN_NONE;
  PyErr_SetFromErrno(PyExc_OSError);
  return fatal(self, "Fatal read error on socket transport");
}

// How much of `data` the socket takes at once: 0 when something else has to be looked at first. -1: an exception is set.
Py_ssize_t send_at_once(PyObject* self, const Py_buffer& data) {
  static PyObject* const before[] = {name_of("_buffer"), name_of("_conn_lost"), name_of("_eof"),
                                     name_of("_empty_waiter")};
  for (PyObject* name : before) {
    const int set = truth(self, name);
    if (set != 0) return set < 0 ? -1 : 0;
  }
  int fd = -1;
  if (!descriptor_of(self, fd)) return -1;
  const ssize_t sent = ::send(fd, data.buf, static_cast<std::size_t>(data.len), MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent < 0 ? 0 : sent;  // an error comes again, and asyncio deals with it
}

PyObject* write(PyObject* self, PyObject* data) {
  Py_buffer view{};
  if ((PyBytes_CheckExact(data) || PyByteArray_CheckExact(data)) &&
      PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) == 0) {
    const Py_ssize_t sent = view.len == 0 ? 0 : send_at_once(self, view);
    const bool all = view.len > 0 && sent == view.len;
    PyObject* rest = sent > 0 && !all ? PyBytes_FromStringAndSize(static_cast<const char*>(view.buf) + sent,
                                                                  view.len - sent)
                                      : Py_NewRef(data);
    PyBuffer_Release(&view);
    if (all || sent < 0 || rest == nullptr) {
      Py_XDECREF(rest);
      return all ? Py_NewRef(Py_None) : nullptr;
    }
    PyObject* result = PyObject_CallMethod(self, "_write_slowly", "O", rest);
    Py_DECREF(rest);
    return result;
  }
  PyErr_Clear();
  return PyObject_CallMethod(self, "_write_slowly", "O", data);
}

PyMethodDef transport_methods[] = {
    {"_read_ready", &read_ready, METH_NOARGS, nullptr},
    {"write", &write, METH_O, "write(data): sends it, at once or when the socket takes it. Never blocks."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool add_transport(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("The hot paths of a socket transport.")},
      {Py_tp_methods, transport_methods},
      {0, nullptr},
  };
  PyType_Spec spec{"horus._core.TransportCore", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                   slots};
  return add_type(module, spec) != nullptr;
}

}  // namespace horus::python
