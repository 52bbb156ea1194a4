// SPDX-License-Identifier: Apache-2.0
// What the rover says of its faults, from timelines that are written down here.
#include "fault_report.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/sched/states.hpp>

using namespace rover;
using horus::CircuitState;
using horus::NodeState;
using horus::TickOutcome;
using horus::Timeline;
using Kind = horus::TimelineEvent::Kind;

namespace {

constexpr int64_t kMs = 1'000'000;
constexpr uint32_t kControl = 0, kGps = 1, kView = 2;

struct Story {
  Timeline timeline;
  std::vector<Fault> plan{{FaultKind::kGpsSilent, "GPS silent", "gps", {}, 1000 * kMs}};

  Story() { timeline.nodes = {{"control", 100, 0, ""}, {"gps", 0, 0, ""}, {"view", 5, 0, ""}}; }

  void tick(uint32_t node, int64_t begin_ms, int64_t end_ms, TickOutcome outcome = TickOutcome::ok) {
    timeline.events.push_back(
        {begin_ms * kMs, end_ms * kMs, node, Kind::tick, static_cast<uint8_t>(outcome)});
  }
  template <class Detail>
  void add(uint32_t node, int64_t at_ms, Kind kind, Detail detail) {
    timeline.events.push_back({at_ms * kMs, at_ms * kMs, node, kind, static_cast<uint8_t>(detail)});
  }
  void control(int64_t from_ms, int64_t to_ms) {
    for (int64_t at = from_ms; at < to_ms; at += 10) tick(kControl, at, at + 1);
  }
  FaultOutcome outcome() const {
    const auto outcomes = fault_outcomes(plan, timeline);
    REQUIRE(outcomes.size() == 1);
    return outcomes.front();
  }
};

}  // namespace

TEST_CASE("a fault that was noticed and healed while the controller kept its ticks is overcome") {
  Story story;
  story.control(900, 3000);
  story.tick(kGps, 900, 990, TickOutcome::failed);  // before the fault
  story.add(kGps, 1400, Kind::watchdog, 1);
  story.add(kGps, 1800, Kind::watchdog, 2);
  story.tick(kGps, 990, 1800, TickOutcome::cancelled_watchdog);
  story.tick(kGps, 1810, 2000);
  story.add(kGps, 2000, Kind::watchdog, 0);
  story.tick(kGps, 2000, 2900, TickOutcome::failed);  // afterwards
  const FaultOutcome outcome = story.outcome();
  CHECK(outcome.noticed_by == "watchdog, cancelled tick");
  CHECK(outcome.noticed_after_ns == 400 * kMs);
  CHECK(outcome.healed_after_ns == 1000 * kMs);
  CHECK(outcome.control_ticks == 100);
  CHECK(outcome.control_grid_points == 100);
  CHECK(outcome.overcome());
  CHECK(fault_table({outcome}, false).find("100 of 100") != std::string::npos);
}

TEST_CASE("healed is a node that ticks while its circuit is closed, not before") {
  Story story;
  for (const int64_t at : {1000, 1100, 1200}) story.tick(kGps, at, at + 1, TickOutcome::failed);
  story.add(kGps, 1201, Kind::state, NodeState::restarting);
  story.add(kGps, 1201, Kind::circuit, CircuitState::open);
  story.add(kGps, 1300, Kind::circuit, CircuitState::half_open);
  story.tick(kGps, 1400, 1401);
  CHECK_FALSE(story.outcome().overcome());
  story.tick(kGps, 1500, 1501);
  story.add(kGps, 1501, Kind::circuit, CircuitState::closed);
  CHECK(story.outcome().noticed_by == "3 failed ticks, restart");
  CHECK(story.outcome().healed_after_ns == 501 * kMs);
  CHECK(story.outcome().overcome());
}

TEST_CASE("what nobody noticed, what spread, and what was caught up on in a burst is not overcome") {
  Story story;
  story.control(1000, 1500);
  CHECK(story.outcome().noticed_by.empty());
  CHECK_FALSE(story.outcome().overcome());

  story.add(kGps, 1200, Kind::watchdog, 1);
  story.tick(kGps, 1000, 1300);
  story.add(kGps, 1300, Kind::watchdog, 0);
  CHECK(story.outcome().overcome());

  Story spread = story;
  spread.tick(kView, 1200, 1250, TickOutcome::failed);
  CHECK(spread.outcome().others_failed == 1);
  CHECK_FALSE(spread.outcome().overcome());

  Story late = story;
  for (int64_t at = 1100; at < 1130; at += 10)
    late.add(kControl, at, Kind::skipped, TickOutcome::skipped_late);
  CHECK(late.outcome().control_late == 3);
  CHECK(late.outcome().overcome());

  Story burst = story;
  for (int64_t at = 1100; at < 1130; at += 10) burst.tick(kControl, at, 1133);
  CHECK(burst.outcome().burst);
  CHECK_FALSE(burst.outcome().overcome());
}
