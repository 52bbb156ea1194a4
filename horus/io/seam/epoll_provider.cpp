// SPDX-License-Identifier: Apache-2.0
// Readiness, waiting and blocking operations; the attempts are in epoll_attempts.cpp.
#include <horus/io/seam/epoll_provider.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/log.hpp>

namespace horus::HORUS_ABI::io {
namespace {

constexpr int kEventsPerWait = 256;
constexpr std::int64_t kWarnEvery_ns = 1'000'000'000;
constexpr int kCoarseWait_ms = 1;
constexpr std::int64_t kSecond_ns = 1'000'000'000;

// Closes per descriptor number (modulo the size), by every reactor of the process: a descriptor that was moved to another
// reactor and closed there must not look registered here when its number comes back. Sharing a place costs one call.
constexpr std::size_t kGenerations = 65536;
std::array<std::atomic<std::uint32_t>, kGenerations> generations;

void next_generation(int fd) noexcept {
  generations[static_cast<std::size_t>(fd) % kGenerations].fetch_add(1, std::memory_order_release);
}

// Calls that a server may hold for ever have threads of their own.
ThreadPool& pool_for(const BlockingOperation& operation) {
  return (operation.entry.flags & IOSQE_ASYNC) != 0 ? ThreadPool::patient() : ThreadPool::files();
}

// "No space left on device" it says, and means neither.
int out_of_watches() noexcept {
  static std::atomic<std::int64_t> told{0};
  const std::int64_t now = monotonic_ns();
  std::int64_t last = told.load(std::memory_order_relaxed);
  if ((last == 0 || now - last >= kWarnEvery_ns) && told.compare_exchange_strong(last, now)) {
    log_warning(
        "epoll: this user watches as many descriptors as fs.epoll.max_user_watches allows, so operations "
        "that have to "
        "wait fail (ENOMEM); see it with `sysctl fs.epoll.max_user_watches`, and raise it");
  }
  return -ENOMEM;
}

timespec span_of(std::int64_t ns) { return {ns / kSecond_ns, ns % kSecond_ns}; }

}  // namespace

Provider::~Provider() = default;

EpollProvider::EpollProvider(bool use_nowait) noexcept
    : use_nowait_(use_nowait), precise_wait_(use_nowait), process_(::getpid()) {}

EpollProvider::~EpollProvider() {
  for (const int fd : {set_, bell_, ticker_, deadline_timer_}) {
    if (fd >= 0) ::close(fd);
  }
}

int EpollProvider::set_up() noexcept {
  set_ = above_standard(::epoll_create1(EPOLL_CLOEXEC));
  if (set_ < 0) return -errno;
  bell_ = above_standard(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (bell_ < 0) return -errno;
  // Edge-triggered: each ring is one event, and nobody needs to read the counter.
  return watch(bell_, 0, EPOLLIN | EPOLLET);
}

// --- Readiness --------------------------------------------------------------------------------------------------------

int EpollProvider::watch(int fd, std::uint32_t before, std::uint32_t after) noexcept {
  epoll_event event{};
  event.events = after;
  event.data.fd = fd;
  if (after == 0) return ::epoll_ctl(set_, EPOLL_CTL_DEL, fd, &event) == 0 ? 0 : -errno;
  if (::epoll_ctl(set_, before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  // What was believed about the number was wrong: it was closed behind our back, or is registered after all.
  if (errno == ENOENT && ::epoll_ctl(set_, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  if (errno == EEXIST && ::epoll_ctl(set_, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  if (errno == ENOSPC) return out_of_watches();
  return -errno;
}

std::uint32_t EpollProvider::generation(int fd) noexcept {
  return generations[static_cast<std::size_t>(fd) % kGenerations].load(std::memory_order_acquire);
}

void EpollProvider::may_be_another(int fd) noexcept { next_generation(fd); }

int EpollProvider::close(int fd) noexcept {
  next_generation(fd);
  return ::close(fd) == 0 ? 0 : -errno;
}

int EpollProvider::wait(Readiness* ready, int limit, std::int64_t deadline_ns) noexcept {
  std::array<epoll_event, kEventsPerWait> events;
  limit = std::min(limit, kEventsPerWait);
  if (deadline_ns != 0) {
    // The fence pairs with the one in finish().
    asleep_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (!finished_.empty()) deadline_ns = 0;
  }
  const int found = wait_for_events(events.data(), limit, deadline_ns);
  if (asleep_.load(std::memory_order_relaxed)) asleep_.store(false, std::memory_order_relaxed);
  int count = 0;
  for (int i = 0; i < found; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const int fd = event.data.fd;
    if (fd == ticker_) {  // a periodic timer goes on when it has been read, and only then
      std::uint64_t expirations;
      [[maybe_unused]] const ssize_t size = ::read(ticker_, &expirations, sizeof expirations);
      continue;
    }
    if (fd == bell_ || fd == deadline_timer_) continue;
    ready[count++] = {fd, event.events};
  }
  return found < 0 ? found : count;
}

int EpollProvider::wait_for_events(epoll_event* events, int limit, std::int64_t deadline_ns) noexcept {
  if (deadline_ns != 0 && deadline_ns != kNever) {
    const std::int64_t left = deadline_ns - monotonic_ns();
    if (left > 0) {
      if (precise_wait_) {
        const timespec span = span_of(left);
        const int found = ::epoll_pwait2(set_, events, limit, &span, nullptr);
        if (found >= 0) return found;
        if (errno != ENOSYS && errno != EPERM)
          return -errno;  // EPERM: a seccomp filter that does not know the call
        precise_wait_ = false;
      }
      return wait_with_timer(events, limit, deadline_ns);
    }
    deadline_ns = 0;
  }
  const int found = ::epoll_wait(set_, events, limit, deadline_ns == kNever ? -1 : 0);
  return found < 0 ? -errno : found;
}

// A timerfd in the set, edge-triggered: each expiry is one event, and nobody needs to read it.
int EpollProvider::make_timer() noexcept {
  const int timer = above_standard(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (timer < 0) return -errno;
  const int result = watch(timer, 0, EPOLLIN | EPOLLET);
  if (result == 0) return timer;
  ::close(timer);
  return result;
}

int EpollProvider::wait_with_timer(epoll_event* events, int limit, std::int64_t deadline_ns) noexcept {
  if (deadline_timer_ < 0) deadline_timer_ = make_timer();
  itimerspec spec{};
  spec.it_value = span_of(deadline_ns);
  int timeout_ms = -1;
  if (deadline_timer_ < 0 || ::timerfd_settime(deadline_timer_, TFD_TIMER_ABSTIME, &spec, nullptr) < 0) {
    timeout_ms = kCoarseWait_ms;  // no descriptor left for a timer: look again and again
  }
  const int found = ::epoll_wait(set_, events, limit, timeout_ms);
  return found < 0 ? -errno : found;
}

void EpollProvider::tick(std::int64_t period_ns) noexcept {
  if (ticker_ < 0) {
    if (period_ns == 0) return;
    ticker_ = make_timer();
    if (ticker_ < 0) return;
  }
  itimerspec spec{};
  spec.it_value = spec.it_interval = span_of(period_ns);
  ::timerfd_settime(ticker_, 0, &spec, nullptr);
}

int EpollProvider::pollable_fd() noexcept {
  embedded_ = true;
  return set_;
}

void EpollProvider::ring() noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(bell_, &one, sizeof one);
}

// --- Blocking operations ----------------------------------------------------------------------------------------------

bool EpollProvider::start(BlockingOperation& operation) noexcept {
  operation.provider = this;
  operation.run = [](ThreadPool::Job& job) noexcept {
    auto& self = static_cast<BlockingOperation&>(job);
    self.result = perform_blocking(self.entry);
    static_cast<EpollProvider*>(self.provider)->finish(self);
  };
  if (operation.entry.opcode == IORING_OP_CLOSE) next_generation(operation.entry.fd);
  finished_.expect();
  if (pool_for(operation).submit(static_cast<ThreadPool::Job&>(operation))) return true;
  finished_.let_go();
  return false;
}

bool EpollProvider::cancel(BlockingOperation& operation) noexcept {
  if (process_ != ::getpid()) return true;  // in a child of fork(): its thread is the parent's
  if (!pool_for(operation).cancel(operation)) return false;
  finished_.let_go();
  return true;
}

std::int64_t EpollProvider::now_ns() noexcept { return monotonic_ns(); }
void EpollProvider::wait_until_quiet() noexcept {
  if (process_ == ::getpid()) finished_.wait_until_quiet();
}

// On a pool thread. The operation is the reactor's again after push(), the provider may be gone after let_go().
void EpollProvider::finish(BlockingOperation& operation) noexcept {
  finished_.push(operation);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (embedded_ || asleep_.exchange(false, std::memory_order_relaxed)) ring();
  finished_.let_go();
}

}  // namespace horus::HORUS_ABI::io
