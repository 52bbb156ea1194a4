// SPDX-License-Identifier: Apache-2.0
#include <horus/patterns/rate_limiter.hpp>

#include <algorithm>
#include <cerrno>
#include <cmath>

#include <fmt/format.h>

#include <horus/base/assert.hpp>

namespace horus::HORUS_ABI {

const WaitKind RateLimiter::AcquireAwaiter::kKind{
    .name = "a rate limit", .cancel = &AcquireAwaiter::cancel, .describe = nullptr, .children = nullptr};

RateLimiter::RateLimiter(Rate rate, std::uint64_t burst, std::size_t max_waiters)
    : rate_(rate),
      burst_(burst),
      max_waiters_(max_waiters),
      capacity_ns_(static_cast<double>(burst) * 1e9 / rate.hz),
      slack_ns_(std::max(1e-3, capacity_ns_ * 1e-12)) {
  if (!(rate.hz > 0) || rate.hz > 1e9) {
    throw Error(EINVAL, "make a rate limiter", fmt::format("of {} Hz (above 0 up to 1e9)", rate.hz));
  }
  if (burst == 0)
    throw Error(EINVAL, "make a rate limiter", "(a burst of 0 lets nothing through: 1 or more)");
  if (capacity_ns_ > 1e18) {
    throw Error(EINVAL, "make a rate limiter",
                fmt::format("(a burst of {} at {} Hz takes more than 30 years to fill: a smaller burst)",
                            burst, rate.hz));
  }
  refill_.limiter = this;
  refill_.expired = [](io::Timer& timer) noexcept { static_cast<Refill&>(timer).limiter->serve(); };
}

RateLimiter::~RateLimiter() {
  while (auto* waiter = static_cast<AcquireAwaiter*>(waiters_.pop_front())) {
    waiter->code_ = kChannelClosed;
    waiter->make_ready();
  }
  if (refill_.pending()) io::Reactor::current()->timers().cancel(refill_);
}

double RateLimiter::cost_of(std::uint64_t tokens) const {
  if (tokens > burst_) {
    throw Error(EINVAL, "take from a rate limiter",
                fmt::format("{} tokens (its bucket holds {}: ask for less, or give it a larger burst)",
                            tokens, burst_));
  }
  return static_cast<double>(tokens) * 1e9 / rate_.hz;
}

// Until the bucket holds what `cost_ns` stands for; 0 or less: it does.
double RateLimiter::missing_ns(double cost_ns, std::int64_t now) const noexcept {
  const double fills = full_at_ns_ < now ? 0 : static_cast<double>(full_at_ns_ - now) + full_at_fraction_ns_;
  return fills + cost_ns - capacity_ns_;
}

bool RateLimiter::take(double cost_ns, std::int64_t now) noexcept {
  if (missing_ns(cost_ns, now) > slack_ns_) return false;
  if (full_at_ns_ < now) {
    full_at_ns_ = now;
    full_at_fraction_ns_ = 0;
  }
  const double sum = full_at_fraction_ns_ + cost_ns;
  const double whole = std::floor(sum);
  full_at_ns_ = saturating_add(full_at_ns_, static_cast<std::int64_t>(whole));
  full_at_fraction_ns_ = sum - whole;
  return true;
}

void RateLimiter::count(std::uint64_t tokens) noexcept {
  ++statistics_.granted;
  statistics_.tokens += tokens;
}

bool RateLimiter::allow(std::uint64_t tokens) {
  const double cost = cost_of(tokens);
  if (!waiters_.empty() || !take(cost, now_ns())) {
    ++statistics_.refused;
    return false;
  }
  count(tokens);
  return true;
}

Duration RateLimiter::wait_time(std::uint64_t tokens) const {
  const double missing = missing_ns(queued_cost_ns_ + cost_of(tokens), now_ns());
  return Duration(missing <= slack_ns_ ? 0 : static_cast<std::int64_t>(std::ceil(std::min(missing, 9e18))));
}

RateLimiter::AcquireAwaiter RateLimiter::acquire(std::uint64_t tokens) {
  return {*this, tokens, cost_of(tokens)};
}

// Gives waiters what there is, in their order, and comes back when there is enough for the next.
void RateLimiter::serve() noexcept {
  io::Reactor* reactor = io::Reactor::current();
  HORUS_ASSERT(reactor != nullptr, "a RateLimiter was waited for on a thread that runs no reactor");
  reactor->timers().cancel(refill_);
  const std::int64_t now = reactor->now_ns();
  while (auto* waiter = static_cast<AcquireAwaiter*>(waiters_.front())) {
    if (!take(waiter->cost_ns_, now)) {
      const double missing = std::ceil(missing_ns(waiter->cost_ns_, now));
      reactor->timers().insert(refill_, saturating_add(now, static_cast<std::int64_t>(missing)));
      return;
    }
    remove(*waiter);
    count(waiter->tokens_);
    statistics_.longest_wait_ns = std::max(statistics_.longest_wait_ns, now - waiter->since_ns_);
    waiter->make_ready();
  }
}

void RateLimiter::remove(AcquireAwaiter& waiter) noexcept {
  waiter.unlink();
  --statistics_.waiting;
  queued_cost_ns_ = waiters_.empty() ? 0 : queued_cost_ns_ - waiter.cost_ns_;
}

// --- Waiting ----------------------------------------------------------------------------------------------------------

bool RateLimiter::AcquireAwaiter::await_ready() noexcept {
  if (limiter_.waiters_.empty() && limiter_.take(cost_ns_, now_ns())) {
    limiter_.count(tokens_);
    return true;
  }
  if (limiter_.statistics_.waiting < limiter_.max_waiters_) return false;
  ++limiter_.statistics_.refused;
  code_ = EAGAIN;
  return true;
}

void RateLimiter::AcquireAwaiter::enqueue() noexcept {
  auto& statistics = limiter_.statistics_;
  since_ns_ = now_ns();
  limiter_.queued_cost_ns_ += cost_ns_;
  limiter_.waiters_.push_back(*this);
  statistics.waiting_high_water = std::max(statistics.waiting_high_water, ++statistics.waiting);
  if (limiter_.waiters_.front() == this) limiter_.serve();
}

void RateLimiter::AcquireAwaiter::cancel(Waiter& waiter) noexcept {
  auto& self = static_cast<AcquireAwaiter&>(waiter);
  self.limiter_.remove(self);
  ++self.limiter_.statistics_.cancelled;
  self.refuse();
  self.limiter_.serve();  // the next one may need less
}

Result<> RateLimiter::AcquireAwaiter::await_resume() const {
  if (cancelled) return Error(ECANCELED, "acquire from a rate limiter");
  if (code_ == EAGAIN) return Error(EAGAIN, "acquire from a rate limiter", "(as many wait already as may)");
  if (code_ != 0) return Error(code_, "acquire from a rate limiter");
  return {};
}

}  // namespace horus::HORUS_ABI
