// SPDX-License-Identifier: Apache-2.0
// Looks at a rover's pictures from another process, in the memory where the rover wrote them:
//
//   rover_watch [HUB]
//
// A line per second; Ctrl-C ends it. Start it before or after the rover, and leave it on while rovers come and go.
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <string>
#include <string_view>

#include <horus/horus.hpp>
#include <horus/msg/messages.hpp>

namespace {

using horus::messages::Image;

constexpr int kTestPictures = 25;

class Watcher : public horus::Node {
 public:
  explicit Watcher(horus::Scheduler& scheduler) : scheduler_(scheduler) {}

  horus::Task<> init() override {
    output_ = horus::io::standard_output().or_throw();
    co_return;
  }
  // A terminal that nobody reads keeps this node, and nobody else.
  horus::Task<> tick() override {
    auto message = co_await pictures_.recv();
    const auto picture = std::move(message).or_throw();
    const std::int64_t now = horus::now_ns();
    ++seen_;
    oldest_ns_ = std::max(oldest_ns_, now - picture->header.stamp_ns);
    if (now >= next_line_) {
      next_line_ = now + 1'000'000'000;
      const auto pixels = picture.tail();
      const std::uint64_t sum = std::accumulate(pixels.begin(), pixels.end(), std::uint64_t{0});
      auto text = fmt::format(
          "picture {}: {}x{} {}, brightness {:.0f}; at most {:.0f} us old, {} missed, {} rovers died\n",
          seen_, picture->width, picture->height, picture->encoding.view(),
          pixels.empty() ? 0.0 : static_cast<double>(sum) / static_cast<double>(pixels.size()),
          static_cast<double>(std::exchange(oldest_ns_, 0)) / 1e3, pictures_.missed(),
          pictures_.metrics().publishers_died);
      auto writing = output_.write_all(std::move(text));
      auto written = co_await writing;
      std::move(written).or_throw();
    }
    if (seen_ == kTestPictures && std::getenv("HORUS_EXAMPLE") != nullptr) scheduler_.stop();
  }

 private:
  horus::Scheduler& scheduler_;
  horus::Subscriber<Image> pictures_ =
      subscribe<Image>("camera", horus::SubscribeOptions().with_depth(2).with_max_held(2));
  horus::io::PipeWriter output_;
  int seen_ = 0;
  std::int64_t oldest_ns_ = 0;
  std::int64_t next_line_ = 0;
};

}  // namespace

constexpr const char* kUsage =
    "usage: rover_watch [HUB]\n\n"
    "Looks at a rover's pictures from another process, in the memory where the rover wrote\n"
    "them, and prints a line per second. Start it before or after the rover; Ctrl-C ends it.\n\n"
    "  HUB     what the rover was given as --share; rover unless it is said\n"
    "  --help  this text\n";

int main(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "rover";
  if (first == "--help" || first == "-h") {
    fmt::print("{}", kUsage);
    return 0;
  }
  if (argc > 2 || first.starts_with('-')) {
    fmt::print(stderr, "rover_watch: \"{}\" is not known (--help tells what is)\n",
               argc > 2 ? argv[2] : argv[1]);
    return 2;
  }
  auto hub = horus::Hub::shm(std::string(first));
  if (!hub) {
    fmt::print(stderr, "rover_watch: {}\n", hub.error().message());
    return 1;
  }
  horus::Scheduler scheduler;
  scheduler.use_hub(std::move(*hub));
  scheduler.add<Watcher>(scheduler);
  return scheduler.run();
}
