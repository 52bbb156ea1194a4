// SPDX-License-Identifier: Apache-2.0
#include <horus/py/loop/slot.hpp>

#include <utility>

#include <horus/py/loop/raw_type.hpp>

namespace horus::python {
namespace {

PyTypeObject* slot_type = nullptr;

Slot* from(PyObject* object) noexcept { return reinterpret_cast<Slot*>(object); }

void drop_slot(PyObject* object) {
  delete std::exchange(from(object)->owner, nullptr);
  PyTypeObject* type = Py_TYPE(object);
  type->tp_free(object);
  Py_DECREF(type);
}

int get_buffer(PyObject* object, Py_buffer* view, int flags) {
  Slot* self = from(object);
  if (self->owner == nullptr) {
    view->obj = nullptr;
    PyErr_SetString(PyExc_ValueError, "this message was given back already");
    return -1;
  }
  if (PyBuffer_FillInfo(view, object, self->data, static_cast<Py_ssize_t>(self->size), self->writable ? 0 : 1,
                        flags) != 0)
    return -1;
  ++self->exports;
  return 0;
}

void release_buffer(PyObject* object, Py_buffer*) { --from(object)->exports; }

PyObject* release(PyObject* object, PyObject*) {
  if (from(object)->owner == nullptr) Py_RETURN_NONE;
  Slot* self = Slot::unused(object, "release()");
  if (self == nullptr) return nullptr;
  delete std::exchange(self->owner, nullptr);
  Py_RETURN_NONE;
}

PyObject* is_released(PyObject* object, void*) {
  return PyBool_FromLong(from(object)->owner == nullptr ? 1 : 0);
}

PyMethodDef slot_methods[] = {
    {"release", &release, METH_NOARGS,
     "Gives the memory back now; nothing the second time. Errors: BufferError while something refers to it."},
    {nullptr, nullptr, 0, nullptr},
};
PyGetSetDef slot_properties[] = {
    {"released", &is_released, nullptr, "Whether the memory was given back, or published.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

}  // namespace

PyObject* Slot::make(PyTypeObject* type, std::unique_ptr<SlotOwner> owner, std::byte* data, std::size_t size,
                     bool writable) {
  if (PyType_IsSubtype(type, slot_type) == 0) {
    PyErr_SetString(PyExc_TypeError, "a subclass of Slot is needed");
    return nullptr;
  }
  Slot* self = from(type->tp_alloc(type, 0));
  if (self == nullptr) return nullptr;
  self->data = data;
  self->size = size;
  self->exports = 0;
  self->writable = writable;
  self->owner = owner.release();
  return reinterpret_cast<PyObject*>(self);
}

Slot* Slot::unused(PyObject* object, const char* what) {
  if (PyObject_TypeCheck(object, slot_type) == 0) {
    PyErr_Format(PyExc_TypeError, "%s takes a loan, not %s", what, raw_name(object));
    return nullptr;
  }
  Slot* self = from(object);
  if (self->owner == nullptr) {
    PyErr_Format(PyExc_ValueError, "%s of a message that was given back or published already", what);
    return nullptr;
  }
  if (self->exports == 0) return self;
  PyErr_Format(PyExc_BufferError,
               "%s while something refers to the message's memory (a memoryview, an array): delete it before",
               what);
  return nullptr;
}

bool add_slots(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>("The memory of a message.")},
      {Py_tp_dealloc, slot(&drop_slot)},
      {Py_tp_methods, slot_methods},
      {Py_tp_getset, slot_properties},
      {Py_bf_getbuffer, slot(&get_buffer)},
      {Py_bf_releasebuffer, slot(&release_buffer)},
      {0, nullptr},
  };
  PyType_Spec spec{"horus._core.Slot", sizeof(Slot), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  slot_type = add_type(module, spec);
  return slot_type != nullptr;
}

}  // namespace horus::python
