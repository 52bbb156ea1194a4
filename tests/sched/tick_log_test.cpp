// SPDX-License-Identifier: Apache-2.0
// Ticks are added to their nodes' accounts in batches; whoever asks sees every one of them.
#include <horus/sched/data/tick_log.hpp>

#include <memory>
#include <vector>

#include <doctest/doctest.h>

#include "virtual_time.hpp"

using horus::NodeStatistics;
using horus::Task;
using horus::TickOutcome;
using horus::detail::TickEntry;
using horus::detail::TickLog;
using namespace horus::literals;

TEST_CASE("a log folds by itself when it is full, and when it is asked to") {
  NodeStatistics first, second;
  const auto log = std::make_unique<TickLog>();
  log->serve({&first, &second});
  for (std::size_t i = 0; i < TickLog::kSize - 1; ++i)
    log->add({10 + i, 100, 1000, static_cast<std::uint32_t>(i % 2), TickOutcome::ok, i % 4 == 0});
  CHECK(first.total_ticks == 0);
  log->add({7, 90, 3, 1, TickOutcome::failed, true});
  CHECK(first.total_ticks == TickLog::kSize / 2);
  CHECK(first.successful_ticks == TickLog::kSize / 2);
  CHECK(first.on_time_ticks == TickLog::kSize / 4);
  CHECK(first.release_lateness.min() == 10);
  CHECK(first.response.min() == 1110);
  CHECK(first.suspended.count() == TickLog::kSize / 2);
  CHECK(second.successful_ticks == TickLog::kSize / 2 - 1);
  CHECK(second.failed_ticks == 1);
  CHECK(second.on_time_ticks == 0);  // a failed tick is never on time
  CHECK(second.count(TickOutcome::failed) == 1);
  CHECK(second.last_tick_ns == 90);
  CHECK(second.response.min() == 100);
  log->add({1, 2, 3, 0, TickOutcome::cancelled_deadline, false});
  CHECK(first.cancelled_ticks == 0);
  log->fold();
  CHECK(first.cancelled_ticks == 1);
  log->fold();
  CHECK(first.cancelled_ticks == 1);
  // Other accounts: what was logged for the former ones is theirs.
  log->add({1, 2, 3, 1, TickOutcome::ok, false});
  NodeStatistics third;
  log->serve({&third});
  CHECK(second.successful_ticks == TickLog::kSize / 2);
  log->add({1, 2, 3, 0, TickOutcome::ok, false});
  log->fold();
  CHECK(third.grid_points == 1);
}

TEST_CASE("statistics hold every tick that has ended, whoever asks and when; one in flight is a grid point") {
  std::vector<std::uint64_t> seen, suspended;
  const auto run = virtual_time::run({
      .build =
          [&](horus::Scheduler& scheduler) {
            auto number = std::make_shared<std::uint64_t>(0);
            // Asked from the node itself: this tick has not ended, all before it have.
            scheduler
                .add("asks",
                     [&scheduler, &seen, number] {
                       seen.push_back(scheduler.statistics("asks")->successful_ticks - *number);
                       ++*number;
                     })
                .rate(100_hz);
            scheduler.add("waits", []() -> Task<> { co_await horus::sleep(25ms); }).rate(10_hz);
          },
      .length = 1s,
      .beside = [&](horus::Scheduler& scheduler) -> Task<> {
        co_await horus::sleep(10ms);
        for (int i = 0; i < 9; ++i) {
          const auto waits = *scheduler.statistics("waits");
          suspended.push_back(waits.total_ticks * 100 + waits.grid_points * 10 + waits.successful_ticks -
                              110 * i);
          co_await horus::sleep(100ms);
        }
      },
  });
  CHECK(run.nodes.at("asks").successful_ticks == seen.size());
  CHECK(seen == std::vector<std::uint64_t>(seen.size(), 0));
  std::vector<std::uint64_t> expected;
  for (std::uint64_t i = 0; i < 9; ++i) expected.push_back(110 + i);  // i have ended, one is in flight
  CHECK(suspended == expected);
  CHECK(run.nodes.at("waits").suspended.count() == run.nodes.at("waits").total_ticks);
}
