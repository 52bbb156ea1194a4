// SPDX-License-Identifier: Apache-2.0
//
// Many uv_timer_t on one libuv loop (a binary heap, whole milliseconds).
//
//   timers_libuv --count 100000

#include <uv.h>

#include "../common/timer_load.hpp"

class LibuvTimers {
 public:
  static constexpr std::uint64_t kScheduleBudgetNs = 2000;

  explicit LibuvTimers(std::size_t count) : timers_(count) {
    uv_loop_init(&loop_);
    for (auto& timer : timers_) uv_timer_init(&loop_, &timer);
    uv_update_time(&loop_);
  }

  void schedule(std::size_t i, std::uint64_t deadline_ns) {
    std::uint64_t deadline_ms = (deadline_ns + 999'999) / 1'000'000;
    std::uint64_t now_ms = uv_now(&loop_);
    uv_timer_start(&timers_[i], [](uv_timer_t*) {}, deadline_ms > now_ms ? deadline_ms - now_ms : 0, 0);
  }

  // The loop ends by itself when no timer is left.
  void run_until_fired(std::size_t) { uv_run(&loop_, UV_RUN_DEFAULT); }

  void cancel(std::size_t i) { uv_timer_stop(&timers_[i]); }
  void finish_cancels(std::size_t) {}

 private:
  uv_loop_t loop_;
  std::vector<uv_timer_t> timers_;
};

int main(int argc, char** argv) { return bench::run_timers<LibuvTimers>(argc, argv); }
