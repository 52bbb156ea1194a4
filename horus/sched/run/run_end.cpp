// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/run_end.hpp>

#include <csignal>
#include <optional>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/signals.hpp>
#include <horus/sched/node/node_record.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/run/safety_monitor.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI {
namespace detail {
namespace {

// Everything after the stop request, and then a moment for what a blocked loop had kept from running.
constexpr Duration kLastMoment = std::chrono::milliseconds(100);
constexpr Duration kStopLimit = Duration(SafetyMonitor::kStopLimit_ns) - kLastMoment;

bool is_ours(int number) noexcept {
  const int action = io::System::here().signal_action(number);
  return action == 0 || (action == 2 && number != SIGHUP);
}

}  // namespace

RunEnd::RunEnd(Scheduler& scheduler, bool own_signals) {
  timer_.expired = &RunEnd::expired;
  timer_.scheduler = &scheduler;
  if (!own_signals) return;
  const bool simulated = io::System::here().world_process() != 0;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    if (simulated || is_ours(number)) signals_ |= io::SignalClaim::bit(number);
  }
}

std::vector<int> RunEnd::numbers() const {
  std::vector<int> numbers;
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    if ((signals_ & io::SignalClaim::bit(number)) != 0) numbers.push_back(number);
  }
  return numbers;
}

void RunEnd::begin() noexcept {
  if (signals_ == 0) return;
  io::Reactor::current()->timers().insert(timer_, saturating_add(now_ns(), kStopLimit.count()));
}

void RunEnd::over() noexcept {
  if (timer_.pending()) io::Reactor::current()->timers().cancel(timer_);
}

void RunEnd::expired(io::Timer& timer) noexcept {
  auto& self = static_cast<StuckTimer&>(timer);
  if (!std::exchange(self.warned, true)) {
    io::Reactor::current()->timers().insert(self, saturating_add(now_ns(), kLastMoment.count()));
    return;
  }
  log_error("the shutdown did not end in time; still waiting:\n" + dump_tasks());
  self.scheduler->end_process(SafetyMonitor::kExitStuck);
}

}  // namespace detail

// The monitor ends it, with the hooks on its helpers: one that hangs here would keep the process.
void Scheduler::end_process(int code) noexcept {
  if (monitor_->runs()) return monitor_->end_process(code);
  for (auto& record : nodes_) record->enter_safe_state();
  io::Reactor::current()->system().exit_now(code);
}

// The first signal stops gracefully; the second goes straight to the safe states and out.
Task<> Scheduler::watch_signals(const detail::RunEnd& end) {
  std::optional<io::SignalSet> watched;
  try {
    watched.emplace(end.numbers());
  } catch (const Error& error) {
    log_warning("Ctrl-C will not stop this scheduler: " + error.message());
    co_return;
  }
  io::SignalSet& signals = *watched;
  while (true) {
    auto signal = co_await signals.next();
    if (!signal) co_return;
    // One that came while the loop was blocked has been heard by the monitor.
    if (signals_read_.fetch_add(1, std::memory_order_acq_rel) > 0) {
      end_process(128 + signal->number);
      continue;
    }
    log_info(fmt::format("{}: stopping (once more to stop at once)", io::signal_name(signal->number)));
    stop();
  }
}

// A stop after the end of a run is not one of the next.
void Scheduler::stop() noexcept {
  if (ended_.load(std::memory_order_acquire)) return;
  stop_requested_.store(true, std::memory_order_seq_cst);
  if (ended_.load(std::memory_order_seq_cst)) stop_requested_.store(false, std::memory_order_release);
  main_->poke();
}

// A node that was not waited for at the start could not start.
void Scheduler::fail() noexcept {
  failed_.store(true, std::memory_order_relaxed);
  stop();
}

void Scheduler::emergency_stop() noexcept {
  emergency_.store(true, std::memory_order_release);
  monitor_->notify();
  main_->poke();
}

void Scheduler::reset_emergency_stop() noexcept {
  for (const auto& record : nodes_) record->vitals.hook.end_episode();
  emergency_.store(false, std::memory_order_release);
  emergency_resets_.fetch_add(1, std::memory_order_release);
  main_->poke();
}

void Scheduler::pass_on(const detail::Executor& from) noexcept {
  if (&from != main_) return;
  for (std::size_t i = 1; i < executors_.size(); ++i) executors_[i]->poke();
}

}  // namespace horus::HORUS_ABI
