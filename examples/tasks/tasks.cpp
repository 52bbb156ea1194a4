// SPDX-License-Identifier: Apache-2.0
// Tasks: await one, start one beside you, wait for all, for the first, or for a limited time.
#include <horus/horus.hpp>

using namespace horus::literals;

horus::Task<int> measure(int value, horus::Duration takes) {
  co_await horus::sleep(takes);
  co_return value;
}

horus::Task<horus::Result<int>> measure_broken_sensor() {
  co_await horus::sleep(1ms);
  co_return horus::Error(ENODEV, "measure", "/dev/lidar");
}

horus::Task<> run() {
  // A task starts when it is awaited.
  int one = co_await measure(1, 1ms);
  fmt::print("awaited: {}\n", one);

  // Spawned tasks run beside this one. A scope waits for them: none is ever forgotten.
  horus::Scope scope;
  auto background = scope.spawn(measure(2, 5ms), "lidar");
  fmt::print("spawned: {}\n", horus::to_string(background.state()));
  int two = co_await background;
  fmt::print("taken:   {}\n", two);
  co_await scope.join();

  // Side by side: takes as long as the slowest.
  auto [left, right] = co_await horus::when_all(measure(10, 10ms), measure(20, 5ms));
  fmt::print("all:     {} and {}\n", left, right);

  // A race: the first success wins. A failed Result loses; what is still running is stopped and awaited.
  auto race = co_await horus::when_any(measure_broken_sensor(), measure(7, 5ms), measure(8, 1h));
  fmt::print("first:   task {} with {}\n", race.index, *std::get<1>(race.outcomes).value);
  fmt::print("         {}\n", std::get<0>(race.outcomes).value->error().message());

  // At most 5 ms: then the task is stopped, and the failure says so.
  auto late = co_await horus::with_timeout(5ms, measure(9, 1h));
  fmt::print("limited: {}\n", late.error().message());
}

int main() { horus::io::run(run()); }
