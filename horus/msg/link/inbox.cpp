// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/inbox.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <horus/base/assert.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/counter.hpp>
#include <horus/base/far_barrier.hpp>
#include <horus/base/log.hpp>
#include <horus/base/pause_cpu.hpp>
#include <horus/io/base/turn.hpp>
#include <horus/io/reactor.hpp>
#include <horus/msg/link/outlet.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kUntakenKept =
    16;  // links of publishers that have gone, with messages that nobody took
constexpr std::uint32_t kStaysAwake = 64;  // waits without a sleep: a far barrier is then worth its price
// Before a sleep in the middle of a stream: 0.5 to 3 µs. Few looks, since each takes the line from the CPU that writes it.
constexpr int kLooksBeforeSleep = 8;
constexpr int kPausesPerLook = 8;
constexpr int kStretchShift = 17;  // of nanoseconds: a stretch of taking without a loop, 131 µs

// Reactors number their threads; one that has never had a reactor is somebody, too.
std::uint64_t number_of_this_thread() noexcept {
  static std::atomic<std::uint64_t> next{std::uint64_t{1} << 63};
  std::uint64_t& number = horus::detail::thread_state.number;
  if (number == 0) number = next.fetch_add(1, std::memory_order_relaxed);
  return number;
}

}  // namespace

Owner::Owner() noexcept
    : reactor(io::Reactor::current()),
      thread(number_of_this_thread()),
      waker(reactor != nullptr ? reactor->waker() : nullptr) {}

Inbox::Inbox(std::string topic, const Layout& layout, const SubscribeOptions& options,
             std::shared_ptr<Bell> bell)
    : topic_(std::move(topic)), layout_(layout), options_(options), bell_(std::move(bell)) {}

Inbox::~Inbox() {
  close();
  for (Inlet* inlet : fresh_) inlet->let_go();
}

void Inbox::close() noexcept {
  io::Lookout::unlink();
  if (waiting_ > 0) kept_ = weak_from_this().lock();
  while (auto* first = waiters_.pop_front()) {
    static_cast<Waiting*>(first)->failure = EPIPE;
    // The frames of a reactor that has ended never go on.
    if (io::Reactor::current() != nullptr && (owner_.reactor == nullptr || owner_.here()))
      first->make_ready();
  }
  while (!links_.empty()) drop_link(links_.size() - 1);
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
  dry_ = false;
  std::unique_lock lock(mutex_);
  changed_.store(false, std::memory_order_relaxed);
  for (Inlet* inlet : fresh_) {
    links_.push_back(inlet);
    if (!inlet->same_thread()) ++foreign_;
  }
  fresh_.clear();
  if (foreign_ > 0 && !waiters_.empty() && owner_.reactor != nullptr) owner_.reactor->watch(*this);
  lock.unlock();
  if (links_.size() > kUntakenKept) look_after_links();  // publishers come and go, and nobody takes
}

void Inbox::drop_link(std::size_t index) noexcept {
  const std::lock_guard lock(mutex_);
  Inlet* inlet = links_[index];
  links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(index));
  if (!inlet->same_thread()) --foreign_;
  horus::detail::count(lost_, inlet->dropped());
  if (inlet->news_of_death()) horus::detail::count(died_);
  inlet->let_go();
}

void Inbox::publisher_went(const std::shared_ptr<Inbox>& inbox) {
  inbox->wake();
  if (inbox->owner_.waker == nullptr || inbox->bell_ != nullptr) return;
  inbox->owner_.waker->hand_over([weak = std::weak_ptr(inbox)] {
    const std::shared_ptr<Inbox> self = weak.lock();
    if (self == nullptr) return;
    self->arrived();
    self->look_after_links();
  });
}

void Inbox::look_again(const std::shared_ptr<Inbox>& inbox) {
  inbox->wake();
  if (inbox->owner_.waker == nullptr || inbox->bell_ != nullptr) return;
  inbox->owner_.waker->hand_over([weak = std::weak_ptr(inbox)] {
    if (const std::shared_ptr<Inbox> self = weak.lock()) self->arrived();
  });
}

void Inbox::look_after_links() noexcept {
  if (changed_.load(std::memory_order_acquire)) adopt();
  std::size_t kept = 0;
  for (std::size_t i = links_.size(); i > 0; --i) {
    Inlet& inlet = *links_[i - 1];
    if (!inlet.publisher_closed()) continue;
    if (inlet.empty() || ++kept > kUntakenKept) {
      drop_link(i - 1);
    } else if (inlet.news_of_death()) {
      horus::detail::count(died_);
    }
  }
}

// --- Messages ---------------------------------------------------------------------------------------------------------

// What is taken in one stretch of a loop is one batch: a queue's oldest messages give way between stretches.
std::uint64_t Inbox::stretch() const noexcept {
  if (io::Reactor::current() != nullptr && bell_ == nullptr) return io::current_turn.number;
  return static_cast<std::uint64_t>(now_ns()) >> kStretchShift;
}

bool Inbox::take(Arrival& arrival, int& failure, std::byte* storage) {
  if (is_dry()) return false;
  if (changed_.load(std::memory_order_acquire)) [[unlikely]]
    adopt();
  for (std::size_t tried = 0; tried < links_.size();) {
    if (next_ >= links_.size()) next_ = 0;
    Inlet& inlet = *links_[next_];
    const bool over = inlet.publisher_closed();  // before the look: what it had sent is still taken
    if (inlet.takes_batches()) inlet.go_on(stretch());
    switch (inlet.take(arrival, storage)) {
      case Inlet::Outcome::taken:
        ++next_;
        failure = 0;
        record(arrival);
        if (inlet.owes_room()) [[unlikely]]
          tell_room_later(inlet);
        return true;
      case Inlet::Outcome::too_many_held:
        full_link_ = &inlet;
        failure = ENOBUFS;
        return true;
      case Inlet::Outcome::broken:
        log_warning(fmt::format("topic {}: a publisher broke the rules of shared memory; its link is closed",
                                topic_));
        drop_link(next_);
        break;
      case Inlet::Outcome::none:
        if (inlet.owes_room()) inlet.tell_room();
        if (over) {
          drop_link(next_);
        } else {
          ++next_;
          ++tried;
        }
        break;
    }
  }
  dry_ = foreign_ == 0;
  return false;
}

// Before the loop sleeps, or at its next turn: a stretch that takes many messages wakes their publisher once.
void Inbox::tell_room_later(Inlet& inlet) noexcept {
  if (bell_ != nullptr || owner_.reactor == nullptr || io::Reactor::current() != owner_.reactor)
    return inlet.tell_room();
  owes_room_ = true;
  owner_.reactor->watch(*this);
}

void Inbox::hand_over(Inlet& inlet, const void* message, std::uint32_t bytes,
                      std::int64_t stamp_ns) noexcept {
  auto* waiting = static_cast<Waiting*>(waiters_.front());
  if (waiting->onward != nullptr && waiting->onward->pass(static_cast<const std::byte*>(message), stamp_ns)) {
    static_cast<void>(inlet.pass_taken());
    horus::detail::count(received_);
    return;
  }
  waiting->unlink();
  std::memcpy(waiting->storage, message, bytes);
  Arrival& arrival = waiting->arrival;  // of nothing until now
  arrival.inlet = &inlet;
  arrival.data = waiting->storage;
  arrival.number = inlet.pass_taken();
  arrival.stamp_ns = stamp_ns;
  // Published and taken at the same time: its stamp is older, that of the loop's turn.
  if (count_received(arrival)) [[unlikely]]
    record_latency(0);
  waiting->make_ready();
}

bool Inbox::has_message() {
  if (changed_.load(std::memory_order_acquire)) adopt();
  bool some_over = false;
  for (const Inlet* inlet : links_) {
    const bool over = inlet->publisher_closed();  // before the look: what it had sent is still taken
    if (!inlet->empty()) return true;
    some_over = some_over || over;
  }
  if (some_over) look_after_links();
  return false;
}

void Inbox::discard() noexcept {
  if (options_.keep_in_emergency) return;
  if (changed_.load(std::memory_order_acquire)) adopt();
  ++discards_;
  for (Inlet* inlet : links_) horus::detail::count(lost_, inlet->discard());
}

Inbox::Taken Inbox::now(const Arrival& arrival) const noexcept {
  const std::int64_t taken_ns = now_ns();
  const Inlet& inlet = *arrival.inlet;
  return {&inlet, inlet.serial(), inlet.publisher_word(), discards_,
          taken_ns - age_at(taken_ns, arrival.stamp_ns).count()};
}

bool Inbox::is_stale(const Taken& taken) const noexcept {
  return options_.stale_after && now_ns() - taken.published_ns > options_.stale_after->count();
}

bool Inbox::still_counts(const Taken& taken) const noexcept {
  if (is_stale(taken)) return false;
  if (options_.keep_in_emergency) return true;
  if (taken.discards != discards_) return false;
  // A small message is its taker's own, and does not keep its link.
  const auto link = std::find(links_.begin(), links_.end(), taken.inlet);
  if (link == links_.end() || (*link)->serial() != taken.serial) return false;
  const std::uint32_t word = (*link)->publisher_word();
  return PublisherWord::is_live(word) && word == taken.publisher && !(*link)->publisher_closed();
}

bool Inbox::listen() {
  if (changed_.load(std::memory_order_acquire)) adopt();
  for (Inlet* inlet : links_) inlet->set_asleep(true);
  // Pairs with the one in Outlet::notify().
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return changed_.load(std::memory_order_relaxed) || something_came();
}

void Inbox::wake() const noexcept {
  if (bell_ != nullptr) return bell_->ring();
  if (owner_.waker != nullptr) owner_.waker->wake();
}

void Inbox::record(const Arrival& arrival) {
  if (count_received(arrival)) record_latency(now_ns() - arrival.stamp_ns);
}

void Inbox::record_latency(std::int64_t late_ns) {
  const std::lock_guard lock(mutex_);
  latency_.record(static_cast<std::uint64_t>(std::max<std::int64_t>(late_ns, 0)));
}

void Inbox::wait(Waiting& waiting) noexcept {
  waiters_.push_back(waiting);
  if (foreign_ == 0) return;
  const std::uint64_t received = received_.load(std::memory_order_relaxed);
  streams_ = streams_ || received - received_by_wait_ > 1;
  received_by_wait_ = received;
  HORUS_ASSERT(owner_.here(),
               "a subscriber waits on a reactor that is not the one of the thread that made it: make it in a "
               "task of the "
               "reactor that awaits it");
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
  dry_ = false;
  if (changed_.load(std::memory_order_acquire)) [[unlikely]]
    adopt();
  while (auto* first = waiters_.front()) {
    auto* waiting = static_cast<Waiting*>(first);
    if (!take(waiting->arrival, waiting->failure, waiting->storage)) return;
    waiters_.pop_front();
    waiting->make_ready();
  }
}

void Inbox::look() noexcept {
  if (announced_) {
    announced_ = false;
    for (Inlet* inlet : links_) inlet->set_asleep(false);
  }
  tell_room();
  arrived();
  if (waiters_.empty() && !owes_room_) io::Lookout::unlink();
}

void Inbox::tell_room() noexcept {
  if (!std::exchange(owes_room_, false)) return;
  for (Inlet* inlet : links_) {
    if (inlet->owes_room()) inlet->tell_room();
  }
}

bool Inbox::before_sleep() noexcept {
  tell_room();
  if (waiters_.empty()) {
    io::Lookout::unlink();
    return false;
  }
  if (next_comes_soon()) return true;
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
  return something_came();
}

bool Inbox::something_came() const noexcept {
  return std::any_of(links_.begin(), links_.end(),
                     [](const Inlet* inlet) { return !inlet->empty() || inlet->publisher_closed(); });
}

// A sleep costs the publisher a system call and this loop a wake-up, several microseconds: in the middle of a stream the
// next messages are here earlier. One look in vain ends it, until two messages have come at once again.
bool Inbox::next_comes_soon() noexcept {
  if (!streams_) return false;
  for (int look = 0; look < kLooksBeforeSleep; ++look) {
    for (int i = 0; i < kPausesPerLook; ++i) horus::detail::pause_cpu();
    if (something_came()) return true;
  }
  streams_ = false;
  return false;
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
  metrics.bytes = metrics.received * layout_.head_bytes + tail_bytes_.load(std::memory_order_relaxed);
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

}  // namespace horus::HORUS_ABI::msg
