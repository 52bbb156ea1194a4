// SPDX-License-Identifier: Apache-2.0
// A drive: the nodes put together and run, as a task of whatever reactor is there. main.cpp gives it a real one,
// tests/sim/rover_campaign.cpp a simulated one.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <horus/horus.hpp>

#include "options.hpp"
#include "world.hpp"

namespace rover {

inline constexpr int kRealtimePriority = 10;  // of SCHED_FIFO, where that is permitted

/// What became of a drive.
struct Journey {
  Journey() {}
  int code = 0;
  double seconds = 0;
  bool interrupted = false;
  std::string how;  // backend and priority
  std::vector<horus::NodeStatistics> nodes;
  std::string report;        // of the scheduler, with what its nodes waited for
  horus::Timeline timeline;  // empty unless the configuration keeps one
};

/// The camera program and its arguments.
std::vector<std::string> camera_command(const Options& options);
/// How the scheduler is set; `realtime`: this process may use SCHED_FIFO, and shall.
horus::SchedulerConfig scheduler_config(bool realtime);
/// The nodes of the drive with awaited I/O.
void add_nodes(horus::Scheduler& scheduler, World& world, const Options& options);

/// Who fills a scheduler: add_nodes, or one of the old ways.
using Graph = std::function<void(horus::Scheduler&, World&, const Options&)>;

/// Drives for `seconds` (0: until SIGINT or SIGTERM). `title` names the way in the view; empty: without one. World and
/// options must outlive it.
horus::Task<Journey> drive(World& world, const Options& options, Graph graph, horus::SchedulerConfig config,
                           double seconds, std::string title);

/// What is wrong at the end, in one line; empty when all went well.
std::string what_failed(const World& world, const Journey& journey);

}  // namespace rover
