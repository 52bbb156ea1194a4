// SPDX-License-Identifier: Apache-2.0
// The rover: a camera that takes 50 ms a picture, a GPS receiver over TCP, commands over UDP, the machine's health, a log
// on disk and a live view, beside a controller with 100 ticks a second: one process, one thread. Then the same the old
// ways, for comparison. `rover --help` tells the options.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <horus/horus.hpp>

#include "dashboard.hpp"
#include "drive.hpp"
#include "inputs.hpp"
#include "old_ways.hpp"
#include "options.hpp"
#include "plain_io.hpp"
#include "screen.hpp"

namespace rover {
namespace {

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

/// Drives one way for `seconds` (0: until Ctrl-C), with the view when `viewed`; `row` gets what it cost.
Journey measured_drive(World& world, const Options& options, Way way, double seconds, bool viewed,
                       ComparisonRow& row) {
  const Graph graphs[] = {add_nodes,
                          [](horus::Scheduler& scheduler, World& to, const Options& how) {
                            add_blocking_nodes(scheduler, to, how, camera_command(how));
                          },
                          [](horus::Scheduler& scheduler, World& to, const Options& how) {
                            add_threaded_nodes(scheduler, to, how, camera_command(how));
                          }};
  const auto config = scheduler_config(options.realtime && realtime_permitted());
  horus::io::Reactor reactor(config.reactor);
  std::string title;
  if (viewed && way == Way::kHorus)
    title = reactor.backend_name() == std::string_view("uring") ? "io_uring" : reactor.backend_name();
  if (viewed && way != Way::kHorus) title = name_of(way);

  const uint64_t left_over = threads_now() - 1;  // helpers of the drive before, idle
  const double cpu_start = cpu_seconds();
  Journey journey =
      reactor.run(drive(world, options, graphs[static_cast<size_t>(way)], config, seconds, title));
  row.name = name_of(way);
  row.threads = world.health.threads - std::min(left_over, world.health.threads);
  row.cpu_percent = 100 * (cpu_seconds() - cpu_start) / journey.seconds;
  for (const horus::NodeStatistics& node : journey.nodes) {
    if (node.name != "control") continue;
    row.in_time = node.on_time_ticks;
    row.releases = node.on_time_ticks + missed_of(node);
    if (!node.release_lateness.empty()) row.lateness_p99_ns = node.release_lateness.percentile(99);
  }
  return journey;
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
void compare(const Options& options, const ComparisonRow& ours, bool colours) {
  const std::string log_path = options.log_path + fmt::format(".compare-{}", ::getpid());
  std::vector<ComparisonRow> rows;
  for (const Way way : {Way::kBlocking, Way::kThreads}) {
    fmt::print("{}now the old way, {}, {:.1f} s …\n", rows.empty() ? "\n" : "", name_of(way),
               options.compare_seconds());
    std::fflush(stdout);
    World world;
    world.log.path = log_path;
    ComparisonRow row;
    const Journey journey = measured_drive(world, options, way, options.compare_seconds(), false, row);
    std::filesystem::remove(log_path);
    if (journey.code != 0 || journey.interrupted) return;
    rows.push_back(std::move(row));
  }
  rows.push_back(ours);
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
  options.camera_program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rover_camera";
  ComparisonRow row;
  const Journey journey = measured_drive(world, options, options.way, options.drive_seconds(), true, row);
  if (journey.code == 0) print_result(world, journey, colours);
  const std::string failed = what_failed(world, journey);
  if (!failed.empty()) {
    std::fflush(stdout);
    fmt::print(stderr, "rover: {}\n", failed);
    return 1;
  }
  if (options.compare_seconds() > 0 && !journey.interrupted) compare(options, row, colours);
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
