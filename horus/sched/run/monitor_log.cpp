// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/run/monitor_log.hpp>

#include <climits>
#include <csignal>
#include <ctime>
#include <exception>
#include <string>

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <horus/base/clock.hpp>
#include <horus/base/symbols.hpp>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr std::int64_t kEndLimit_ns = 1'000'000'000;

}  // namespace

void MonitorLog::wake(Ring& ring) noexcept {
  ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&ring.tail), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr,
            nullptr, 0);
}

void MonitorLog::start() {
  stop();
  ring_ = std::make_shared<Ring>();
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([ring = ring_] { write(*ring); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void MonitorLog::stop() noexcept {
  if (!thread_.joinable()) return;
  const bool written = flush(kEndLimit_ns);
  ring_->ending.store(true, std::memory_order_release);
  ring_->tail.fetch_or(0x80000000U, std::memory_order_release);  // another value, so that nobody sleeps on it
  wake(*ring_);
  if (written) {
    thread_.join();
  } else {
    thread_.detach();  // it owns the ring too
  }
  ring_.reset();
}

MonitorLog::Line* MonitorLog::begin(LogLevel level) noexcept {
  if (ring_ == nullptr) return nullptr;
  const std::uint32_t tail = ring_->tail.load(std::memory_order_relaxed);
  if (tail - ring_->head.load(std::memory_order_acquire) == kLines) {
    ring_->lost.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
  }
  Line& line = ring_->lines[tail % kLines];
  line.level = level;
  line.text.clear();
  line.stack.count = 0;
  return &line;
}

void MonitorLog::say() noexcept {
  ring_->tail.fetch_add(1, std::memory_order_release);
  wake(*ring_);
}

bool MonitorLog::flush(std::int64_t limit_ns) noexcept {
  if (ring_ == nullptr) return true;
  const std::int64_t until = monotonic_ns() + limit_ns;
  while (ring_->head.load(std::memory_order_acquire) != ring_->tail.load(std::memory_order_relaxed)) {
    if (monotonic_ns() >= until) return false;
    const timespec moment{0, 200'000};
    ::nanosleep(&moment, nullptr);
  }
  return true;
}

void MonitorLog::write(Ring& ring) noexcept {
  ::pthread_setname_np(::pthread_self(), "horus-report");
  while (true) {
    const std::uint32_t tail = ring.tail.load(std::memory_order_acquire);
    const std::uint32_t head = ring.head.load(std::memory_order_relaxed);
    if (ring.ending.load(std::memory_order_acquire)) return;
    if (head == tail) {
      ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&ring.tail), FUTEX_WAIT_PRIVATE, tail, nullptr,
                nullptr, 0);
      continue;
    }
    const Line& line = ring.lines[head % kLines];
    try {
      std::string text(line.text.view());
      if (line.stack.count > 0) text += describe(line.stack);
      if (const std::uint32_t lost = ring.lost.exchange(0, std::memory_order_relaxed); lost > 0)
        text += fmt::format(" ({} lines of the safety monitor before it were lost)", lost);
      log_line(line.level, text);
    } catch (const std::exception&) {  // no memory for a line: the next one may have some
      ring.lost.fetch_add(1, std::memory_order_relaxed);
    }
    ring.head.store(head + 1, std::memory_order_release);
  }
}

}  // namespace horus::HORUS_ABI::detail
