// SPDX-License-Identifier: Apache-2.0
//
// Many Asio steady_timers on one io_context (a binary heap; a handler per wait).
//
//   timers_asio --count 100000

#include <chrono>

#include "../common/timer_load.hpp"
#include "net.hpp"

class AsioTimers {
 public:
  static constexpr std::uint64_t kScheduleBudgetNs = 2000;

  explicit AsioTimers(std::size_t count) {
    timers_.reserve(count);
    for (std::size_t i = 0; i < count; ++i) timers_.emplace_back(context_);
  }

  void schedule(std::size_t i, std::uint64_t deadline_ns) {
    timers_[i].expires_at(std::chrono::steady_clock::time_point(std::chrono::nanoseconds(deadline_ns)));
    timers_[i].async_wait([](const net_error&) {});
  }

  void run_until_fired(std::size_t) {
    context_.run();
    context_.restart();
  }

  void cancel(std::size_t i) { timers_[i].cancel(); }
  void finish_cancels(std::size_t) { context_.run(); }

 private:
  net::io_context context_{1};
  std::vector<net::steady_timer> timers_;
};

int main(int argc, char** argv) { return bench::run_timers<AsioTimers>(argc, argv); }
