// SPDX-License-Identifier: Apache-2.0
//
// Ticks by clock_nanosleep to absolute deadlines, with the kernel's default timer slack (50 µs) or another one.
//
//   tick_jitter_nanosleep --rate 1000 --seconds 10 [--slack-ns 1] [--spin]
//
// --spin sleeps until 100 µs before the deadline and then polls the clock.

#include <sys/prctl.h>

#include "../common/tick_load.hpp"

int main(int argc, char** argv) {
  constexpr std::uint64_t kSpinNs = 100'000;
  bench::Arguments arguments(argc, argv);
  std::uint64_t slack_ns = arguments.count("--slack-ns", 0);
  bench::TickLoad load(argc, argv, &arguments);
  if (slack_ns != 0) prctl(PR_SET_TIMERSLACK, slack_ns);
  load.start();
  while (!load.done()) {
    timespec wake = bench::to_timespec(load.deadline() - (load.spin() ? kSpinNs : 0));
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &wake, nullptr);
    while (load.spin() && bench::monotonic_ns() < load.deadline()) bench::relax_cpu();
    load.tick();
  }
  load.print();
}
