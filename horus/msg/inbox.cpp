// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/inbox.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/base/counter.hpp>
#include <horus/base/far_barrier.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/outlet.hpp>

namespace horus::msg {
namespace {

constexpr std::uint32_t kStaysAwake = 64;  // waits without a sleep: a far barrier is then worth its price

}  // namespace

Owner::Owner() noexcept
    : reactor(io::Reactor::current()),
      thread(horus::detail::thread_state.number),
      waker(reactor != nullptr ? reactor->waker() : nullptr) {}

bool Owner::here() const noexcept {
  return io::Reactor::current() == reactor && horus::detail::thread_state.number == thread;
}

Inbox::Inbox(std::string topic, const Layout& layout, const SubscribeOptions& options,
             std::shared_ptr<Bell> bell)
    : topic_(std::move(topic)), layout_(layout), options_(options), bell_(std::move(bell)) {}

Inbox::~Inbox() {
  close();
  for (Inlet* inlet : fresh_) inlet->let_go();
}

void Inbox::close() noexcept {
  io::Lookout::unlink();
  while (!links_.empty()) drop_link(links_.size() - 1);
}

Inbox::Waiting::~Waiting() {
  if (arrival.inlet != nullptr) arrival.inlet->give_back(arrival.slot);
}

// --- Links ------------------------------------------------------------------------------------------------------------

void Inbox::attach(Inlet* inlet) {
  {
    const std::lock_guard lock(mutex_);
    fresh_.push_back(inlet);
    changed_.store(true, std::memory_order_release);
  }
  if (bell_ != nullptr) return bell_->ring();
  if (owner_.here()) return arrived();
  // Whoever waits now does not look at this link yet.
  if (owner_.waker == nullptr) return;
  owner_.waker->hand_over([inbox = weak_from_this()] {
    if (const std::shared_ptr<Inbox> self = inbox.lock()) self->arrived();
  });
}

void Inbox::adopt() {
  const std::lock_guard lock(mutex_);
  changed_.store(false, std::memory_order_relaxed);
  for (Inlet* inlet : fresh_) {
    links_.push_back(inlet);
    if (!inlet->same_thread()) ++foreign_;
  }
  fresh_.clear();
  if (foreign_ > 0 && !waiters_.empty() && owner_.reactor != nullptr) owner_.reactor->watch(*this);
}

void Inbox::drop_link(std::size_t index) noexcept {
  const std::lock_guard lock(mutex_);
  Inlet* inlet = links_[index];
  links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(index));
  if (!inlet->same_thread()) --foreign_;
  horus::detail::count(lost_, inlet->dropped());
  if (inlet->publisher_died()) horus::detail::count(died_);
  inlet->let_go();
}

// --- Messages ---------------------------------------------------------------------------------------------------------

bool Inbox::take(Arrival& arrival, int& failure) {
  if (changed_.load(std::memory_order_acquire)) [[unlikely]]
    adopt();
  for (std::size_t tried = 0; tried < links_.size();) {
    if (next_ >= links_.size()) next_ = 0;
    Inlet& inlet = *links_[next_];
    const bool over = inlet.publisher_closed();  // before the look: what it had sent is still taken
    switch (inlet.take(arrival)) {
      case Inlet::Outcome::taken:
        ++next_;
        failure = 0;
        record(arrival);
        return true;
      case Inlet::Outcome::too_many_held: failure = ENOBUFS; return true;
      case Inlet::Outcome::broken:
        log_warning(fmt::format("topic {}: a publisher broke the rules of shared memory; its link is closed",
                                topic_));
        drop_link(next_);
        break;
      case Inlet::Outcome::none:
        if (over) {
          drop_link(next_);
        } else {
          ++next_;
          ++tried;
        }
        break;
    }
  }
  return false;
}

bool Inbox::has_message() {
  if (changed_.load(std::memory_order_acquire)) adopt();
  return std::any_of(links_.begin(), links_.end(), [](const Inlet* inlet) { return !inlet->empty(); });
}

bool Inbox::listen() {
  if (changed_.load(std::memory_order_acquire)) adopt();
  for (Inlet* inlet : links_) inlet->set_asleep(true);
  // Pairs with the one in Outlet::notify().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return changed_.load(std::memory_order_relaxed) ||
         std::any_of(links_.begin(), links_.end(),
                     [](const Inlet* inlet) { return !inlet->empty() || inlet->publisher_closed(); });
}

void Inbox::wake() const noexcept {
  if (bell_ != nullptr) return bell_->ring();
  if (owner_.waker != nullptr) owner_.waker->wake();
}

void Inbox::record(const Arrival& arrival) {
  horus::detail::count(received_);
  horus::detail::count(bytes_, std::uint64_t{layout_.head_bytes} + arrival.tail_bytes);
  if (arrival.stamp_ns == 0) [[likely]]
    return;
  const std::int64_t late_ns = std::max<std::int64_t>(now_ns() - arrival.stamp_ns, 0);
  const std::lock_guard lock(mutex_);
  latency_.record(static_cast<std::uint64_t>(late_ns));
}

void Inbox::wait(Waiting& waiting) noexcept {
  waiters_.push_back(waiting);
  if (foreign_ == 0) return;
  owner_.reactor->watch(*this);
  if (!polling_ && owner_.reactor->config().busy_poll > Duration::zero() && ++awake_ >= kStaysAwake)
    announce_polling();
}

void Inbox::announce_polling() noexcept {
  awake_ = 0;  // where it cannot be, the next try is as far away
  if (!far_barrier()) return;
  for (Inlet* inlet : links_) {
    if (!inlet->same_thread()) polling_ = inlet->set_polling(true) || polling_;
  }
}

void Inbox::arrived() noexcept {
  if (changed_.load(std::memory_order_acquire)) [[unlikely]]
    adopt();
  while (auto* first = waiters_.front()) {
    auto* waiting = static_cast<Waiting*>(first);
    if (!take(waiting->arrival, waiting->failure)) return;
    waiters_.pop_front();
    waiting->make_ready();
  }
}

void Inbox::look() noexcept {
  if (announced_) {
    announced_ = false;
    for (Inlet* inlet : links_) inlet->set_asleep(false);
  }
  arrived();
  if (waiters_.empty()) io::Lookout::unlink();
}

bool Inbox::before_sleep() noexcept {
  if (waiters_.empty()) {
    io::Lookout::unlink();
    return false;
  }
  announced_ = true;
  awake_ = 0;
  for (Inlet* inlet : links_) {
    if (inlet->same_thread()) continue;
    inlet->set_polling(false);
    inlet->set_asleep(true);
  }
  if (std::exchange(polling_, false)) static_cast<void>(far_barrier());
  // Pairs with the one in Outlet::notify().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return std::any_of(links_.begin(), links_.end(),
                     [](const Inlet* inlet) { return !inlet->empty() || inlet->publisher_closed(); });
}

// --- The account ------------------------------------------------------------------------------------------------------

std::uint64_t Inbox::missed() const noexcept {
  std::uint64_t missed = lost_.load(std::memory_order_relaxed);
  for (const Inlet* inlet : links_) missed += inlet->dropped();
  return missed;
}

void Inbox::count_lost(std::uint64_t messages) noexcept { horus::detail::count(lost_, messages); }

SubscriberMetrics Inbox::metrics() const {
  const std::lock_guard lock(mutex_);
  SubscriberMetrics metrics;
  metrics.received = received_.load(std::memory_order_relaxed);
  metrics.bytes = bytes_.load(std::memory_order_relaxed);
  metrics.dropped = missed();
  metrics.publishers_died = died_.load(std::memory_order_relaxed);
  for (const Inlet* inlet : links_) {
    metrics.queued += inlet->queued();
    metrics.high_water = std::max(metrics.high_water, inlet->high_water());
  }
  for (const auto* links : {&links_, &fresh_}) {
    metrics.publishers += static_cast<std::uint32_t>(std::count_if(
        links->begin(), links->end(), [](const Inlet* inlet) { return !inlet->publisher_closed(); }));
  }
  metrics.latency = latency_;
  return metrics;
}

}  // namespace horus::msg
