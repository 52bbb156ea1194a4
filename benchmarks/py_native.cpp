// SPDX-License-Identifier: Apache-2.0
// Coroutines in C++ for py_tasks.py to await.
#include <horus/py/asyncio.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

#include <pybind11/pybind11.h>

namespace {

horus::Task<> at_once() { co_return; }
horus::Task<> after_a_turn() { co_await horus::yield(); }

}  // namespace

PYBIND11_MODULE(py_native, module) {
  module.def("at_once", [] { return horus::py::awaitable(at_once()); });
  module.def("after_a_turn", [] { return horus::py::awaitable(after_a_turn()); });
}
