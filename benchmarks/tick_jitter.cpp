// SPDX-License-Identifier: Apache-2.0
//
// Ticks of a horus::Interval on a reactor.
//
//   tick_jitter --rate 1000 --seconds 10 [--spin]
//
// The thread's timer slack is 1 ns. --spin sleeps until 100 µs before each deadline and then polls.

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

#include "common/tick_load.hpp"

namespace {

horus::Task<> ticks(bench::TickLoad& load) {
  load.start();
  horus::Interval every(horus::Duration(load.period_ns()), static_cast<std::int64_t>(load.start_ns()));
  std::uint64_t skipped = 0;
  while (!load.done()) {
    auto next = every.next();
    // An instant that had passed before anybody asked for it is a late tick like any other.
    for (; skipped < every.missed() && !load.done(); ++skipped) load.tick();
    co_await next;
    if (!load.done()) load.tick();
  }
}

}  // namespace

int main(int argc, char** argv) {
  bench::TickLoad load(argc, argv);
  horus::io::ReactorConfig config;
  config.timer_slack_ns = 1;
  if (load.spin()) config.timer_spin = std::chrono::microseconds(100);
  horus::io::run(ticks(load), config);
  load.print();
}
