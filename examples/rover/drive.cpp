// SPDX-License-Identifier: Apache-2.0
#include "drive.hpp"

#include <optional>

#include "camera_node.hpp"
#include "command_node.hpp"
#include "control_node.hpp"
#include "dashboard.hpp"
#include "faulty_nodes.hpp"
#include "gps_node.hpp"
#include "health_node.hpp"
#include "inputs.hpp"
#include "log_node.hpp"
#include "receiver.hpp"
#include "receiver_node.hpp"
#include "screen.hpp"
#include "view_node.hpp"

namespace rover {

using namespace horus::literals;

namespace {
constexpr horus::Duration kControlWatchdog = 60_ms;  // safe after three of them, whoever blocks the loop
constexpr horus::Duration kReceiverPatience = 3_s;   // with a receiver that we do not know
}  // namespace

std::vector<std::string> camera_command(const Options& options) {
  if (!options.camera_command.empty()) return {"/bin/sh", "-c", options.camera_command};
  return {options.camera_program};
}

horus::SchedulerConfig scheduler_config(bool realtime) {
  auto config = horus::SchedulerConfig::standard();
  config.timer_slack = 1_us;
  config.shutdown_limit = 3_s;  // the log's last words need a disk that may be busy
  config.circuit.max_failures = 3;
  config.circuit.close_after = 2;
  if (realtime) config.fifo_priority = kRealtimePriority;
  return config;
}

void add_nodes(horus::Scheduler& scheduler, World& world, const Options& options) {
  const bool faults = options.faults;
  const bool own_receiver = world.gps.source.empty();
  if (own_receiver)
    (faults ? scheduler.add<FaultyReceiver>(world) : scheduler.add<ReceiverNode>(world))
        .rate(horus::Rate(kReceiverRate_hz))
        .priority(40)
        .keep_in_emergency();
  // Those that only look, or tell, go on during an emergency stop; what drives and what listens to orders does not.
  auto control =
      scheduler.add<ControlNode>(world).rate(kControlRate).priority(0).deadline(kControlRate.period());
  if (faults) control.watchdog(kControlWatchdog).critical();
  auto camera_node = std::make_unique<CameraNode>(world, camera_command(options));
  CameraNode& camera = *camera_node;
  // Its pauses between two starts are its own.
  scheduler.add(std::move(camera_node)).priority(10).circuit_breaker(false).keep_in_emergency();
  if (options.nmea_file.empty()) {
    const horus::Duration patience = faults         ? gps_watchdog_in(options.drive_seconds())
                                     : own_receiver ? horus::Duration(1_s)
                                                    : kReceiverPatience;
    scheduler.add<GpsNode>(world).priority(20).watchdog(patience).keep_in_emergency();
  } else {
    scheduler.add<GpsFileNode>(world).priority(20).keep_in_emergency();
  }
  scheduler.add<CommandNode>(world, options.command_port).priority(25);
  (faults ? scheduler.add<FaultyHealth>(world) : scheduler.add<HealthNode>(world))
      .rate(2_hz)
      .priority(50)
      .auto_restart()
      .keep_in_emergency();
  (faults ? scheduler.add<FaultyLog>(world) : scheduler.add<LogNode>(world))
      .rate(kLogRate)
      .priority(60)
      .deadline(kLogRate.period())
      .watchdog(200_ms)
      .keep_in_emergency();
  if (faults) {
    scheduler.add<FaultNode>(scheduler, world, camera, options.drive_seconds())
        .priority(5)
        .keep_in_emergency();
  }
}

namespace {

// A second program may look at the pictures in our memory: rover_watch.
void share_pictures(horus::Scheduler& scheduler, const std::string& name) {
  auto hub = horus::Hub::shm(name);
  if (hub) {
    scheduler.use_hub(std::move(*hub));
  } else {
    horus::log_warning(hub.error().message() + "; nobody else will see the pictures");
  }
}

}  // namespace

horus::Task<Journey> drive(World& world, const Options& options, Graph graph, horus::SchedulerConfig config,
                           double seconds, std::string title) {
  world.gps.source = options.nmea_file.empty() ? options.nmea_address : options.nmea_file;
  const std::string_view name = horus::io::Reactor::current()->backend_name();
  const std::string backend = name == "uring" ? "io_uring" : std::string(name);
  Journey journey;
  journey.how = backend + (config.fifo_priority > 0 ? ", real-time" : ", ordinary priority");

  horus::Scheduler scheduler(config);
  if (!options.share.empty()) share_pictures(scheduler, options.share);
  graph(scheduler, world, options);
  std::optional<LiveScreen> screen;
  if (!title.empty()) {
    // Errors end the view, unless they are what the drive is about.
    if (options.view && LiveScreen::possible())
      screen.emplace(options.faults ? OnError::kNotice : OnError::kGiveUp);
    Dashboard dashboard(world, screen ? &*screen : nullptr, title, seconds);
    scheduler.add<ViewNode>(scheduler, std::move(dashboard))
        .rate(kFrameRate)
        .priority(90)
        .keep_in_emergency();
  }
  if (options.faults) world.faults.plan = fault_plan(seconds);
  const int64_t start = horus::now_ns();
  const horus::Duration limit =
      seconds > 0 ? horus::Duration(static_cast<int64_t>(seconds * 1e9)) : horus::Duration::max();
  auto running = scheduler.run_main(limit);
  journey.code = co_await running;
  journey.seconds = static_cast<double>(horus::now_ns() - start) * 1e-9;
  journey.interrupted = seconds == 0 || journey.seconds < seconds;
  journey.nodes = scheduler.statistics();
  journey.report = scheduler.report(horus::Detail::awaits);
  if (config.timeline_events > 0) {
    journey.timeline = scheduler.timeline();
    journey.timeline.title = "rover";
  }
  co_return std::move(journey);
}

std::string what_failed(const World& world, const Journey& journey) {
  if (journey.code != 0) return "a part could not start (see above)";
  if (world.camera.pictures == 0 && journey.seconds > 1) return "the camera never sent a picture";
  if (world.log.records == 0 && world.log.lost > 0) return "nothing of the log could be written";
  return {};
}

}  // namespace rover
