// SPDX-License-Identifier: Apache-2.0
//
// Many timers as one io_uring TIMEOUT each: what it costs to leave timers to the kernel.
//
//   timers_raw_uring --count 100000

#include <array>

#include "../common/timer_load.hpp"
#include "uring.hpp"

class KernelTimers {
 public:
  static constexpr std::uint64_t kScheduleBudgetNs = 40'000;

  explicit KernelTimers(std::size_t) : ring_(kBatch, 65536) {}

  void schedule(std::size_t i, std::uint64_t deadline_ns) {
    timespec time = bench::to_timespec(deadline_ns);
    __kernel_timespec& deadline = deadlines_[i % kBatch];
    deadline = {.tv_sec = time.tv_sec, .tv_nsec = time.tv_nsec};
    io_uring_sqe* entry = ring_.entry();
    io_uring_prep_timeout(entry, &deadline, 0, IORING_TIMEOUT_ABS);
    io_uring_sqe_set_data64(entry, i + 1);
    if ((i + 1) % kBatch == 0) ring_.submit_and_wait(0);
  }

  void run_until_fired(std::size_t count) {
    for (std::size_t fired = 0; fired < count;) {
      ring_.submit_and_wait(1);
      fired += ring_.for_each_completion([](const io_uring_cqe&) {});
    }
  }

  void cancel(std::size_t i) {
    io_uring_sqe* entry = ring_.entry();
    io_uring_prep_timeout_remove(entry, i + 1, 0);
    io_uring_sqe_set_data64(entry, 0);
    if (++unsubmitted_cancels_ == kBatch) reap_cancels(0);
  }

  // A cancel and the timer that it cancels complete with one completion each.
  void finish_cancels(std::size_t count) {
    while (reaped_ < 2 * count) reap_cancels(1);
  }

 private:
  static constexpr unsigned kBatch = 64;  // entries per enter

  void reap_cancels(unsigned wanted) {
    unsubmitted_cancels_ = 0;
    ring_.submit_and_wait(wanted);
    reaped_ += ring_.for_each_completion([](const io_uring_cqe&) {});
  }

  bench::Ring ring_;
  std::array<__kernel_timespec, kBatch> deadlines_;  // read by the kernel when they are submitted
  std::size_t unsubmitted_cancels_ = 0;
  std::size_t reaped_ = 0;
};

int main(int argc, char** argv) { return bench::run_timers<KernelTimers>(argc, argv); }
