// SPDX-License-Identifier: Apache-2.0
// MessagePack from and to Python's objects, in an interpreter of its own. The first byte chooses: the rest is a message from
// a peer, or a recipe for an object to send. What travels arrives equal; anything else is refused with a word on it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/py/hub/pack.hpp>

#include <pybind11/embed.h>

namespace py = pybind11;

namespace {

using horus::python::pack;
using horus::python::unpack;

constexpr std::size_t kMost = 4096;

void must(bool holds) {
  if (!holds) std::abort();
}

// Never ended: what it keeps stays reachable. Each block is one of malloc's, so that a sanitizer sees its borders.
void start_python() {
  static const int own_blocks = ::setenv("PYTHONMALLOC", "malloc", 1);
  static_cast<void>(own_blocks);
  static auto* interpreter = new py::scoped_interpreter(false);
  static_cast<void>(interpreter);
}

// NaN is not equal to itself, and == takes 1, 1.0 and True for one: repr() tells all of them apart.
std::string shown(const py::object& object) { return py::cast<std::string>(py::repr(object)); }

void must_arrive(const py::object& object, bool as_it_is) {
  std::string bytes;
  try {
    pack(object, kMost, bytes);
  } catch (py::error_already_set& error) {
    must(error.matches(PyExc_TypeError) || error.matches(PyExc_ValueError));
    must(!as_it_is || bytes.size() + 16 > kMost || error.matches(PyExc_ValueError));
    return;
  } catch (const py::value_error&) {
    must(bytes.size() > kMost);
    return;
  }
  must(bytes.size() <= kMost && PyErr_Occurred() == nullptr);
  std::string problem;
  const py::object arrived = unpack(bytes, problem);
  must(arrived && problem.empty() && PyErr_Occurred() == nullptr);
  if (as_it_is) must(shown(arrived) == shown(object));
  std::string again;
  pack(arrived, kMost, again);
  must(again == bytes || !as_it_is);
}

void receive(std::string_view bytes) {
  std::string problem;
  const py::object message = unpack(bytes, problem);
  must(PyErr_Occurred() == nullptr);
  must(static_cast<bool>(message) == problem.empty());
  if (message) must_arrive(message, true);
}

// Objects out of instructions of one byte, on a stack.
class Recipe {
 public:
  explicit Recipe(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  py::object cook() {
    stack_.push_back(py::none());
    for (int steps = 0; !bytes_.empty() && steps < 2000; ++steps) {
      step(next() % 20);
      if (PyErr_Occurred() != nullptr) std::abort();
    }
    return pop();
  }

 private:
  std::uint8_t next() {
    if (bytes_.empty()) return 0;
    const std::uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  std::string text(std::size_t most) {
    const std::size_t size = std::min(next() % most, bytes_.size());
    std::string taken(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return taken;
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | next();
    return value;
  }
  py::object pop() {
    if (stack_.empty()) return py::none();
    py::object top = std::move(stack_.back());
    stack_.pop_back();
    return top;
  }
  void push(py::object object) { stack_.push_back(std::move(object)); }
  static py::object own(PyObject* object) { return py::reinterpret_steal<py::object>(object); }

  void step(std::uint8_t what) {
    switch (what) {
      case 0: return push(py::none());
      case 1: return push(py::bool_(next() % 2 == 1));
      case 2: return push(own(PyLong_FromLongLong(static_cast<long long>(number()))));
      case 3: return push(own(PyLong_FromUnsignedLongLong(number())));
      case 4: {  // of up to 20 bytes
        const std::string digits = text(20);
        return push(own(_PyLong_FromByteArray(reinterpret_cast<const unsigned char*>(digits.data()),
                                              digits.size(), 1, 1)));
      }
      case 5: {
        const std::uint64_t bits = number();
        double value = 0;
        std::memcpy(&value, &bits, sizeof value);
        return push(own(PyFloat_FromDouble(value)));
      }
      case 6: {  // a str with every kind of character, half surrogate pairs too
        const std::string raw = text(64);
        return push(
            own(PyUnicode_DecodeUTF8(raw.data(), static_cast<Py_ssize_t>(raw.size()), "surrogateescape")));
      }
      case 7: return push(py::bytes(text(255)));
      case 8: {
        const std::string raw = text(64);
        return push(own(PyByteArray_FromStringAndSize(raw.data(), static_cast<Py_ssize_t>(raw.size()))));
      }
      case 9: return push(py::list());
      case 10: return push(py::dict());
      case 11: {  // into the list below, perhaps into itself
        py::object item = pop();
        if (!stack_.empty() && PyList_Check(stack_.back().ptr()) != 0) {
          PyList_Append(stack_.back().ptr(), item.ptr());
        } else {
          push(std::move(item));
        }
        return;
      }
      case 12: {
        const py::object item = pop();
        const py::object key = pop();
        if (!stack_.empty() && PyDict_Check(stack_.back().ptr()) != 0 &&
            PyDict_SetItem(stack_.back().ptr(), key.ptr(), item.ptr()) != 0)
          PyErr_Clear();  // no key
        return;
      }
      case 13: {
        const py::object one = pop();
        return push(py::make_tuple(one, pop()));
      }
      case 14: {
        const py::object top = pop();
        py::list wrapped;
        wrapped.append(top);
        return push(std::move(wrapped));
      }
      case 15: return push(stack_.empty() ? py::none() : stack_.back());
      case 16: return push(py::make_tuple());
      case 17: {  // no data
        const char* const names[] = {"object", "set", "complex", "Exception", "range"};
        const char* const name = names[next() % 5];
        const py::object kind = py::module_::import("builtins").attr(name);
        return push(std::strcmp(name, "range") == 0 ? kind(3) : kind());
      }
      case 18: {  // within itself
        if (!stack_.empty() && PyList_Check(stack_.back().ptr()) != 0 &&
            PyList_GET_SIZE(stack_.back().ptr()) < 4) {
          PyList_Append(stack_.back().ptr(), stack_.back().ptr());
          loops_.push_back(stack_.back());
        }
        return;
      }
      default: static_cast<void>(pop()); return;
    }
  }

 public:
  // Lists within themselves are freed by hand: the collector would come now and then.
  ~Recipe() {
    for (const py::object& list : loops_)
      static_cast<void>(PyList_SetSlice(list.ptr(), 0, PY_SSIZE_T_MAX, nullptr));
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::vector<py::object> stack_;
  std::vector<py::object> loops_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  start_python();
  if (size < 1) return 0;
  if (data[0] % 2 == 0) {
    receive({reinterpret_cast<const char*>(data) + 1, size - 1});
  } else {
    Recipe recipe({data + 1, size - 1});
    must_arrive(recipe.cook(), false);
  }
  return 0;
}
