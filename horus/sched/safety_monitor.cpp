// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/safety_monitor.hpp>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/clock.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sched/executor.hpp>

namespace horus::detail {
namespace {

constexpr std::int64_t kBlocked_ns = 10'000'000;  // one stretch of running, before the loop counts as blocked
constexpr std::int64_t kGrace_ns = 20'000'000;    // for the loop to enter the safe states itself
constexpr std::int64_t kLongestPeriod_ns = 50'000'000;
constexpr std::int64_t kShortestPeriod_ns = 2'000'000;
constexpr int kExitBlocked = 70;  // EX_SOFTWARE
constexpr int kFrames = 32;
constexpr int kStackSignal = SIGURG;  // ignored by default, so that a late one harms nobody

// --- The stack of a blocked thread, taken by that thread in a signal handler.
struct StackSample {
  void* frames[kFrames];
  std::atomic<int> count{-1};  // -1: not taken
};
StackSample stack_sample;

void take_stack(int) {
  const int saved = errno;
  stack_sample.count.store(::backtrace(stack_sample.frames, kFrames), std::memory_order_release);
  errno = saved;
}

// False when the program uses that signal itself.
bool prepare_stack_signal() {
  struct sigaction now{};
  if (::sigaction(kStackSignal, nullptr, &now) != 0) return false;
  if (now.sa_handler == take_stack) return true;
  if (now.sa_handler != SIG_DFL && now.sa_handler != SIG_IGN) return false;
  void* warm[2];  // the first call loads a library
  ::backtrace(warm, 2);
  struct sigaction wanted{};
  wanted.sa_handler = take_stack;
  wanted.sa_flags = SA_RESTART;
  return ::sigaction(kStackSignal, &wanted, nullptr) == 0;
}

// A line without allocation.
class Line {
 public:
  template <class... Arguments>
  Line& add(fmt::format_string<Arguments...> format, Arguments&&... arguments) noexcept {
    const std::size_t room = sizeof text_ - size_;
    const auto result = fmt::format_to_n(text_ + size_, room, format, std::forward<Arguments>(arguments)...);
    size_ += std::min(room, result.size);
    return *this;
  }
  [[nodiscard]] std::string_view view() const noexcept { return {text_, size_}; }

 private:
  char text_[4096];
  std::size_t size_ = 0;
};

void describe_stack(Line& line, pthread_t thread) noexcept {
  stack_sample.count.store(-1, std::memory_order_relaxed);
  if (::pthread_kill(thread, kStackSignal) != 0) return;
  for (int i = 0; i < 100 && stack_sample.count.load(std::memory_order_acquire) < 0; ++i) {
    const timespec moment{0, 100'000};
    ::nanosleep(&moment, nullptr);
  }
  const int count = stack_sample.count.load(std::memory_order_acquire);
  if (count < 0) {
    line.add("\n    (its stack could not be taken: it holds signals back, or sleeps in the kernel)");
    return;
  }
  for (int i = 2; i < count; ++i) {  // without the handler and its trampoline
    Dl_info info{};
    if (::dladdr(stack_sample.frames[i], &info) == 0 || info.dli_fname == nullptr) continue;
    const auto offset = reinterpret_cast<std::uintptr_t>(stack_sample.frames[i]) -
                        reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    line.add("\n    {}+{:#x}", info.dli_fname, offset);
    if (info.dli_sname != nullptr) line.add(" {}", info.dli_sname);
  }
}

// The kernel's letter for a thread's state: R runs or is ready to, S and D sleep.
char state_of(pid_t thread) noexcept {
  Line path;
  path.add("/proc/self/task/{}/stat", thread);
  char name[64] = {};
  path.view().copy(name, sizeof name - 1);
  char text[256] = {};
  const int file = ::open(name, O_RDONLY | O_CLOEXEC);
  if (file < 0) return '?';
  const ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  const std::string_view line(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  const auto end = line.rfind(')');
  return end == std::string_view::npos || end + 2 >= line.size() ? '?' : line[end + 2];
}

}  // namespace

bool SafetyMonitor::scan(Executor& executor, std::int64_t now_ns) noexcept {
  bool moved = false;
  for (NodeRecord* record : executor.nodes) {
    NodeVitals& vitals = record->vitals;
    const std::int64_t timeout = vitals.timeout_ns.load(std::memory_order_relaxed);
    const std::int64_t fed = vitals.fed_ns.load(std::memory_order_relaxed);
    if (timeout == 0 || fed == 0) continue;
    const std::int64_t times = (now_ns - fed) / timeout;
    if (times < 1) continue;
    const auto step = static_cast<WatchdogStep>(std::min<std::int64_t>(times, 3));
    WatchdogStep before = vitals.step.load(std::memory_order_relaxed);
    // A success between the two looks clears the ladder; one that this store overwrites is followed by the next look.
    if (before >= step || vitals.fed_ns.load(std::memory_order_relaxed) != fed) continue;
    vitals.stepped_ns.store(now_ns, std::memory_order_relaxed);
    if (vitals.step.compare_exchange_strong(before, step, std::memory_order_release)) moved = true;
  }
  return moved;
}

std::int64_t SafetyMonitor::period_of(const std::vector<Executor*>& executors) noexcept {
  std::int64_t period = kLongestPeriod_ns;
  for (const Executor* executor : executors) {
    for (const NodeRecord* record : executor->nodes) {
      const std::int64_t timeout = record->vitals.timeout_ns.load(std::memory_order_relaxed);
      if (timeout != 0) period = std::min(period, timeout / 5);
    }
  }
  return std::max(period, kShortestPeriod_ns);
}

void SafetyMonitor::start(std::vector<Executor*> executors, std::atomic<bool>& emergency,
                          std::atomic<bool>& stop_requested, bool own_signals, bool exit_when_blocked) {
  executors_ = std::move(executors);
  watched_.clear();
  for (Executor* executor : executors_) watched_.push_back({executor});
  emergency_ = &emergency;
  stop_requested_ = &stop_requested;
  own_signals_ = own_signals;
  exit_when_blocked_ = exit_when_blocked;
  emergency_seen_ns_ = 0;
  signals_heard_ = 0;
  takes_stacks_ = prepare_stack_signal();
  ending_.store(false, std::memory_order_relaxed);
  // Signals are for the other threads; the monitor takes what it wants by sigtimedwait.
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void SafetyMonitor::stop() noexcept {
  if (!thread_.joinable()) return;
  ending_.store(true, std::memory_order_release);
  notify();
  thread_.join();
}

void SafetyMonitor::notify() noexcept {
  word_.fetch_add(1, std::memory_order_release);
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word_), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
            nullptr, 0);
}

void SafetyMonitor::run() noexcept {
  ::pthread_setname_np(::pthread_self(), "horus-safety");
  sched_param parameter{};
  parameter.sched_priority = 90;
  static_cast<void>(::pthread_setschedparam(::pthread_self(), SCHED_FIFO, &parameter));  // when permitted
  while (!ending_.load(std::memory_order_acquire)) {
    const std::uint32_t seen = word_.load(std::memory_order_acquire);
    look(now_ns());
    if (ending_.load(std::memory_order_acquire)) break;
    std::int64_t wait = period_of(executors_);
    if (emergency_seen_ns_ != 0) wait = std::min<std::int64_t>(wait, kGrace_ns / 4);
    const timespec time{wait / 1'000'000'000, wait % 1'000'000'000};
    ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word_), FUTEX_WAIT_PRIVATE, seen, &time, nullptr,
              0);
  }
}

void SafetyMonitor::look(std::int64_t now) noexcept {
  if (!emergency_->load(std::memory_order_acquire)) {
    emergency_seen_ns_ = 0;
  } else if (emergency_seen_ns_ == 0) {
    emergency_seen_ns_ = now;
    for (Executor* executor : executors_) executor->poke();
  } else if (now - emergency_seen_ns_ >= kGrace_ns) {
    enter_safe_states();
    emergency_seen_ns_ = kNever / 2;  // done, until it is reset
  }
  if (stop_requested_->load(std::memory_order_relaxed)) {
    for (Executor* executor : executors_) executor->poke();
  }
  for (Watch& watch : watched_) {
    if (scan(*watch.executor, now)) watch.executor->poke();
    look_at_blocked(watch, now);
  }
}

void SafetyMonitor::look_at_blocked(Watch& watch, std::int64_t now) noexcept {
  const LoopVitals& vitals = watch.executor->vitals;
  NodeRecord* record = vitals.running.load(std::memory_order_acquire);
  const std::int64_t since = vitals.since_ns.load(std::memory_order_relaxed);
  if (record == nullptr || now - since < kBlocked_ns) return;
  if (own_signals_) hear_signals();
  const std::int64_t timeout = record->vitals.timeout_ns.load(std::memory_order_relaxed);
  if (timeout == 0 || now - since < timeout) return;
  if (watch.reported_since_ns != since) {
    watch.reported_since_ns = since;
    Line line;
    line.add("{}: blocks its thread for {} ms now ({}); no other node there can run:", record->node_name(),
             (now - since) / 1'000'000,
             state_of(watch.executor->thread_id()) == 'R' ? "it computes" : "it sleeps in a blocking call");
    if (takes_stacks_) describe_stack(line, watch.executor->thread());
    log_error(line.view());
  }
  if (now - since < 3 * timeout) return;
  // Its loop cannot do it.
  if (record->settings.critical && !emergency_->exchange(true, std::memory_order_acq_rel)) {
    emergency_seen_ns_ = now;
    enter_safe_states();
    emergency_seen_ns_ = kNever / 2;
  }
  record->enter_safe_state();
  if (!exit_when_blocked_) return;
  enter_safe_states();
  Line line;
  line.add("{}: blocked its thread for {} ms; the process ends with code {}", record->node_name(),
           (now - since) / 1'000'000, kExitBlocked);
  log_error(line.view());
  ::_exit(kExitBlocked);
}

// In priority order over all executors. Those that a loop has entered itself are not entered twice.
void SafetyMonitor::enter_safe_states() noexcept {
  // A selection sort over what is left: no memory is needed for it.
  const NodeRecord* last = nullptr;
  const auto before = [](const NodeRecord& a, const NodeRecord& b) {
    return a.settings.priority != b.settings.priority ? a.settings.priority < b.settings.priority
                                                      : a.index < b.index;
  };
  while (true) {
    NodeRecord* next = nullptr;
    for (Executor* executor : executors_) {
      for (NodeRecord* record : executor->nodes) {
        if (last != nullptr && !before(*last, *record)) continue;
        if (next == nullptr || before(*record, *next)) next = record;
      }
    }
    if (next == nullptr) return;
    next->enter_safe_state();
    last = next;
  }
}

// A blocked loop does not read its signals. The first stops gracefully, once the loop is free; the second ends it all.
void SafetyMonitor::hear_signals() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  const timespec at_once{0, 0};
  const int number = ::sigtimedwait(&set, nullptr, &at_once);
  if (number <= 0) return;
  if (++signals_heard_ == 1 && !stop_requested_->exchange(true, std::memory_order_acq_rel)) {
    for (Executor* executor : executors_) executor->poke();
    return;
  }
  enter_safe_states();
  ::_exit(128 + number);
}

}  // namespace horus::detail
