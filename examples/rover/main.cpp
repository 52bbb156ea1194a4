// SPDX-License-Identifier: Apache-2.0
// The rover: a camera that takes 50 ms a picture, a GPS receiver over TCP, commands over UDP, the machine's health, a log
// on disk and a live view, beside a controller with 100 ticks a second: one process, one thread. Then the same the old
// ways, for comparison. `rover --help` tells the options.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <horus/horus.hpp>

#include "dashboard.hpp"
#include "drive.hpp"
#include "fault_report.hpp"
#include "inputs.hpp"
#include "old_ways.hpp"
#include "options.hpp"
#include "plain_io.hpp"
#include "screen.hpp"

namespace rover {
namespace {

constexpr std::size_t kTimelineEvents = 1 << 17;  // 4 MiB: a few minutes

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
  auto config = scheduler_config(options.realtime && realtime_permitted());
  if (!options.timeline_path.empty()) config.timeline_events = kTimelineEvents;
  if (viewed && !options.record_path.empty()) config.records.push_back({options.record_path});
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

// How long the results of an interrupted drive wait for a terminal that takes nothing.
constexpr int kInterruptedPatience_ms = 500;
int patience_ms = -1;

template <class... Arguments>
void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  std::fflush(stdout);
  const std::string text = fmt::format(format, std::forward<Arguments>(arguments)...);
  if (!write_within(STDOUT_FILENO, text, patience_ms)) patience_ms = 0;
}

void print_result(const World& world, const Journey& journey, bool colours) {
  const std::string title =
      fmt::format("{:.1f} s, {:.0f} m, {} waypoints, {} pictures, {} GPS fixes ({})", journey.seconds,
                  world.drive.distance_m, world.drive.waypoints_reached, world.camera.pictures,
                  world.gps.epochs, journey.how);
  say("\n{}", table(title, table_rows(journey.nodes), colours));
}

void print_log(const World& world) {
  say("\nlog: {}, {} in {} records", world.log.path, bytes_text(world.log.bytes), world.log.records);
  if (world.log.lost > 0) say(", {} more lost", world.log.lost);
  say("\n");
}

/// Where each node's time went, on a screen that is wide enough for it.
void print_report(const Journey& journey) {
  const auto columns = static_cast<size_t>(LiveScreen::size().columns);
  size_t widest = 0;
  for (size_t begin = 0, end = 0; begin < journey.report.size(); begin = end + 1) {
    end = std::min(journey.report.find('\n', begin), journey.report.size());
    widest = std::max(widest, end - begin);
  }
  if (widest <= columns) say("\n{}", journey.report);
}

/// False when a fault was not noticed, contained and healed; an interrupted drive is not judged.
bool print_faults(const World& world, const Journey& journey, bool colours) {
  const std::vector<FaultOutcome> outcomes = fault_outcomes(world.faults.plan, journey.timeline);
  if (!outcomes.empty()) say("\n{}", fault_table(outcomes, colours));
  const int64_t safe_ns = world.faults.control_safe.ns;
  const auto spin = std::ranges::find(world.faults.plan, FaultKind::kLogSpins, &Fault::kind);
  if (spin != world.faults.plan.end() && spin->struck_ns != 0 && safe_ns > spin->struck_ns) {
    say("\nWhile log was spinning, the safety monitor put control into its safe state, {} after the spin\n"
        "began: an emergency stop, which was reset {} later.\n",
        duration_text(static_cast<uint64_t>(safe_ns - spin->struck_ns)),
        duration_text(static_cast<uint64_t>(std::max<int64_t>(world.faults.stop_reset_ns - safe_ns, 0))));
  }
  return journey.interrupted || (outcomes.size() == world.faults.plan.size() &&
                                 std::ranges::all_of(outcomes, &FaultOutcome::overcome));
}

bool write_timeline(const Journey& journey, const std::string& path) {
  const auto written = journey.timeline.write_html(path);
  if (!written) {
    fmt::print(stderr, "rover: {}\n", written.error().message());
    return false;
  }
  say("timeline: {}\n", path);
  return true;
}

/// The old ways, each with a world of its own; their logs are thrown away.
void compare(const Options& options, const ComparisonRow& ours, bool colours) {
  const std::string log_path = options.log_path + fmt::format(".compare-{}", ::getpid());
  std::vector<ComparisonRow> rows;
  for (const Way way : {Way::kBlocking, Way::kThreads}) {
    say("{}now the old way, {}, {:.1f} s …\n", rows.empty() ? "\n" : "", name_of(way),
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
  say("\nThe controller's ticks, beside the camera:\n{}", comparison(rows, colours));
  say("Threads as the kernel counts them. Those of Horus: the loop, its safety\n"
      "monitor, a helper that started the camera, and what serves files, with io_uring\n"
      "the kernel's worker.\n");
}

int run(Options options) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (options.log_path.empty()) {
    options.log_path = std::filesystem::temp_directory_path() / "rover.log";
  }
  if (options.faults && options.timeline_path.empty()) {
    options.timeline_path = std::filesystem::path(options.log_path).replace_filename("rover.html");
  }
  const bool colours = LiveScreen::possible() && LiveScreen::size().colours;
  World world;
  world.log.path = options.log_path;
  options.camera_program = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "rover_camera";
  ComparisonRow row;
  const Journey journey = measured_drive(world, options, options.way, options.drive_seconds(), true, row);
  std::string failed = what_failed(world, journey);
  if (journey.interrupted) patience_ms = kInterruptedPatience_ms;
  if (journey.code == 0) {
    print_result(world, journey, colours);
    if (options.faults) print_report(journey);
    if (options.faults && !print_faults(world, journey, colours))
      failed = "a fault was not overcome (see the table)";
    print_log(world);
    if (!options.timeline_path.empty() && !write_timeline(journey, options.timeline_path))
      failed = "the timeline could not be written";
  }
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
  const auto& options = std::get<rover::Options>(parsed);
  if (!options.replay_exactly_path.empty()) throw horus::io::replay_exactly(options.replay_exactly_path);
  // The recorded program is started with the same words when it is replayed.
  const bool replays = std::getenv("HORUS_REPLAY_SEAM") != nullptr;
  if (!options.record_exactly_path.empty() && !replays)
    ::setenv("HORUS_RECORD_SEAM", options.record_exactly_path.c_str(), 1);
  return rover::run(options);
} catch (const std::exception& error) {
  fmt::print(stderr, "rover: {}\n", error.what());
  return 1;
}
