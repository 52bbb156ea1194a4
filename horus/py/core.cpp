// SPDX-License-Identifier: Apache-2.0
// The module horus._core: what the Python package horus is made of. Its functions belong to the package, not to users.
#include <cerrno>

#include <horus/base/error.hpp>
#include <horus/base/log.hpp>
#include <horus/base/version.hpp>
#include <horus/py/asyncio.hpp>
#include <horus/py/bindings.hpp>
#include <horus/py/handle.hpp>
#include <horus/py/loop.hpp>
#include <horus/py/operation.hpp>
#include <horus/py/slot.hpp>

namespace horus::python {
namespace {

// An Error as the exception that a Python user expects: a wrong value, a wrong type, a wrong moment, or the system's no.
void raise(const Error& error) {
  const std::string message = error.message();
  switch (error.code()) {
    case EINVAL:
    case EEXIST:
    case kBadConfiguration: return PyErr_SetString(PyExc_ValueError, message.c_str());
    case kTypeMismatch: return PyErr_SetString(PyExc_TypeError, message.c_str());
    case EBUSY: return PyErr_SetString(PyExc_RuntimeError, message.c_str());
    case ENOMEM: return PyErr_SetString(PyExc_MemoryError, message.c_str());
    default: break;
  }
  if (error.code() >= kEndOfStream) return PyErr_SetString(PyExc_OSError, message.c_str());
  // OSError(errno, text) is the right one of its subclasses.
  PyErr_SetObject(PyExc_OSError, py::make_tuple(error.code(), message).ptr());
}

// As Python's exception; pybind11 does the same for those that leave a function of the module.
void raise_any(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const Error& error) {
    if (error.code() == ECANCELED) {
      PyErr_SetNone(cancelled_error());
    } else {
      raise(error);
    }
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::invalid_argument& error) {
    PyErr_SetString(PyExc_ValueError, error.what());
  } catch (const std::out_of_range& error) {
    PyErr_SetString(PyExc_IndexError, error.what());
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "a C++ exception that is no std::exception");
  }
}

const ModuleInterface interface{&make_awaitable, &raise_any, &touch_running_loop};

}  // namespace

PyObject* make_awaitable(Awaited* awaited) {
  LoopCore* loop = running_loop();
  if (loop != nullptr) return make_operation(loop, awaited);
  delete awaited;
  return nullptr;
}

void bind_interface(py::module_& module) {
  module.attr("interface") = py::capsule(&interface, kModuleInterface);
}

void bind_errors(py::module_& module) {
  py::register_exception_translator([](std::exception_ptr failure) {
    try {
      if (failure) std::rethrow_exception(failure);
    } catch (const Error& error) {
      raise(error);
    }
  });
  module.def("set_log_level", [](int level) {
    set_log_level(level <= 10   ? LogLevel::debug
                  : level <= 20 ? LogLevel::info
                  : level <= 30 ? LogLevel::warning
                                : LogLevel::error);
  });
}

}  // namespace horus::python

PYBIND11_MODULE(_core, module) {
  module.attr("version") = horus::version();
  horus::python::bind_errors(module);
  horus::python::bind_config(module);
  horus::python::bind_scheduler(module);
  horus::python::bind_interface(module);
  if (!horus::python::add_handles(module.ptr()) || !horus::python::add_operations(module.ptr()) ||
      !horus::python::add_loop(module.ptr()) || !horus::python::add_attachments(module.ptr()) ||
      !horus::python::add_transport(module.ptr()) || !horus::python::add_slots(module.ptr()))
    throw pybind11::error_already_set();
  horus::python::bind_hubs(module);
}
