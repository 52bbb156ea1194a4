// SPDX-License-Identifier: Apache-2.0
// Publishes wheel speeds 100 times a second. Start any number of listeners beside it, before or after; kill either side
// and start it again.
#include <cmath>
#include <cstdlib>

#include "reading.hpp"

using namespace horus::literals;

class Wheels : public horus::PlainNode {
 public:
  void tick() override {
    const std::int64_t now = horus::now_ns();
    const double angle = static_cast<double>(now) * 1e-9;
    speeds_.send({.stamp_ns = now, .left = std::sin(angle), .right = std::cos(angle)});
  }

 private:
  horus::Publisher<WheelSpeeds> speeds_ = advertise<WheelSpeeds>("wheel_speeds");
};

int main() {
  horus::Scheduler scheduler;
  scheduler.use_hub(horus::Hub::shm("talker_listener").or_throw());
  scheduler.add<Wheels>().rate(100_hz);
  return std::getenv("HORUS_EXAMPLE") == nullptr ? scheduler.run() : scheduler.run_for(3s);
}
