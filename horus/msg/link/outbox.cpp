// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/link/outbox.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <horus/base/counter.hpp>
#include <horus/base/far_barrier.hpp>
#include <horus/base/log.hpp>
#include <horus/io/base/turn.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/journal.hpp>
#include <horus/msg/link/shm_arena.hpp>
#include <horus/task/event.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kLargeSlot = 4096;     // bytes
constexpr std::uint64_t kCollectEvery = 32;  // messages

std::size_t max_bytes_of(const Layout& layout, const AdvertiseOptions& options) {
  if (options.max_bytes != 0) return options.max_bytes;
  if (layout.element_bytes == 0) return layout.head_bytes;
  return std::max<std::size_t>(AdvertiseOptions::kDefaultMaxBytes, layout.tail_offset + layout.element_bytes);
}

thread_local bool passes_mute = false;

// Tells a publisher that a subscriber took something. Refers to it on its own thread alone, lest it end on another.
class RoomBell final : public Bell {
 public:
  explicit RoomBell(const std::shared_ptr<Outbox>& outbox) : outbox_(outbox), owner_(outbox->owner()) {}

  void ring() noexcept override {
    if (owner_.here()) {
      const std::shared_ptr<Outbox> outbox = outbox_.lock();
      if (outbox == nullptr) return;
      outbox->room_may_have_come();
      if (!outbox->some_subscriber_left()) return;
    }
    if (owner_.waker == nullptr) return;
    owner_.waker->hand_over([outbox = outbox_] {
      const std::shared_ptr<Outbox> self = outbox.lock();
      if (self == nullptr) return;
      self->room_may_have_come();
      if (self->some_subscriber_left()) self->look_after_links();
    });
  }

 private:
  const std::weak_ptr<Outbox> outbox_;
  const Owner owner_;
};

}  // namespace

Result<std::shared_ptr<Outbox>> Outbox::create(std::string topic, const Layout& layout,
                                               const AdvertiseOptions& options,
                                               std::shared_ptr<Arena> shared) {
  const std::size_t most = max_bytes_of(layout, options);
  const auto invalid = [&](std::string what) {
    return Error(EINVAL, "advertise", topic + " (" + what + ")");
  };
  if (most > AdvertiseOptions::kLargestMessage)
    return invalid(fmt::format("messages of {} bytes; at most {}", most, AdvertiseOptions::kLargestMessage));
  if (most < layout.tail_offset)
    return invalid(
        fmt::format("max_bytes {} is less than the {} of {}", most, layout.tail_offset, layout.name));
  if (options.max_queued < 2 || options.max_queued > AdvertiseOptions::kMaxQueued)
    return invalid(fmt::format("max_queued {}; 2 to {}", options.max_queued, AdvertiseOptions::kMaxQueued));
  if (options.max_loans < 1 || options.max_loans > AdvertiseOptions::kMaxLoans)
    return invalid(fmt::format("max_loans {}; 1 to {}", options.max_loans, AdvertiseOptions::kMaxLoans));
  const auto stride = static_cast<std::uint32_t>((std::max<std::size_t>(most, 1) + 63) / 64 * 64);
  const bool is_inline = LinkShape::of(layout, 1, Overflow::latest, 1).inline_bytes != 0;
  const std::uint32_t queued = is_inline ? 0 : options.max_queued + kObserverSlots;
  const std::uint32_t slots = queued + options.max_loans + 1;  // one for send()
  std::shared_ptr<Mapping> word;
  if (shared != nullptr) {
    auto memory = shared->take(PublisherWord::kBytes);
    if (!memory) return memory.error().on("advertise", topic);
    word = std::move(*memory);
  }
  auto table = std::make_shared<SlotTable>(slots, stride, std::move(word));
  auto outbox = std::make_shared<Outbox>(std::move(topic), layout, options,
                                         SlotPool(std::move(table), std::move(shared)));
  outbox->bell_ = std::make_shared<RoomBell>(outbox);
  return outbox;
}

Outbox::Outbox(std::string topic, const Layout& layout, const AdvertiseOptions& options, SlotPool pool)
    : topic_(std::move(topic)),
      layout_(layout),
      options_(options),
      max_tail_bytes_(layout.element_bytes == 0 ? 0
                                                : (max_bytes_of(layout, options) - layout.tail_offset) /
                                                      layout.element_bytes * layout.element_bytes),
      journal_(owner_.reactor == nullptr ? nullptr : owner_.reactor->journal()),
      is_inline_(LinkShape::of(layout, 1, Overflow::latest, 1).inline_bytes != 0),
      collect_always_(pool.stride() >= kLargeSlot),
      pool_(std::move(pool)) {}

Outbox::~Outbox() {
  close_links();
  for (const auto& link : fresh_) link->close();
}

bool Outbox::mute_by_journal(bool mute) const noexcept {
  return owner_.here() ? journal_->decide(io::Journal::Decision::is_mute, mute) : mute;
}

// A replay does not take the time that the recorded run took: without this, whoever records its topics would lose most.
void Outbox::wait_for_observers() const noexcept {
  constexpr int kMostRests = 10'000;
  int rests = 0;
  for (const auto& link : links_) {
    while (link->observes() && !link->subscriber_closed() && !link->has_room() && rests < kMostRests) {
      io::Journal::rest();
      ++rests;
    }
  }
}

void Outbox::close_links() noexcept {
  room_lookout_.unlink();
  for (const auto& link : links_) link->close();
}

// --- Slots ------------------------------------------------------------------------------------------------------------

std::uint32_t Outbox::loan(std::size_t bytes) noexcept {
  if (loans_ < options_.max_loans) return take_slot(bytes);
  no_memory_.reset();
  return SlotPool::kNone;
}

Error Outbox::why_no_loan() const {
  if (no_memory_) return no_memory_->on("loan", topic_);
  return {ENOBUFS, "loan", topic_ + " (publish or drop the loans before: AdvertiseOptions::max_loans)"};
}

std::uint32_t Outbox::take_slot(std::size_t bytes) noexcept {
  std::uint32_t slot = pool_.take();
  if (slot == SlotPool::kNone) [[unlikely]] {
    collect();
    slot = pool_.take();
  }
  if (slot == SlotPool::kNone) [[unlikely]] {
    if (auto reserved = reserve_for_loans(); !reserved) {
      lack_memory(reserved.error());
      return slot;
    }
    slot = pool_.take();
  }
  if (slot != SlotPool::kNone) {
    if (auto filled = pool_.have_pages(slot, std::min<std::size_t>(bytes, pool_.stride())); !filled)
        [[unlikely]] {
      pool_.drop_user(slot);
      lack_memory(filled.error());
      return SlotPool::kNone;
    }
    ++loans_;
  }
  no_memory_.reset();
  return slot;
}

void Outbox::lack_memory(const Error& error) noexcept {
  no_memory_ = error;
  if (!no_memory_log_.may(now_ns())) return;
  log_warning(
      fmt::format("topic {}: a message is lost: {}{}", topic_, error.message(), no_memory_log_.more()));
}

// What every subscriber queues is the same for those that lose the oldest.
std::uint32_t Outbox::needed() const noexcept {
  if (is_inline_ || (links_.empty() && fresh_.empty())) return 0;
  std::uint32_t longest = 0;
  std::uint64_t others = 0;
  for (const auto* links : {&links_, &fresh_}) {
    for (const auto& link : *links) {
      const LinkShape& shape = link->memory().shape;
      others += link->reserved;
      if (!shape.drops_oldest) continue;
      others -= std::min(link->reserved, shape.depth);
      longest = std::max(longest, shape.depth);
    }
  }
  return static_cast<std::uint32_t>(longest + others + options_.max_loans + 1);
}

// Without subscribers there is no memory before somebody wants to write into it.
Result<> Outbox::reserve_for_loans() noexcept {
  const std::lock_guard lock(mutex_);
  if (auto reserved = pool_.reserve(std::max(needed(), options_.max_loans + 1)); !reserved) return reserved;
  pool_.adopt();
  return {};
}

void Outbox::give_memory_back() noexcept {
  const std::lock_guard lock(mutex_);
  pool_.adopt();
  const auto is_far = [](const auto& link) { return link->is_far; };
  const bool told =
      std::any_of(links_.begin(), links_.end(), is_far) || std::any_of(fresh_.begin(), fresh_.end(), is_far);
  if (!pool_.give_back(told)) {
    surplus_ = pool_.has_surplus() && !told;  // else when the next one goes
    return;
  }
  // A little at a time: giving much back takes milliseconds.
  if (owner_.waker == nullptr) return;
  owner_.waker->hand_over([weak = weak_from_this()] {
    if (const auto alive = weak.lock()) alive->give_memory_back();
  });
}

void Outbox::give_back(std::uint32_t slot) noexcept {
  --loans_;
  pool_.drop_user(slot);
  if (self_ == nullptr || loans_ > 0) [[likely]]
    return;
  const std::shared_ptr<Outbox> last = std::move(self_);
  close_links();
}

void Outbox::let_go(std::shared_ptr<Outbox> outbox) noexcept {
  Outbox& self = *outbox;
  self.closed_ = true;
  self.room_.set();
  if (self.loans_ > 0) {
    self.self_ = std::move(outbox);
    return;
  }
  if (self.changed_.load(std::memory_order_acquire)) self.adopt();
  self.close_links();
}

void Outbox::collect() noexcept {
  for (std::size_t i = links_.size(); i > 0; --i) {
    Outlet& link = *links_[i - 1];
    const bool honest = link.collect([this](std::uint32_t slot) { pool_.drop_user(slot); });
    if (!honest) {
      log_warning(
          fmt::format("topic {}: a subscriber broke the rules of shared memory; its link is closed", topic_));
      link.close();
    }
    if (!honest || link.subscriber_gone()) end_link(i - 1);
  }
  if (surplus_) [[unlikely]]
    give_memory_back();
}

void Outbox::end_link(std::size_t index) noexcept {
  const std::lock_guard lock(mutex_);
  const std::shared_ptr<Outlet> link = links_[index];
  links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(index));
  if (!link->observes()) {
    const Outlet::Account account = link->account();
    ended_.sent += account.sent;
    ended_.delivered += account.delivered;
    ended_.dropped += account.dropped + account.queued + account.in_flight;
  }
  account_of(*link) -= link->reserved;
  link->abandon([this](std::uint32_t slot) { pool_.drop_user(slot); });
  pool_.lower(needed());
  surplus_ = true;
}

// --- Links ------------------------------------------------------------------------------------------------------------

Result<> Outbox::fits(std::uint32_t messages) const {
  const std::uint32_t left = options_.max_queued - reserved_;
  if (messages <= left) return {};
  return Error(
      ENOBUFS, "connect a subscriber",
      fmt::format(
          "{} (a subscriber would queue and hold {} messages, and its publisher has room for {} more of "
          "{}; raise AdvertiseOptions::max_queued, or give subscribers a smaller depth)",
          topic_, messages, left, options_.max_queued));
}

Result<> Outbox::has_places(std::uint32_t messages) {
  const auto look = [&] {
    const std::lock_guard lock(mutex_);
    return fits(messages);
  };
  auto places = look();
  if (places) return places;
  // A publisher that is silent does not see who has gone.
  if (owner_.here()) {
    look_after_links();
    return look();
  }
  if (owner_.waker != nullptr) {
    owner_.waker->hand_over([weak = weak_from_this()] {
      if (const auto alive = weak.lock()) alive->look_after_links();
    });
  }
  return places;
}

Result<> Outbox::fits(const Outlet& outlet) const {
  if (!outlet.observes()) return fits(outlet.reserved);
  if (is_inline_ || outlet.reserved <= kObserverSlots - observed_) return {};
  return Error(ENOBUFS, "connect an observer", topic_ + " (close another one)");
}

Result<> Outbox::attach(std::shared_ptr<Outlet> outlet) {
  if (!outlet->observes()) {
    if (auto places = has_places(outlet->reserved); !places) return places;
  }
  const std::lock_guard lock(mutex_);
  if (auto places = fits(*outlet); !places) return places;
  std::uint32_t& account = account_of(*outlet);
  const std::uint32_t more = outlet->reserved;
  const std::uint64_t known = pool_.table()->last_serial();
  fresh_.push_back(std::move(outlet));
  if (auto reserved = pool_.reserve(needed()); !reserved) {
    fresh_.pop_back();
    return reserved.error().on("connect a subscriber", topic_);
  }
  account += more;
  changed_.store(true, std::memory_order_release);
  if (pool_.table()->last_serial() == known) return {};
  std::erase_if(memory_bells_, [](const auto& bell) { return bell.expired(); });
  for (const auto& weak : memory_bells_) {
    if (const auto bell = weak.lock()) bell->ring();
  }
  return {};
}

void Outbox::tell_of_memory(const std::shared_ptr<Bell>& bell) {
  const std::lock_guard lock(mutex_);
  std::erase_if(memory_bells_,
                [](const auto& known) { return known.expired(); });  // of sessions that have ended
  const auto is_known = [&](const auto& known) { return known.lock() == bell; };
  if (std::none_of(memory_bells_.begin(), memory_bells_.end(), is_known)) memory_bells_.push_back(bell);
}

void Outbox::adopt() {
  const std::lock_guard lock(mutex_);
  changed_.store(false, std::memory_order_relaxed);
  for (auto& link : fresh_) links_.push_back(std::move(link));
  fresh_.clear();
  pool_.adopt();
}

void Outbox::look_after_links() noexcept {
  if (changed_.load(std::memory_order_acquire)) adopt();
  collect();
  room_.set();
}

bool Outbox::some_subscriber_left() const noexcept {
  return std::any_of(links_.begin(), links_.end(), [](const auto& link) { return link->subscriber_gone(); });
}

bool Outbox::has_room() {
  if (changed_.load(std::memory_order_acquire)) adopt();
  return std::all_of(links_.begin(), links_.end(), [](const auto& link) {
    return link->observes() || link->subscriber_closed() || link->has_room() ||
           link->peer_silent.load(std::memory_order_relaxed);
  });
}

// A peer that does not answer has no room, and nobody waits for it.
bool Outbox::passes_over_somebody() const noexcept {
  return std::any_of(links_.begin(), links_.end(), [](const auto& link) {
    return link->peer_silent.load(std::memory_order_relaxed) && !link->subscriber_closed() &&
           !link->has_room();
  });
}

void Outbox::ask_for_room() noexcept {
  bool far = false;
  for (const auto& link : links_) {
    if (!link->observes()) far = link->ask_for_room() || far;
  }
  if (far) static_cast<void>(far_barrier());
}

void Outbox::count_lost(std::uint64_t messages) noexcept {
  if (changed_.load(std::memory_order_acquire)) adopt();
  for (const auto& link : links_) link->count_lost(messages);
}

Task<Result<>> Outbox::wait_for_room() {
  const std::shared_ptr<Outbox> self = shared_from_this();
  for (bool turned = false;; turned = true) {
    if (closed_) co_return Error(EPIPE, "send", topic_ + " (this publisher is closed)");
    room_.reset();
    if (has_room()) {
      if (turned || !passes_over_somebody()) co_return Result<>();
      // Whoever sends in a loop would not hear that a peer which was silent answers again.
      co_await yield();
      continue;
    }
    ++waiting_for_room_;
    io::Reactor::current()->watch(room_lookout_);
    Result<> waited;
    try {
      co_await room_.wait();
    } catch (const Error& error) {
      waited = error.on("send", topic_);
    }
    if (--waiting_for_room_ == 0) room_lookout_.unlink();  // it may be the last that this reactor hears of us
    if (!waited) co_return waited;
  }
}

void Outbox::RoomLookout::look() noexcept {
  if (outbox_.waiting_for_room_ > 0 && !outbox_.has_room()) return;
  unlink();
  outbox_.room_.set();
}

bool Outbox::RoomLookout::before_sleep() noexcept {
  if (outbox_.waiting_for_room_ == 0) {
    unlink();
    return false;
  }
  outbox_.ask_for_room();
  return outbox_.has_room();
}

// --- Sending ----------------------------------------------------------------------------------------------------------

// Mostly the loop's own time: a look at the clock would cost as much as sending.
inline std::int64_t Outbox::stamp_ns() const noexcept {
  if (io::Reactor::current() == nullptr) return now_ns();
  io::Turn& turn = io::current_turn;
  if (turn.of_clock != turn.number) turn.note_clock(now_ns());
  return std::max<std::int64_t>(turn.clock_ns, 1);
}

bool Outbox::publish(std::uint32_t slot, std::uint32_t tail_bytes) noexcept {
  return forward(slot, tail_bytes, stamp_ns());
}

bool Outbox::forward(std::uint32_t slot, std::uint32_t tail_bytes, std::int64_t published_ns) noexcept {
  const std::int64_t stamp = published_ns > 0 ? published_ns : -stamp_ns();
  bool all = false;
  if (begin_message(tail_bytes, stamp))
    all = is_inline_ ? distribute(pool_.data(slot), stamp) : distribute({slot, tail_bytes, stamp});
  give_back(slot);
  return all;
}

void Outbox::forward_copy(const std::byte* message, std::int64_t published_ns) noexcept {
  const std::int64_t stamp = published_ns > 0 ? published_ns : -stamp_ns();
  if (begin_message(0, stamp)) static_cast<void>(distribute(message, stamp));
}

// The stamp is made whether or not somebody subscribes: a replay may have taps, which do.
inline bool Outbox::begin_message(std::size_t tail_bytes, std::int64_t stamp) noexcept {
  if (changed_.load(std::memory_order_acquire)) [[unlikely]]
    adopt();
  if (journal_ != nullptr && journal_->replays()) [[unlikely]]
    wait_for_observers();
  if (is_mute() && !passes_mute) [[unlikely]] {
    horus::detail::count(failures_);
    return false;
  }
  horus::detail::count(published_);
  last_ns_.store(stamp, std::memory_order_relaxed);
  if (tail_bytes > 0) horus::detail::count(tail_bytes_, tail_bytes);
  return true;
}

inline bool Outbox::end_message(bool all) noexcept {
  if (!all) horus::detail::count(failures_);
  if (collect_always_ || some_closed_ || published_.load(std::memory_order_relaxed) % kCollectEvery == 0) {
    some_closed_ = false;
    collect();
  }
  return all;
}

bool Outbox::distribute(const void* message, std::int64_t stamp_ns) noexcept {
  bool all = true;
  for (const auto& link : links_) {
    if (link->subscriber_closed()) [[unlikely]] {
      some_closed_ = true;
    } else if (!link->send(message, stamp_ns)) [[unlikely]] {
      all = all && link->observes();
    }
  }
  return end_message(all);
}

bool Outbox::distribute(const SlotMessage& message) noexcept {
  bool all = true;
  for (const auto& link : links_) {
    if (link->subscriber_closed()) [[unlikely]] {
      some_closed_ = true;
      continue;
    }
    std::uint32_t victim = SlotPool::kNone;
    if (!link->push(message, victim)) {
      all = all && link->observes();
      continue;
    }
    if (victim != SlotPool::kNone) pool_.drop_user(victim);
    pool_.add_user(message.slot);
    if (link->holds_too_many()) [[unlikely]]
      some_closed_ = true;
    link->notify();
  }
  return end_message(all);
}

void Outbox::mute(MuteReason reason, bool mute) noexcept {
  const auto bit = static_cast<std::uint8_t>(reason);
  std::uint8_t reasons =
      mute ? mute_.fetch_or(bit) | bit : mute_.fetch_and(static_cast<std::uint8_t>(~bit)) & ~bit;
  const PublisherWord word = pool_.table()->word();
  // Two threads may come at once: the last one to write has seen both.
  while (true) {
    word.set((reasons & static_cast<std::uint8_t>(MuteReason::emergency)) != 0 ? PublisherState::emergency
             : reasons != 0                                                    ? PublisherState::muted
                                                                               : PublisherState::live);
    const std::uint8_t now = mute_.load();
    if (now == reasons) return;
    reasons = now;
  }
}

MutePass::MutePass() noexcept : before_(std::exchange(passes_mute, true)) {}
MutePass::~MutePass() { passes_mute = before_; }

void Outbox::throw_too_large(std::size_t tail_bytes) const {
  throw Error(EMSGSIZE, "send",
              fmt::format("{} ({} bytes; at most {}: AdvertiseOptions::max_bytes)", topic_,
                          layout_.tail_offset + tail_bytes, layout_.tail_offset + max_tail_bytes_));
}

inline bool Outbox::send_inline(const void* message) noexcept {
  const std::int64_t stamp = stamp_ns();
  return begin_message(0, stamp) && distribute(message, stamp);
}

bool Outbox::send_here(const void* head, const void* tail, std::size_t tail_bytes) noexcept {
  if (is_inline_) return send_inline(head);
  if (changed_.load(std::memory_order_acquire)) [[unlikely]]
    adopt();
  const auto has_gone = [](const auto& link) { return link->subscriber_closed(); };
  if (std::all_of(links_.begin(), links_.end(), has_gone)) [[unlikely]] {
    some_closed_ = !links_.empty();
    return begin_message(tail_bytes, stamp_ns()) &&
           end_message(true);  // it goes nowhere, and needs no memory
  }
  const std::uint32_t slot =
      take_slot(tail_bytes == 0 ? layout_.head_bytes : layout_.tail_offset + tail_bytes);
  if (slot == SlotPool::kNone) {
    horus::detail::count(failures_);
    return false;
  }
  std::byte* to = pool_.data(slot);
  if (layout_.head_bytes > 0) std::memcpy(to, head, layout_.head_bytes);
  if (tail_bytes > 0) std::memcpy(to + layout_.tail_offset, tail, tail_bytes);
  return publish(slot, static_cast<std::uint32_t>(tail_bytes));
}

bool Outbox::send(const void* head, const void* tail, std::size_t tail_bytes) {
  check_size(tail_bytes);
  if (owner_.here()) [[likely]]
    return is_inline_ ? send_inline(head) : send_here(head, tail, tail_bytes);
  if (owner_.waker == nullptr)
    throw Error(EPERM, "send", topic_ + " (this publisher belongs to another thread, which runs no reactor)");
  std::vector<std::byte> copy(layout_.head_bytes + tail_bytes);
  if (layout_.head_bytes > 0) std::memcpy(copy.data(), head, layout_.head_bytes);
  if (tail_bytes > 0) std::memcpy(copy.data() + layout_.head_bytes, tail, tail_bytes);
  return owner_.waker->post([self = weak_from_this(), copy = std::move(copy)] {
    const std::shared_ptr<Outbox> outbox = self.lock();
    if (outbox == nullptr) return;
    const std::size_t head_bytes = outbox->layout_.head_bytes;
    static_cast<void>(outbox->send_here(copy.data(), copy.data() + head_bytes, copy.size() - head_bytes));
  });
}

PublisherMetrics Outbox::metrics() const {
  const std::lock_guard lock(mutex_);
  PublisherMetrics metrics = ended_;
  metrics.published = published_.load(std::memory_order_relaxed);
  metrics.bytes = metrics.published * layout_.head_bytes + tail_bytes_.load(std::memory_order_relaxed);
  metrics.last_ns = std::abs(last_ns_.load(std::memory_order_relaxed));
  metrics.send_failures = failures_.load(std::memory_order_relaxed);
  for (const auto& link : fresh_) metrics.subscribers += link->observes() ? 0 : 1;
  for (const auto& link : links_) {
    if (link->observes()) continue;
    ++metrics.subscribers;
    const Outlet::Account account = link->account();
    metrics.sent += account.sent;
    metrics.delivered += account.delivered;
    metrics.dropped += account.dropped;
    metrics.queued += account.queued;
    metrics.in_flight += account.in_flight;
  }
  return metrics;
}

}  // namespace horus::HORUS_ABI::msg
