// SPDX-License-Identifier: Apache-2.0
// Pipeline: a fast camera, two slow detectors and a publisher. The camera keeps the detectors' pace.
#include <horus/horus.hpp>

using namespace horus::literals;

struct Frame {
  int number = 0;
};
struct Objects {
  int frame = 0;
  int count = 0;
};

horus::Task<Objects> detect(Frame frame) {
  co_await horus::sleep(10ms);
  if (frame.number == 7) throw horus::Error(EIO, "decode", "frame 7");
  co_return Objects{frame.number, frame.number % 3};
}

horus::Task<> run() {
  int frames = 0;
  int objects = 0;
  auto next_frame = [&]() -> horus::Task<std::optional<Frame>> {
    if (frames == 40) co_return std::nullopt;  // the end of the stream
    co_return Frame{++frames};
  };
  auto publish = [&](Objects found) -> horus::Task<> {
    objects += found.count;
    co_return;
  };

  horus::Pipeline vision("vision");
  vision.source("camera", next_frame)
      .stage("detect", detect, {.workers = 2, .queue_depth = 4})
      .sink("publish", publish);
  auto done = co_await vision.run();
  std::move(done).or_throw();

  fmt::print("{} objects in {} frames\n", objects, frames);
  for (const auto& stage : vision.stats()) {
    fmt::print("{}: {} processed, {} failed, at most {} of {} waiting\n", stage.name, stage.processed,
               stage.failed, stage.queue_high_water, stage.queue_limit);
  }
}

int main() { horus::io::run(run()); }
