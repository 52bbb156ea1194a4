// SPDX-License-Identifier: Apache-2.0
// Blocking node: a vendor's driver blocks for 40 ms; it runs on the thread pool, and the controller keeps its 100 Hz.
#include <chrono>
#include <thread>

#include <horus/horus.hpp>

using namespace horus::literals;

class Lidar : public horus::BlockingNode<double> {
 public:
  Lidar() : BlockingNode("lidar") {}

 private:
  horus::Result<double> work() override {  // on a thread of the pool
    std::this_thread::sleep_for(40ms);     // somebody else's driver
    return 1.5;
  }
  void on_result(double distance) override { distance_ = distance; }  // on the loop, like everything else
  horus::Task<> shutdown() override {
    fmt::print("distance {} m, measured more than 5 times: {}\n", distance_, stats().results > 5);
    co_return;
  }
  double distance_ = 0;
};

int main() {
  horus::Scheduler scheduler;
  scheduler.add<Lidar>();  // no rate: the next call follows at once
  int steps = 0;
  scheduler.add("control", [&] { ++steps; }).rate(100_hz).priority(0);
  const int code = scheduler.run_for(500ms);
  fmt::print("steered more than 40 times: {}\n", steps > 40);
  return code;
}
