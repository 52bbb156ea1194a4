// SPDX-License-Identifier: Apache-2.0
// From the world and the scheduler's statistics to what is shown: a frame, a plain line, the table at the end.
// The scheduler's thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <horus/base/histogram.hpp>
#include <horus/sched/scheduler.hpp>

#include "screen.hpp"
#include "view.hpp"
#include "world.hpp"

namespace rover {

inline constexpr horus::Rate kFrameRate{5};  // of the live view

class Dashboard {
 public:
  /// `screen` may be null: then it gives plain lines, one per second. `how` is the way of driving.
  Dashboard(const World& world, const LiveScreen* screen, std::string how, double length_s);

  /// What is to be written now; empty between two plain lines. Call it kFrameRate times a second.
  std::string next(const horus::Scheduler& scheduler);

 private:
  RoverView look(const std::vector<horus::NodeStatistics>& nodes, int64_t now_ns);

  const World& world_;
  const LiveScreen* screen_;
  std::string how_;
  double length_s_;
  int64_t started_ns_ = 0;
  uint64_t lines_ = 0;
  struct Lateness {
    horus::Histogram before;
    std::vector<uint64_t> worst;  // per frame, the newest last
  };
  std::vector<Lateness> lateness_;
};

/// Grid points of a periodic node that had no tick in time.
uint64_t missed_of(const horus::NodeStatistics& node) noexcept;

/// The rows of the table at the end, in order of priority.
std::vector<TableRow> table_rows(std::vector<horus::NodeStatistics> nodes);

}  // namespace rover
