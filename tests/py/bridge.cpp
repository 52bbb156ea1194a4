// SPDX-License-Identifier: Apache-2.0
// A user's extension module, for bridge_test.py: coroutines that Python awaits, and that await Python.
#include <chrono>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <horus/horus.hpp>
#include <horus/py/asyncio.hpp>

#include <pybind11/stl.h>

namespace {

using namespace std::chrono_literals;
namespace python = pybind11;

int ended = 0;  // bodies that have been left, cancelled or not

struct Leaving {
  Leaving() = default;
  Leaving(const Leaving&) = delete;
  Leaving& operator=(const Leaving&) = delete;
  ~Leaving() { ++ended; }
};

horus::Task<std::string> join(std::vector<std::string> words) {
  std::string all;
  for (const std::string& word : words) {
    co_await horus::sleep(100us);
    all += word;
  }
  co_return all;
}

horus::Task<int> at_once(int value) { co_return value; }
horus::Task<> nothing() { co_return; }

horus::Task<> sleep_long() {
  const Leaving leaving;
  co_await horus::sleep(1h);
}

horus::Task<> fail(std::string how) {
  co_await horus::sleep(1us);
  if (how == "error") throw horus::Error(ENOENT, "open", "map.bin");
  if (how == "invalid") throw std::invalid_argument("not like this");
  throw std::runtime_error("broken");
}

horus::Task<int> ask_python(python::object coroutine) {
  const Leaving leaving;
  const int answer = co_await horus::py::await<int>(std::move(coroutine));
  co_return answer + 1;
}

}  // namespace

PYBIND11_MODULE(bridge, module) {
  module.def("join",
             [](std::vector<std::string> words) { return horus::py::awaitable(join(std::move(words))); });
  module.def("at_once", [](int value) { return horus::py::awaitable(at_once(value)); });
  module.def("nothing", [] { return horus::py::awaitable(nothing()); });
  module.def("sleep_long", [] { return horus::py::awaitable(sleep_long()); });
  module.def("fail", [](std::string how) { return horus::py::awaitable(fail(std::move(how))); });
  module.def("ask_python",
             [](python::object coroutine) { return horus::py::awaitable(ask_python(std::move(coroutine))); });
  module.def("ended", [] { return ended; });
}
