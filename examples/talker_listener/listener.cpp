// SPDX-License-Identifier: Apache-2.0
// Prints what the talker says, and how long it took to come. Ends after a hundred messages when it runs as a test.
#include <cstdlib>

#include "reading.hpp"

class Listener : public horus::Node {
 public:
  explicit Listener(horus::Scheduler& scheduler) : scheduler_(scheduler) {}

  horus::Task<> tick() override {
    auto message = co_await speeds_.recv();
    const auto speeds = std::move(message).or_throw();
    if (++count_ % 100 == 1) {
      fmt::print(
          "message {:4}: left {:5.2f}, right {:5.2f} rad/s, {:.0f} us old; {} missed, {} talkers died\n",
          count_, speeds->left, speeds->right, static_cast<double>(horus::now_ns() - speeds->stamp_ns) / 1e3,
          speeds_.missed(), speeds_.metrics().publishers_died);
    }
    if (count_ == 101 && std::getenv("HORUS_EXAMPLE") != nullptr) scheduler_.stop();
  }

 private:
  horus::Scheduler& scheduler_;
  horus::Subscriber<WheelSpeeds> speeds_ = subscribe<WheelSpeeds>("wheel_speeds");
  int count_ = 0;
};

int main() {
  horus::Scheduler scheduler;
  scheduler.use_hub(horus::Hub::shm("talker_listener").or_throw());
  scheduler.add<Listener>(scheduler);
  return scheduler.run();
}
