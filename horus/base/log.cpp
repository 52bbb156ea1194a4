// SPDX-License-Identifier: Apache-2.0
#include <horus/base/log.hpp>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <exception>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <horus/base/background_thread.hpp>
#include <horus/base/log_ring.hpp>

namespace horus::HORUS_ABI {
namespace {

constexpr std::size_t kSlots = 4096;  // 512 KiB, touched as lines come
constexpr std::size_t kStackBytes = std::size_t{512} * 1024;
constexpr std::size_t kBatch = 4096;  // PIPE_BUF: lines of several programs in one pipe stay whole
constexpr Duration kNap = std::chrono::milliseconds(1);  // awake for whoever logs, asleep for the processor
constexpr Duration kSinkLimit = std::chrono::seconds(5);
constexpr Duration kEndLimit = std::chrono::milliseconds(100);
constexpr Duration kThreadRetry = std::chrono::seconds(1);
constexpr int kMostExitHandlers = 32;
constexpr std::uint8_t kToStandardError = 0x80;  // in a line's mark, beside its level
constexpr std::uint64_t kNothing = UINT64_MAX;

enum Writer : std::uint32_t { kNone, kStarting, kAwake, kNapping, kAsleep };

// Everything here is constant-initialised and never destroyed: threads, and destructors of statics, may log at any time.
constinit detail::LogRing<kSlots> ring;
constinit std::atomic<int> lowest{-1};  // -1: not asked yet
constinit std::atomic<std::uint32_t> writer{kNone};
constinit std::atomic<std::int64_t> thread_refused_ns{0};
constinit std::atomic<std::uint64_t> in_hand{
    kNothing};  // the position of what is taken out and not yet handed over
constinit std::atomic<std::uint32_t> progress{0};
constinit std::atomic<int> flushers{0};
constinit std::atomic<std::int64_t> end_left_ns{kEndLimit.count()};  // of the 100 ms of the end
constinit std::atomic<int> exit_handlers{0};
constinit std::atomic<bool> no_standard_error{false};
constinit thread_local bool handing_over = false;
constinit thread_local int at_once = 0;

// Sinks that the program's end found in place. Whoever destroyed one would be late, so they stay, and stay reachable.
struct Retired {
  std::shared_ptr<LogSink> sink;
  Retired* former;
};

// Who hands lines over, and to whom. Held for the moment by one thread, which runs no foreign code under the mutex.
struct Outlet {
  std::mutex mutex;
  std::condition_variable idle;
  std::shared_ptr<LogSink> sink;  // null: standard error
  Retired* retired = nullptr;
  std::uint64_t reign = 0;  // changes when a holder was given up
  std::uint64_t told_lost = 0;
  int waiting = 0;
  bool held = false;
};
constinit std::atomic<Outlet*> current_outlet{nullptr};

Outlet& outlet() noexcept {
  Outlet* existing = current_outlet.load(std::memory_order_acquire);
  if (existing != nullptr) return *existing;
  auto fresh = std::make_unique<Outlet>();
  if (current_outlet.compare_exchange_strong(existing, fresh.get())) return *fresh.release();
  return *existing;
}

LogLevel level_from_environment() noexcept {
  const char* wish = std::getenv("HORUS_LOG");
  const std::string_view word = wish == nullptr ? "" : wish;
  if (word == "debug") return LogLevel::debug;
  if (word == "warning") return LogLevel::warning;
  if (word == "error") return LogLevel::error;
  return LogLevel::info;
}

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t while_it_is, Duration limit) noexcept {
  const timespec timeout{static_cast<time_t>(limit.count() / 1'000'000'000), limit.count() % 1'000'000'000};
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, while_it_is, limit == Duration::max() ? nullptr : &timeout,
            nullptr, 0);
}

void futex_wake(std::atomic<std::uint32_t>& word) noexcept {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT32_MAX, nullptr, nullptr, 0);
}

void wake_writer(bool from_a_nap) noexcept {
  std::uint32_t seen = writer.load(std::memory_order_relaxed);
  if (seen != kAsleep && !(from_a_nap && seen == kNapping)) return;
  if (writer.compare_exchange_strong(seen, kAwake)) futex_wake(writer);
}

// --- Observers

struct Observers {
  std::shared_mutex mutex;
  std::vector<detail::LogObserver*> all;
};
std::atomic<bool> observed{false};

// Never destroyed: threads log until the very end.
Observers& observers() {
  static auto* const instance = new Observers;
  return *instance;
}

void tell_observers(LogLevel level, std::string_view line) noexcept {
  const std::shared_lock lock(observers().mutex);
  for (detail::LogObserver* observer : observers().all) observer->logged(level, line);
}

// --- Standard error

const char* prefix(LogLevel level, bool colour) {
  switch (level) {
    case LogLevel::debug: return colour ? "\033[2mhorus debug:\033[0m " : "horus debug: ";
    case LogLevel::info: return "horus: ";
    case LogLevel::warning: return colour ? "\033[33mhorus warning:\033[0m " : "horus warning: ";
    case LogLevel::error: return colour ? "\033[31mhorus error:\033[0m " : "horus error: ";
  }
  return "";
}

// May take as long as the terminal likes. What cannot be written at all (a closed pipe, a full disk) is gone.
void write_text(std::string_view text) noexcept {
  if (no_standard_error.load(std::memory_order_relaxed)) return;
  while (!text.empty()) {
    const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
    if (written > 0) {
      text.remove_prefix(static_cast<std::size_t>(written));
    } else if (errno == EAGAIN) {
      pollfd room{STDERR_FILENO, POLLOUT, 0};
      static_cast<void>(::poll(&room, 1, -1));
    } else if (errno != EINTR) {
      return;
    }
  }
}

// --- Handing over

struct Line {
  LogLevel level = LogLevel::info;
  bool to_standard_error = false;
  std::string text;
};

bool take(Line& line) {
  std::uint8_t mark;
  if (!ring.pop(mark, line.text)) return false;
  line.level = static_cast<LogLevel>(mark & 0x0f);
  line.to_standard_error = (mark & kToStandardError) != 0;
  return true;
}

std::string lost_line(std::uint64_t lines) {
  return "the log lost " + std::to_string(lines) + (lines == 1 ? " line here: it" : " lines here: they") +
         " came faster than they could be written";
}

void append(std::string& text, LogLevel level, std::string_view line, bool colour) {
  text += prefix(level, colour);
  text += line;
  text += '\n';
}

void hand_to(const LogSink& sink, LogLevel level, std::string_view line) noexcept {
  const char* problem = "something that is not a std::exception";
  std::string what;
  try {
    return sink(level, line);
  } catch (const std::exception& error) {
    what = error.what();
    problem = what.c_str();
  } catch (...) {  // NOLINT(bugprone-empty-catch): told below
  }
  std::string text;
  append(text, LogLevel::error, "the log's sink threw " + std::string(problem) + " at this line:", false);
  append(text, level, line, false);
  write_text(text);
}

void made_progress() noexcept {
  progress.fetch_add(1, std::memory_order_seq_cst);
  if (flushers.load(std::memory_order_seq_cst) > 0) futex_wake(progress);
}

// Hands over what is in the ring, oldest first, until it is empty or somebody else wants to. False when this thread was
// given up meanwhile, because a sink or a terminal did not let it go: then another one does its work.
bool hand_over(Line& line, std::string& batch) {
  Outlet& out = outlet();
  std::unique_lock lock(out.mutex);
  ++out.waiting;
  out.idle.wait(lock, [&] { return !out.held; });
  --out.waiting;
  out.held = true;
  const std::uint64_t reign = out.reign;
  handing_over = true;
  const bool colour = out.sink == nullptr && ::isatty(STDERR_FILENO) == 1;
  do {
    in_hand.store(ring.oldest(), std::memory_order_seq_cst);
    const std::shared_ptr<LogSink> sink = out.sink;
    const std::uint64_t lost_now = ring.lost();
    const std::uint64_t lost = lost_now - std::exchange(out.told_lost, lost_now);
    lock.unlock();
    const bool taken = take(line);
    batch.clear();
    if (lost > 0 && sink != nullptr) hand_to(*sink, LogLevel::warning, lost_line(lost));
    if (lost > 0 && sink == nullptr) append(batch, LogLevel::warning, lost_line(lost), colour);
    if (taken && sink != nullptr && !line.to_standard_error) {
      hand_to(*sink, line.level, line.text);
    } else if (taken) {
      append(batch, line.level, line.text, colour);
      while (sink == nullptr && batch.size() < kBatch / 2 && take(line))
        append(batch, line.level, line.text, colour);
    }
    if (!batch.empty()) write_text(batch);
    lock.lock();
    if (out.reign != reign) {
      handing_over = false;
      return false;
    }
    in_hand.store(kNothing, std::memory_order_seq_cst);
    made_progress();
    if (!taken) break;
  } while (out.waiting == 0);
  handing_over = false;
  out.held = false;
  lock.unlock();
  out.idle.notify_all();
  return true;
}

// --- The log's own thread

void* write_lines(void*) {
  ::pthread_setname_np(::pthread_self(), "horus-log");
  // Woken, a batch thread does not take the processor from whoever wakes it: a loop in the middle of a tick.
  const sched_param no_priority{};
  static_cast<void>(::sched_setscheduler(0, SCHED_BATCH, &no_priority));
  Line line;
  std::string batch;
  bool napped = false;
  writer.store(kAwake);
  while (hand_over(line, batch)) {
    if (!ring.empty()) {
      napped = false;
      continue;
    }
    // A nap first: lines come in bursts, and whoever logs need not wake a thread that wakes by itself.
    writer.store(napped ? kAsleep : kNapping);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool nothing = ring.empty();
    if (nothing && napped) futex_wait(writer, kAsleep, Duration::max());
    if (nothing && !napped) futex_wait(writer, kNapping, kNap);
    napped = !napped && ring.empty();
    writer.store(kAwake);
  }
  return nullptr;
}

void finish() noexcept {
  const std::int64_t began = monotonic_ns();
  static_cast<void>(flush_log(Duration(std::max<std::int64_t>(end_left_ns.load(), 0))));
  end_left_ns.fetch_sub(monotonic_ns() - began);
}

// Static objects are destroyed soon, and a sink may refer to them: what is logged from here on goes to stderr.
void finish_sink() noexcept {
  finish();
  Outlet& out = outlet();
  std::unique_lock lock(out.mutex);
  if (out.sink == nullptr) return;
  out.retired = new Retired{std::move(out.sink), out.retired};
  if (handing_over) return;  // the sink itself ends the program
  // Another thread's line, or the last look for one.
  const std::int64_t began = monotonic_ns();
  ++out.waiting;
  out.idle.wait_for(lock, Duration(std::max<std::int64_t>(end_left_ns.load(), 0)), [&] { return !out.held; });
  --out.waiting;
  end_left_ns.fetch_sub(monotonic_ns() - began);
}

// Of the library itself: behind the destructors of the program's static objects.
[[gnu::destructor]] void finish_library() noexcept {
  if (writer.load() != kNone) finish();
}

constinit std::atomic<std::terminate_handler> former_terminate{nullptr};

[[noreturn]] void terminate_after_flush() {
  static_cast<void>(flush_log(kEndLimit));
  const std::terminate_handler former = former_terminate.load();
  if (former != nullptr) former();
  std::abort();
}

std::atomic<bool> terminate_taken{false};

void before_fork() noexcept { outlet().mutex.lock(); }

void parent_after_fork() noexcept { outlet().mutex.unlock(); }

// The child has no thread of ours. What is in the ring is the parent's to write.
void child_after_fork() noexcept {
  Outlet& former = outlet();
  ring.reset();
  writer.store(kNone);
  in_hand.store(kNothing);
  flushers.store(0);
  end_left_ns.store(kEndLimit.count());
  exit_handlers.store(0);
  auto* fresh = new Outlet;
  fresh->sink = former.sink;
  fresh->told_lost = ring.lost();
  current_outlet.store(fresh);
  ++former.reign;  // of a thread that is the parent's
  former.mutex.unlock();
}

// Before anything can have taken the number 2.
[[gnu::constructor]] void look_around() noexcept {
  if (::fcntl(STDERR_FILENO, F_GETFD) < 0) no_standard_error.store(true);
  ::pthread_atfork(&before_fork, &parent_after_fork, &child_after_fork);
}

bool create_thread() noexcept {
  return detail::start_background_thread(kStackBytes, &write_lines, nullptr) == 0;
}

// Without a thread (there may be no more of them) lines stay in the ring; flush_log() writes them itself.
void start_writer() noexcept {
  if (writer.load(std::memory_order_acquire) != kNone) return;
  const std::int64_t refused = thread_refused_ns.load(std::memory_order_relaxed);
  if (refused != 0 && monotonic_ns() - refused < kThreadRetry.count()) return;
  std::uint32_t none = kNone;
  if (!writer.compare_exchange_strong(none, kStarting)) return;
  if (!terminate_taken.exchange(true)) former_terminate = std::set_terminate(&terminate_after_flush);
  if (create_thread()) return;
  thread_refused_ns.store(monotonic_ns(), std::memory_order_relaxed);
  writer.store(kNone);
}

bool handed_over(std::uint64_t position) noexcept {
  return ring.oldest() >= position && in_hand.load(std::memory_order_seq_cst) >= position;
}

// On the caller's own thread: until what it has logged is gone.
void hand_over_here(std::uint64_t position) noexcept {
  Line line;
  std::string batch;
  while (!handed_over(position) && hand_over(line, batch)) {
    if (!handed_over(position)) ::sched_yield();  // another thread is in the middle of its line
  }
}

void add(std::uint8_t mark, std::string_view line, bool urgent) noexcept {
  const int saved = errno;
  ring.push(mark, line);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (at_once > 0 && !handing_over) {
    hand_over_here(ring.newest());
  } else if (writer.load(std::memory_order_relaxed) == kNone) {
    start_writer();
  } else {
    wake_writer(urgent);
  }
  errno = saved;
}

// The previous one. It is no longer in a call, or the limit has passed.
std::shared_ptr<LogSink> replace_sink(std::shared_ptr<LogSink> next, Duration limit) {
  Outlet& out = outlet();
  const TimePoint end = std::chrono::steady_clock::now() + limit;
  if (!handing_over) static_cast<void>(flush_log(limit));
  std::unique_lock lock(out.mutex);
  if (!handing_over) {
    ++out.waiting;
    const bool free = out.idle.wait_until(lock, end + kNap, [&] { return !out.held; });
    --out.waiting;
    if (!free) {  // stuck in its call: somebody else writes from now on
      ++out.reign;
      out.held = false;
      in_hand.store(kNothing, std::memory_order_seq_cst);
      writer.store(kStarting);
      if (!create_thread()) writer.store(kNone);
    }
  }
  std::shared_ptr<LogSink> previous = std::exchange(out.sink, std::move(next));
  lock.unlock();
  out.idle.notify_all();
  return previous;
}

// Of the previous sink: nobody else holds it, or it is in a call and both go on sharing it.
LogSink owned(std::shared_ptr<LogSink> sink) {
  if (sink == nullptr) return {};
  if (sink.use_count() == 1) return std::move(*sink);
  return [sink](LogLevel level, std::string_view line) { (*sink)(level, line); };
}

}  // namespace

LogSink set_log_sink(LogSink sink) {
  std::shared_ptr<LogSink> next = sink ? std::make_shared<LogSink>(std::move(sink)) : nullptr;
  // Each runs before the end of what was made before this call.
  if (next != nullptr && exit_handlers.fetch_add(1) < kMostExitHandlers) std::atexit([] { finish_sink(); });
  std::unique_lock lock(outlet().mutex);
  const Duration limit = outlet().sink == nullptr ? kEndLimit : kSinkLimit;
  lock.unlock();
  return owned(replace_sink(std::move(next), limit));
}

void set_log_level(LogLevel level) noexcept {
  lowest.store(static_cast<int>(level), std::memory_order_relaxed);
}

void log_line(LogLevel level, std::string_view line) noexcept {
  int least = lowest.load(std::memory_order_relaxed);
  if (least < 0) [[unlikely]] {
    const int asked = static_cast<int>(level_from_environment());
    lowest.compare_exchange_strong(least, asked);
    least = lowest.load(std::memory_order_relaxed);
  }
  if (static_cast<int>(level) < least) return;
  if (observed.load(std::memory_order_relaxed)) [[unlikely]]
    tell_observers(level, line);
  add(static_cast<std::uint8_t>(level), line, level == LogLevel::error);
}

bool flush_log(Duration limit) noexcept {
  const std::uint64_t position = ring.newest();
  if (handing_over || handed_over(position)) return handed_over(position);
  const int saved = errno;
  const std::int64_t end = saturating_add(monotonic_ns(), limit.count());
  flushers.fetch_add(1, std::memory_order_seq_cst);
  while (true) {
    const std::uint32_t seen = progress.load(std::memory_order_seq_cst);
    if (handed_over(position)) break;
    start_writer();
    if (writer.load() == kNone) hand_over_here(position);
    wake_writer(true);
    const std::int64_t left = end - monotonic_ns();
    if (left <= 0) break;
    futex_wait(progress, seen, Duration(left));
  }
  flushers.fetch_sub(1, std::memory_order_seq_cst);
  errno = saved;
  return handed_over(position);
}

std::uint64_t lost_log_lines() noexcept { return ring.lost(); }

namespace detail {

void observe_log(LogObserver& observer) {
  const std::unique_lock lock(observers().mutex);
  observers().all.push_back(&observer);
  observed.store(true, std::memory_order_relaxed);
}

void forget_log_observer(LogObserver& observer) noexcept {
  const std::unique_lock lock(observers().mutex);
  std::erase(observers().all, &observer);
  observed.store(!observers().all.empty(), std::memory_order_relaxed);
}

LogAtOnce::LogAtOnce() noexcept { ++at_once; }
LogAtOnce::~LogAtOnce() { --at_once; }

void last_words(std::string_view line) noexcept {
  add(static_cast<std::uint8_t>(LogLevel::info) | kToStandardError, line, true);
  if (flush_log(kEndLimit)) return;
  // A sink keeps the log's thread: another one writes what is left. Where a terminal keeps it, nobody could.
  if (replace_sink(nullptr, Duration::zero()) != nullptr) static_cast<void>(flush_log(kEndLimit));
}

void forget_standard_error() noexcept { no_standard_error.store(true); }

}  // namespace detail
}  // namespace horus::HORUS_ABI
