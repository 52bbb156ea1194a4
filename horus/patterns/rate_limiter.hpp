// SPDX-License-Identifier: Apache-2.0
// RateLimiter: limits the rate of calls and the size of a burst (a token bucket).
// One reactor's thread. Waiters belong to the frames that wait; the limiter owns one timer.
#pragma once

#include <horus/base/compiler.hpp>

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include <horus/base/export.hpp>
#include <horus/base/literals.hpp>
#include <horus/base/result.hpp>
#include <horus/io/reactor.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI {

/// A snapshot of a RateLimiter: counts since its construction.
struct RateLimiterStatistics {
  std::uint64_t granted = 0;  ///< calls that got their tokens
  std::uint64_t tokens = 0;   ///< tokens that they got
  /// Calls of allow() that gave false, and of acquire() that found too many waiters.
  std::uint64_t refused = 0;
  std::uint64_t cancelled = 0;  ///< waiters that were asked to stop
  std::size_t waiting = 0;      ///< waiters now
  std::size_t waiting_high_water = 0;
  std::int64_t longest_wait_ns = 0;  ///< the longest wait of a call that got its tokens
};

/// A token bucket: it fills with `rate` tokens per second up to `burst`, is full at first, and every call takes some.
///
/// Semantics: waiters are served first come, first served, and `allow()` does not overtake them. A waiter that is
/// asked to stop has taken nothing. The clock is the reactor's, so time is virtual in simulation. Destruction ends
/// the waits (kChannelClosed).
/// Errors: the constructor throws Error(EINVAL) for a rate that is not above 0 and up to 1 GHz, for a burst of 0, and
/// for a bucket that takes more than 30 years to fill. All calls throw it when they ask for more tokens than the
/// bucket holds. `acquire`: EAGAIN (`max_waiters` wait already), ECANCELED, kChannelClosed.
/// Thread safety: one reactor's thread.
/// Example: `horus::RateLimiter limit(10_hz, 3);  auto granted = co_await limit.acquire();`
/// Source: the bucket as one instant, "full again at": the generic cell rate algorithm, ITU-T I.371.
class HORUS_API RateLimiter {
 public:
  static constexpr std::size_t kMaxWaiters = 1024;

  explicit RateLimiter(Rate rate, std::uint64_t burst = 1, std::size_t max_waiters = kMaxWaiters);
  RateLimiter(const RateLimiter&) = delete;
  RateLimiter& operator=(const RateLimiter&) = delete;
  ~RateLimiter();

  class HORUS_API AcquireAwaiter : public detail::QueuedWaiter {
   public:
    bool await_ready() noexcept;
    template <class Promise>
    void await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
      if (suspend(awaiting)) {
        enqueue();
      } else {
        refuse();
      }
    }
    Result<> await_resume() const;

   private:
    friend class RateLimiter;
    AcquireAwaiter(RateLimiter& limiter, std::uint64_t tokens, double cost_ns) noexcept
        : QueuedWaiter(kKind), limiter_(limiter), tokens_(tokens), cost_ns_(cost_ns) {}
    void enqueue() noexcept;
    static void cancel(Waiter& waiter) noexcept;
    static const WaitKind kKind;

    RateLimiter& limiter_;
    std::uint64_t tokens_;
    double cost_ns_;
    std::int64_t since_ns_ = 0;
    int code_ = 0;
  };

  /// Takes `tokens` if they are there and nobody waits.
  [[nodiscard]] bool allow(std::uint64_t tokens = 1);
  /// How long acquire(tokens) would wait now, behind the present waiters.
  [[nodiscard]] Duration wait_time(std::uint64_t tokens = 1) const;
  /// Takes `tokens`, waiting for them: `auto granted = co_await limit.acquire();`, a Result<>.
  [[nodiscard]] AcquireAwaiter acquire(std::uint64_t tokens = 1);

  [[nodiscard]] Rate rate() const noexcept { return rate_; }
  [[nodiscard]] std::uint64_t burst() const noexcept { return burst_; }
  [[nodiscard]] RateLimiterStatistics stats() const noexcept { return statistics_; }

 private:
  struct Refill : io::Timer {
    RateLimiter* limiter = nullptr;
  };

  [[nodiscard]] double cost_of(std::uint64_t tokens) const;
  [[nodiscard]] double missing_ns(double cost_ns, std::int64_t now) const noexcept;
  bool take(double cost_ns, std::int64_t now) noexcept;
  void count(std::uint64_t tokens) noexcept;
  void remove(AcquireAwaiter& waiter) noexcept;
  void serve() noexcept;

  Rate rate_;
  std::uint64_t burst_;
  std::size_t max_waiters_;
  double capacity_ns_;  // how long an empty bucket takes to fill
  double slack_ns_;     // what rounding may cost, so that a burst is never one token short
  std::int64_t full_at_ns_ = 0;
  double full_at_fraction_ns_ = 0;  // 0 up to 1: so that a rate of 3 Hz is 3 Hz
  double queued_cost_ns_ = 0;
  detail::WaiterQueue waiters_;
  Refill refill_;
  RateLimiterStatistics statistics_;
};

}  // namespace horus::HORUS_ABI
