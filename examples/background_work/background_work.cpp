// SPDX-License-Identifier: Apache-2.0
// Work that takes longer than a tick: the node spawns it, goes on ticking, and takes the result when it is there.
#include <horus/horus.hpp>

using namespace horus::literals;

class Camera : public horus::Node {
 public:
  Camera() : Node("camera") {}

  horus::Task<> tick() override {  // every 10 ms
    if (!exposure_) exposure_ = spawn(expose(), "exposure");
    if (exposure_.done()) {
      ++frames_;
      last_ = exposure_.take();  // leaves the handle empty: the next tick starts another exposure
    }
    co_return;
  }
  // At the end the scheduler stops and awaits what is still running, then calls shutdown().
  horus::Task<> shutdown() override {
    fmt::print("{} frames, the last one {}\n", frames_, last_);
    co_return;
  }

 private:
  horus::Task<std::string> expose() {
    co_await horus::sleep(45ms);
    co_return fmt::format("number {}", frames_);
  }

  horus::Spawned<std::string> exposure_;
  int frames_ = 0;
  std::string last_ = "none";
};

int main() {
  horus::Scheduler scheduler;
  scheduler.add<Camera>().rate(100_hz);
  const int code = scheduler.run_for(400ms);
  const auto camera = scheduler.statistics("camera");
  fmt::print("{} ticks meanwhile, {} skipped\n", camera->total_ticks, camera->ticks_skipped);
  return code;
}
