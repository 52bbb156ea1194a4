// SPDX-License-Identifier: Apache-2.0
//
// Many timers on one reactor: schedule, fire, cancel.
//
//   timers --count 100000 [--coroutines]
//
// By default the reactor's own timers (Reactor::timers(), a function per timer), as the peers have callbacks. With
// --coroutines each timer is a coroutine in `co_await horus::sleep_until(…)`: its start, its frame, its resumption and
// its end are part of the figures.

#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

#include "common/timer_load.hpp"

namespace {

class ReactorTimers {
 public:
  static constexpr std::uint64_t kScheduleBudgetNs = 2000;

  explicit ReactorTimers(std::size_t count) : timers_(count) {
    for (auto& timer : timers_) {
      timer.owner = this;
      timer.expired = [](horus::io::Timer& self) noexcept { ++static_cast<Counted&>(self).owner->fired_; };
    }
  }
  void schedule(std::size_t i, std::uint64_t deadline_ns) {
    reactor_.timers().insert(timers_[i], static_cast<std::int64_t>(deadline_ns));
  }
  void run_until_fired(std::size_t count) {
    while (fired_ < count) reactor_.run_once(std::chrono::hours(1));
    fired_ = 0;
  }
  void cancel(std::size_t i) { reactor_.timers().cancel(timers_[i]); }
  void finish_cancels(std::size_t) {}

 private:
  struct Counted : horus::io::Timer {
    ReactorTimers* owner = nullptr;
  };
  horus::io::Reactor reactor_;
  std::vector<Counted> timers_;
  std::size_t fired_ = 0;
};

class CoroutineTimers {
 public:
  static constexpr std::uint64_t kScheduleBudgetNs = 4000;

  explicit CoroutineTimers(std::size_t count) : tasks_(count) {}
  ~CoroutineTimers() { finish_cancels(0); }

  void schedule(std::size_t i, std::uint64_t deadline_ns) {
    tasks_[i].emplace(sleep_once(horus::TimePoint(horus::Duration(deadline_ns))));
    ++running_;
    tasks_[i]->start();
  }
  void run_until_fired(std::size_t) { finish_cancels(0); }
  void cancel(std::size_t i) { tasks_[i]->request_stop(); }
  void finish_cancels(std::size_t) {
    while (running_ > 0) reactor_.run_once(std::chrono::hours(1));
  }

 private:
  horus::Task<> sleep_once(horus::TimePoint when) {
    auto sleeping = horus::sleep_until(when);
    try {
      co_await sleeping;
    } catch (const horus::Error&) {
    }
    --running_;
  }
  horus::io::Reactor reactor_;
  std::vector<std::optional<horus::RootChain<void>>> tasks_;
  std::size_t running_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<char*> words(argv, argv + argc);
  const auto coroutines =
      std::erase_if(words, [](const char* word) { return std::strcmp(word, "--coroutines") == 0; });
  const int left = static_cast<int>(words.size());
  return coroutines > 0 ? bench::run_timers<CoroutineTimers>(left, words.data())
                        : bench::run_timers<ReactorTimers>(left, words.data());
}
