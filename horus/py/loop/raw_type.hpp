// SPDX-License-Identifier: Apache-2.0
// Types written against Python's C API, where a call through pybind11 would cost more than the work. With the GIL.
// Internal.
#pragma once

#define PY_SSIZE_T_CLEAN
#include <cstring>

#include <Python.h>

namespace horus::python {

template <class F>
void* slot(F* function) {
  return reinterpret_cast<void*>(function);
}
/// A method of METH_FASTCALL, with or without keywords.
template <class F>
PyCFunction method(F* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

/// Makes a type and gives it to `module` under its own name, which keeps it for ever; null with an exception set.
inline PyTypeObject* add_type(PyObject* module, PyType_Spec& spec, PyTypeObject* base = nullptr) {
  auto* type = reinterpret_cast<PyTypeObject*>(
      PyType_FromModuleAndSpec(module, &spec, reinterpret_cast<PyObject*>(base)));
  if (type == nullptr || PyModule_AddType(module, type) < 0) return nullptr;
  return type;
}

/// The name of an object's type without its module.
inline const char* raw_name(PyObject* object) {
  const char* name = Py_TYPE(object)->tp_name;
  const char* dot = std::strrchr(name, '.');
  return dot == nullptr ? name : dot + 1;
}

/// An attribute of a module that is to be imported; a new reference, null with an exception set.
inline PyObject* attribute_of(const char* module_name, const char* name) {
  PyObject* module = PyImport_ImportModule(module_name);
  if (module == nullptr) return nullptr;
  PyObject* value = PyObject_GetAttrString(module, name);
  Py_DECREF(module);
  return value;
}

}  // namespace horus::python
