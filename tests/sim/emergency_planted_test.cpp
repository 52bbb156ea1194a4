// SPDX-License-Identifier: Apache-2.0
// The campaign of emergency stops finds a scheduler that forgets one of its rules, each within 300 seeds, and nothing where
// nothing is planted.
#include <string>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>

#include "emergency_scenario.hpp"

using emergency_scenario::Planted;

namespace {

// The first seed that fails, 0: none does.
std::uint64_t first_failure(Planted planted, std::uint64_t seeds) {
  horus::LogSink before = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  std::uint64_t found = 0;
  for (std::uint64_t seed = 1; seed <= seeds && found == 0; ++seed) {
    horus::sim::World world(seed);
    emergency_scenario::emergency(world, planted);
    if (!world.report().passed) found = seed;
  }
  horus::set_log_sink(before);
  return found;
}

}  // namespace

TEST_CASE("each rule of the emergency stop that is broken is found within 300 seeds") {
  const std::pair<Planted, const char*> bugs[] = {
      {Planted::tick_goes_on, "a tick in flight is not cancelled"},
      {Planted::publisher_sends, "a publisher is not muted"},
      {Planted::queue_is_kept, "a queue is not empty at the reset"},
      {Planted::latest_is_kept, "latest() remembers what came before the reset"},
      {Planted::node_ticks_on, "a held node is released"},
      {Planted::work_goes_on, "background work is not asked to stop"},
      {Planted::settles_too_early, "the second call of the hook does not wait for background work"},
      {Planted::begins_in_between, "an init() begins during the stop"},
  };
  for (const auto& [planted, what] : bugs) {
    const std::uint64_t found = first_failure(planted, 300);
    CHECK_MESSAGE(found != 0, std::string(what));
    MESSAGE(std::string(what) << ": found with seed " << found);
  }
}

TEST_CASE("nothing is found where nothing is planted") { CHECK(first_failure(Planted::nothing, 20) == 0); }
