// SPDX-License-Identifier: Apache-2.0
// The module horus._core: what the Python package horus is made of. Its functions belong to the package, not to users.
#include <array>
#include <cctype>
#include <cerrno>
#include <utility>

#include <horus/base/error.hpp>
#include <horus/base/log.hpp>
#include <horus/base/version.hpp>
#include <horus/py/asyncio.hpp>
#include <horus/py/base/bindings.hpp>
#include <horus/py/loop/handle.hpp>
#include <horus/py/loop/loop.hpp>
#include <horus/py/loop/operation.hpp>
#include <horus/py/loop/slot.hpp>

namespace horus::python {
namespace {

// An Error as the exception that a Python user expects: a wrong value, a wrong type, a wrong moment, or the system's no.
void raise(const Error& error) {
  const std::string message = in_pythons_words(error.message());
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

std::string in_pythons_words(std::string_view message) {
  static constexpr std::array kOwners{
      "Options::", "TcpRole::", "Miss::",      "Overflow::",       "Overrun::",
      "Policy::",  "Hub::",     "Scheduler::", "SchedulerConfig::"};
  std::string words(message);
  for (const std::string_view owner : kOwners) {
    std::size_t at = 0;
    while ((at = words.find(owner, at)) != std::string::npos) {
      std::size_t begin = at;
      while (begin > 0 && std::isalnum(static_cast<unsigned char>(words[begin - 1])) != 0) --begin;
      const std::size_t end = at + owner.size();
      const bool named = end < words.size() && std::islower(static_cast<unsigned char>(words[end])) != 0;
      if (named) words.erase(begin, end - begin);
      at = named ? begin : end;
    }
  }
  return words;
}

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

namespace {

int fill_module(PyObject* object) {
  namespace hp = horus::python;
  static bool filled = false;
  if (std::exchange(filled, true)) return 0;  // imported again: it is the same object
  try {
    pybind11::module_ module = pybind11::reinterpret_borrow<pybind11::module_>(object);
    module.attr("version") = horus::version();
    // Python was started without descriptor 2, which may be a file of the program by now.
    if (PySys_GetObject("__stderr__") == Py_None) horus::detail::forget_standard_error();
    hp::bind_errors(module);
    hp::bind_config(module);
    hp::bind_scheduler(module);
    hp::bind_recording(module);
    hp::bind_bag(module);
    hp::bind_interface(module);
    hp::bind_io(module);
    if (!hp::add_handles(object) || !hp::add_operations(object) || !hp::add_loop(object) ||
        !hp::add_attachments(object) || !hp::add_transport(object) || !hp::add_slots(object))
      return -1;
    hp::bind_hubs(module);
  } catch (pybind11::error_already_set& error) {
    error.restore();
    return -1;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_ImportError, error.what());
    return -1;
  }
  return 0;
}

PyObject* make_module(PyObject* spec, PyModuleDef*) {
  static PyObject* module = nullptr;  // for ever, as its types
  if (module != nullptr) return Py_NewRef(module);
  PyObject* name = PyObject_GetAttrString(spec, "name");
  PyObject* made = name == nullptr ? nullptr : PyModule_NewObject(name);
  Py_XDECREF(name);
  module = Py_XNewRef(made);
  return made;
}

PyModuleDef_Slot module_slots[] = {
    {Py_mod_create, reinterpret_cast<void*>(&make_module)},
    {Py_mod_exec, reinterpret_cast<void*>(&fill_module)},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, nullptr},
};
PyModuleDef module_definition{PyModuleDef_HEAD_INIT,
                              "_core",
                              "What the package horus is made of.",
                              0,
                              nullptr,
                              module_slots,
                              nullptr,
                              nullptr,
                              nullptr};

}  // namespace

// What the types of the module keep in static variables belongs to one interpreter. In phases, so that another one asks
// anew, and does not get a copy of what the main one has.
extern "C" PYBIND11_EXPORT PyObject* PyInit__core() {
  if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
    PyErr_SetString(
        PyExc_ImportError,
        "horus cannot be imported in a subinterpreter: import it in the main interpreter, or use a "
        "process for each part");
    return nullptr;
  }
  PYBIND11_CHECK_PYTHON_VERSION
  PYBIND11_ENSURE_INTERNALS_READY
  return PyModuleDef_Init(&module_definition);
}
