// SPDX-License-Identifier: Apache-2.0
// An extension module as a user writes it: nodes in C++ for Python's Scheduler. tests/py/cpp_node_test.py runs them.
#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <utility>

#include <horus/msg/messages.hpp>
#include <horus/py/node.hpp>

namespace {

using horus::messages::Twist;

class Planner : public horus::PlainNode {
 public:
  explicit Planner(double speed) : speed_(speed) {}
  void tick() override { out_.send({.linear = {.x = speed_}}); }
  void shutdown() override { ended.store(true); }
  std::atomic<bool> ended{false};

 private:
  const double speed_;
  horus::Publisher<Twist> out_ = advertise<Twist>("cmd_vel");
};

class Base : public horus::Node {
 public:
  horus::Task<> tick() override {
    auto message = co_await in_.recv();
    const auto command = std::move(message).or_throw();
    speed.store(command->linear.x);
    ++heard;
  }
  std::atomic<double> speed{0};
  std::atomic<std::int64_t> heard{0};

 private:
  horus::Subscriber<Twist> in_ = subscribe<Twist>("velocity_in");
};

class Broken : public horus::PlainNode {
 public:
  Broken() : PlainNode("named_in_cpp") {}
  void tick() override { throw std::runtime_error("no motor"); }
};

}  // namespace

PYBIND11_MODULE(cpp_nodes, module) {
  namespace py = pybind11;
  horus::py::import_nodes();
  py::class_<Planner, horus::PlainNode>(module, "Planner")
      .def(py::init<double>())
      .def_property_readonly("ended", [](const Planner& planner) { return planner.ended.load(); });
  py::class_<Base, horus::Node>(module, "Base")
      .def(py::init<>())
      .def_property_readonly("heard", [](const Base& base) { return base.heard.load(); })
      .def_property_readonly("speed", [](const Base& base) { return base.speed.load(); });
  py::class_<Broken, horus::PlainNode>(module, "Broken").def(py::init<>());
}
