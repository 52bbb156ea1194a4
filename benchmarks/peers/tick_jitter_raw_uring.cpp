// SPDX-License-Identifier: Apache-2.0
//
// Ticks by one io_uring TIMEOUT per tick with an absolute deadline, hand-written.
//
//   tick_jitter_raw_uring --rate 1000 --seconds 10

#include "../common/tick_load.hpp"
#include "uring.hpp"

int main(int argc, char** argv) {
  bench::TickLoad load(argc, argv);
  bench::Ring ring(8, 16);
  load.start();
  while (!load.done()) {
    timespec wake = bench::to_timespec(load.deadline());
    __kernel_timespec deadline{.tv_sec = wake.tv_sec, .tv_nsec = wake.tv_nsec};
    io_uring_prep_timeout(ring.entry(), &deadline, 0, IORING_TIMEOUT_ABS);
    ring.submit_and_wait(1);
    while (ring.for_each_completion([](const io_uring_cqe&) {}) == 0) ring.submit_and_wait(1);
    load.tick();
  }
  load.print();
}
