// SPDX-License-Identifier: Apache-2.0
// The rover: a camera that takes 50 ms a picture, a GPS receiver over TCP, commands over UDP, the machine's health, a log
// on disk and a live view, beside a controller with 100 ticks a second: one process, one thread. Then the same the old
// ways, for comparison. `rover --help` tells the options.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <horus/horus.hpp>

#include "camera_node.hpp"
#include "command_node.hpp"
#include "control_node.hpp"
#include "dashboard.hpp"
#include "gps_node.hpp"
#include "health_node.hpp"
#include "inputs.hpp"
#include "log_node.hpp"
#include "old_ways.hpp"
#include "options.hpp"
#include "plain_io.hpp"
#include "receiver.hpp"
#include "receiver_node.hpp"
#include "screen.hpp"
#include "view_node.hpp"

namespace rover {
namespace {

using namespace horus::literals;

constexpr int kRealtimePriority = 10;

/// What became of a drive.
struct Journey {
  int code = 0;
  double seconds = 0;
  bool interrupted = false;
  std::string how;  // backend and priority
  std::vector<horus::NodeStatistics> nodes;
  ComparisonRow row;
};

std::vector<std::string> camera_command(const Options& options) {
  if (!options.camera_command.empty()) return {"/bin/sh", "-c", options.camera_command};
  return {std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rover_camera"};
}

void add_nodes(horus::Scheduler& scheduler, World& world, const Options& options) {
  if (world.gps.source.empty())
    scheduler.add<ReceiverNode>(world).rate(horus::Rate(kReceiverRate_hz)).priority(40);
  scheduler.add<ControlNode>(world).rate(kControlRate).priority(0);
  scheduler.add<CameraNode>(world, camera_command(options)).priority(10);
  if (options.nmea_file.empty()) {
    scheduler.add<GpsNode>(world).priority(20);
  } else {
    scheduler.add<GpsFileNode>(world).priority(20);
  }
  scheduler.add<CommandNode>(world, options.command_port).priority(25);
  scheduler.add<HealthNode>(world).rate(2_hz).priority(50);
  scheduler.add<LogNode>(world).rate(kLogRate).priority(60);
}

double cpu_seconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

uint64_t threads_now() {
  Health health;
  HealthInput::take_status(health, plain::read_text(kStatusFile));
  return std::max<uint64_t>(health.threads, 1);
}

/// True when this process may use SCHED_FIFO; the scheduler would log a refusal each time.
bool realtime_permitted() {
  sched_param parameter{};
  parameter.sched_priority = kRealtimePriority;
  if (::sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &parameter) != 0) return false;
  parameter.sched_priority = 0;
  return ::sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &parameter) == 0;
}

/// Drives one way for `seconds` (0: until Ctrl-C), with the view when `viewed`.
Journey drive(World& world, const Options& options, Way way, double seconds, bool viewed) {
  world.gps.source = options.nmea_file.empty() ? options.nmea_address : options.nmea_file;
  auto config = horus::SchedulerConfig::standard();
  config.timer_slack = 1_us;
  config.shutdown_limit = 3_s;  // the log's last words need a disk that may be busy
  if (options.realtime && realtime_permitted()) config.fifo_priority = kRealtimePriority;
  horus::io::Reactor reactor(config.reactor);
  horus::Scheduler scheduler(config);

  Journey journey;
  const std::string backend =
      reactor.backend_name() == std::string_view("uring") ? "io_uring" : reactor.backend_name();
  journey.how = backend + (config.fifo_priority > 0 ? ", real-time" : ", ordinary priority");
  switch (way) {
    case Way::kHorus: add_nodes(scheduler, world, options); break;
    case Way::kBlocking: add_blocking_nodes(scheduler, world, options, camera_command(options)); break;
    case Way::kThreads: add_threaded_nodes(scheduler, world, options, camera_command(options)); break;
  }
  std::optional<LiveScreen> screen;
  if (viewed) {
    if (options.view && LiveScreen::possible()) screen.emplace();
    const std::string how = way == Way::kHorus ? backend : std::string(name_of(way));
    Dashboard dashboard(world, screen ? &*screen : nullptr, how, seconds);
    scheduler.add<ViewNode>(scheduler, std::move(dashboard)).rate(kFrameRate).priority(90);
  }

  const uint64_t left_over = threads_now() - 1;  // helpers of the drive before, idle
  const int64_t start = horus::now_ns();
  const double cpu_start = cpu_seconds();
  journey.code = seconds > 0
                     ? scheduler.run_for(std::chrono::nanoseconds(static_cast<int64_t>(seconds * 1e9)))
                     : scheduler.run();
  journey.seconds = static_cast<double>(horus::now_ns() - start) * 1e-9;
  journey.interrupted = seconds == 0 || journey.seconds < seconds;
  journey.nodes = scheduler.statistics();
  journey.row.name = name_of(way);
  journey.row.threads = world.health.threads - std::min(left_over, world.health.threads);
  journey.row.cpu_percent = 100 * (cpu_seconds() - cpu_start) / journey.seconds;
  for (const horus::NodeStatistics& node : journey.nodes) {
    if (node.name != "control") continue;
    journey.row.in_time = node.on_time_ticks;
    journey.row.releases = node.on_time_ticks + missed_of(node);
    if (!node.release_lateness.empty()) journey.row.lateness_p99_ns = node.release_lateness.percentile(99);
  }
  return journey;
}

/// What is wrong at the end, in one line; empty when all went well.
std::string what_failed(const World& world, const Journey& journey) {
  if (journey.code != 0) return "a part could not start (see above)";
  if (world.camera.pictures == 0 && journey.seconds > 1) return "the camera never sent a picture";
  if (world.log.records == 0 && world.log.lost > 0) return "nothing of the log could be written";
  return {};
}

void print_result(const World& world, const Journey& journey, bool colours) {
  const std::string title =
      fmt::format("{:.1f} s, {:.0f} m, {} waypoints, {} pictures, {} GPS fixes ({})", journey.seconds,
                  world.drive.distance_m, world.drive.waypoints_reached, world.camera.pictures,
                  world.gps.epochs, journey.how);
  fmt::print("\n{}", table(title, table_rows(journey.nodes), colours));
  fmt::print("\nlog: {}, {} in {} records", world.log.path, bytes_text(world.log.bytes), world.log.records);
  if (world.log.lost > 0) fmt::print(", {} more lost", world.log.lost);
  fmt::print("\n");
}

/// The old ways, each with a world of its own; their logs are thrown away.
void compare(const Options& options, const Journey& ours, bool colours) {
  const std::string log_path = options.log_path + fmt::format(".compare-{}", ::getpid());
  std::vector<ComparisonRow> rows;
  for (const Way way : {Way::kBlocking, Way::kThreads}) {
    fmt::print("{}now the old way, {}, {:.1f} s …\n", rows.empty() ? "\n" : "", name_of(way),
               options.compare_seconds());
    std::fflush(stdout);
    World world;
    world.log.path = log_path;
    Journey journey = drive(world, options, way, options.compare_seconds(), false);
    std::filesystem::remove(log_path);
    if (journey.code != 0 || journey.interrupted) return;
    rows.push_back(std::move(journey.row));
  }
  rows.push_back(ours.row);
  fmt::print("\nThe controller's ticks, beside the camera:\n{}", comparison(rows, colours));
  fmt::print(
      "Threads as the kernel counts them. Those of Horus: the loop, a helper that\n"
      "started the camera, and what serves files, with io_uring the kernel's worker.\n");
}

int run(Options options) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (options.log_path.empty()) {
    options.log_path = std::filesystem::temp_directory_path() / "rover.log";
  }
  const bool colours = LiveScreen::possible() && LiveScreen::size().colours;
  World world;
  world.log.path = options.log_path;
  const Journey journey = drive(world, options, options.way, options.drive_seconds(), true);
  if (journey.code == 0) print_result(world, journey, colours);
  const std::string failed = what_failed(world, journey);
  if (!failed.empty()) {
    std::fflush(stdout);
    fmt::print(stderr, "rover: {}\n", failed);
    return 1;
  }
  if (options.compare_seconds() > 0 && !journey.interrupted) compare(options, journey, colours);
  return 0;
}

}  // namespace
}  // namespace rover

int main(int count, char** arguments) try {
  const auto parsed = rover::parse_options({arguments + 1, arguments + count});
  if (const auto* farewell = std::get_if<rover::Farewell>(&parsed)) {
    fmt::print(farewell->code == 0 ? stdout : stderr, "{}", farewell->text);
    return farewell->code;
  }
  return rover::run(std::get<rover::Options>(parsed));
} catch (const std::exception& error) {
  fmt::print(stderr, "rover: {}\n", error.what());
  return 1;
}
