// SPDX-License-Identifier: Apache-2.0
//
// A user's program in one file, built against an installed Horus and nothing else (tools/check_consumer.sh).
#include <chrono>
#include <cstdlib>

#include <horus/horus.hpp>

using namespace horus::literals;

class Counter : public horus::Node {
 public:
  explicit Counter(int& ticks) : Node("counter"), ticks_(ticks) {}

  horus::Task<> tick() override {
    ++ticks_;
    co_return;
  }

 private:
  int& ticks_;
};

int main() {
  int ticks = 0;
  horus::Scheduler scheduler(horus::SchedulerConfig::standard());
  scheduler.add<Counter>(ticks).rate(100_hz);
  const int code = scheduler.run_for(std::chrono::milliseconds(200));
  fmt::print("horus {}: {} ticks\n", horus::version(), ticks);
  return code == 0 && ticks >= 2 ? EXIT_SUCCESS : EXIT_FAILURE;
}
