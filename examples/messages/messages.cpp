// SPDX-License-Identifier: Apache-2.0
// A node that publishes and one that waits for it. They meet because they name the same topic.

#include <horus/horus.hpp>

using namespace horus::literals;
using horus::messages::Twist;

class Planner : public horus::PlainNode {
  horus::Publisher<Twist> out_ = advertise<Twist>("cmd_vel");
  void tick() override { out_.send({.linear = {.x = 0.5}}); }
};

class Base : public horus::Node {
  horus::Subscriber<Twist> in_ = subscribe<Twist>("cmd_vel");
  horus::Task<> tick() override {
    auto command = (co_await in_.recv()).or_throw();
    fmt::print("drive at {} m/s\n", command->linear.x);
  }
};

int main() {
  horus::Scheduler scheduler;
  scheduler.add<Planner>().rate(10_hz);
  scheduler.add<Base>();
  return scheduler.run_for(1s);
}
