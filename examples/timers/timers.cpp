// SPDX-License-Identifier: Apache-2.0
// Timers: sleeping, a grid of instants that never drifts, and a time limit for anything that can be awaited.
#include <horus/horus.hpp>

using namespace horus::literals;

double milliseconds_since(std::int64_t start_ns) {
  return static_cast<double>(horus::now_ns() - start_ns) / 1e6;
}

horus::Task<> run() {
  std::int64_t start = horus::now_ns();
  co_await horus::sleep(20ms);
  fmt::print("slept at least 20 ms: {}\n", milliseconds_since(start) >= 20);

  // 100 instants per second, counted from the start: work between them delays none of the later ones.
  horus::Interval every(100_hz);
  start = horus::now_ns();
  for (int tick = 1; tick <= 50; ++tick) {
    co_await every.next();
    if (tick == 25)
      co_await horus::sleep(34ms);  // too slow once: the instants that passed are skipped, not caught up
  }
  fmt::print("50 instants of a 10 ms grid, {} skipped: {:.0f} ms\n", every.missed(),
             milliseconds_since(start));

  // A time limit.
  horus::Event answer;
  auto wait = [&]() -> horus::Task<> { co_await answer.wait(); };
  auto in_time = co_await horus::with_timeout(10ms, wait());
  fmt::print("no answer within 10 ms: {}\n", in_time.error().message());
  answer.set();
  in_time = co_await horus::with_timeout(10ms, wait());
  fmt::print("an answer in time: {}\n", in_time.ok());
}

int main() { horus::io::run(run()); }
