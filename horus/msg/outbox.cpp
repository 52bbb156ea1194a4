// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/outbox.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <horus/base/counter.hpp>
#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>

namespace horus::msg {
namespace {

constexpr std::size_t kLargeSlot = 4096;     // bytes
constexpr std::uint64_t kStampEvery = 16;    // messages: a look at the clock costs as much as sending one
constexpr std::uint64_t kCollectEvery = 32;  // messages

std::size_t max_bytes_of(const Layout& layout, const AdvertiseOptions& options) {
  if (options.max_bytes != 0) return options.max_bytes;
  if (layout.element_bytes == 0) return layout.head_bytes;
  return std::max<std::size_t>(AdvertiseOptions::kDefaultMaxBytes, layout.tail_offset + layout.element_bytes);
}

// Tells a publisher that a subscriber took something.
class RoomBell final : public Bell {
 public:
  explicit RoomBell(std::weak_ptr<Outbox> outbox, std::shared_ptr<io::Waker> waker) noexcept
      : outbox_(std::move(outbox)), waker_(std::move(waker)) {}

  void ring() noexcept override {
    const std::shared_ptr<Outbox> outbox = outbox_.lock();
    if (outbox == nullptr) return;
    if (outbox->owner().here()) return outbox->room_may_have_come();
    if (waker_ == nullptr) return;
    waker_->hand_over([outbox = outbox_] {
      if (const std::shared_ptr<Outbox> self = outbox.lock()) self->room_may_have_come();
    });
  }

 private:
  std::weak_ptr<Outbox> outbox_;
  std::shared_ptr<io::Waker> waker_;
};

}  // namespace

Result<std::shared_ptr<Outbox>> Outbox::create(std::string topic, const Layout& layout,
                                               const AdvertiseOptions& options, bool sharable) {
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
  const std::uint32_t slots = options.max_queued + options.max_loans + 1;  // one for send()
  auto memory = Mapping::create(std::size_t{slots} * stride, sharable, "horus-slots");
  if (!memory) return memory.error().on("advertise", topic);
  if (sharable) {
    if (auto sealed = (*memory)->forbid_writers(); !sealed) return sealed.error();
  }
  auto outbox = std::make_shared<Outbox>(std::move(topic), layout, options,
                                         SlotPool(std::move(*memory), slots, stride));
  outbox->bell_ = std::make_shared<RoomBell>(outbox, outbox->owner_.waker);
  return outbox;
}

Outbox::Outbox(std::string topic, const Layout& layout, const AdvertiseOptions& options, SlotPool pool)
    : topic_(std::move(topic)),
      layout_(layout),
      options_(options),
      max_tail_bytes_(layout.element_bytes == 0 ? 0
                                                : (max_bytes_of(layout, options) - layout.tail_offset) /
                                                      layout.element_bytes * layout.element_bytes),
      collect_always_(pool.stride() >= kLargeSlot),
      pool_(std::move(pool)) {}

Outbox::~Outbox() {
  for (const auto& link : links_) link->close();
  for (const auto& link : fresh_) link->close();
}

// --- Slots ------------------------------------------------------------------------------------------------------------

std::uint32_t Outbox::loan() noexcept { return loans_ < options_.max_loans ? take_slot() : SlotPool::kNone; }

std::uint32_t Outbox::take_slot() noexcept {
  std::uint32_t slot = pool_.take();
  if (slot == SlotPool::kNone) [[unlikely]] {
    collect();
    slot = pool_.take();
  }
  if (slot != SlotPool::kNone) ++loans_;
  return slot;
}

void Outbox::give_back(std::uint32_t slot) noexcept {
  --loans_;
  pool_.drop_user(slot);
  if (self_ == nullptr || loans_ > 0) [[likely]]
    return;
  const std::shared_ptr<Outbox> last = std::move(self_);
}

void Outbox::let_go(std::shared_ptr<Outbox> outbox) noexcept {
  Outbox& self = *outbox;
  self.closed_ = true;
  self.room_.set();
  if (self.loans_ > 0) self.self_ = std::move(outbox);
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
}

void Outbox::end_link(std::size_t index) noexcept {
  const std::lock_guard lock(mutex_);
  const std::shared_ptr<Outlet> link = links_[index];
  links_.erase(links_.begin() + static_cast<std::ptrdiff_t>(index));
  const Outlet::Account account = link->account();
  ended_.sent += account.sent;
  ended_.delivered += account.delivered;
  ended_.dropped += account.dropped + account.queued + account.in_flight;
  reserved_ -= link->reserved;
  link->abandon([this](std::uint32_t slot) { pool_.drop_user(slot); });
}

// --- Links ------------------------------------------------------------------------------------------------------------

Result<> Outbox::attach(std::shared_ptr<Outlet> outlet) {
  const std::lock_guard lock(mutex_);
  if (outlet->reserved > options_.max_queued - reserved_) {
    return Error(
        ENOBUFS, "connect a subscriber",
        fmt::format("{} (it may queue and hold {} messages, {} are left; raise AdvertiseOptions::max_queued)",
                    topic_, outlet->reserved, options_.max_queued - reserved_));
  }
  reserved_ += outlet->reserved;
  fresh_.push_back(std::move(outlet));
  changed_.store(true, std::memory_order_release);
  return {};
}

void Outbox::adopt() {
  const std::lock_guard lock(mutex_);
  changed_.store(false, std::memory_order_relaxed);
  for (auto& link : fresh_) links_.push_back(std::move(link));
  fresh_.clear();
}

void Outbox::look_after_links() noexcept {
  if (changed_.load(std::memory_order_acquire)) adopt();
  collect();
  room_.set();
}

bool Outbox::has_room() {
  if (changed_.load(std::memory_order_acquire)) adopt();
  return std::all_of(links_.begin(), links_.end(),
                     [](const auto& link) { return link->subscriber_closed() || link->has_room(); });
}

void Outbox::ask_for_room() noexcept {
  for (const auto& link : links_) link->ask_for_room();
}

void Outbox::count_lost(std::uint64_t messages) noexcept {
  if (changed_.load(std::memory_order_acquire)) adopt();
  for (const auto& link : links_) link->count_lost(messages);
}

Task<Result<>> Outbox::wait_for_room() {
  const std::shared_ptr<Outbox> self = shared_from_this();
  while (true) {
    if (closed_) co_return Error(EPIPE, "send", topic_ + " (this publisher is closed)");
    room_.reset();
    if (changed_.load(std::memory_order_acquire)) adopt();
    ask_for_room();
    if (has_room()) co_return Result<>();
    try {
      co_await room_.wait();
    } catch (const Error& error) {
      co_return error.on("send", topic_);
    }
  }
}

// --- Sending ----------------------------------------------------------------------------------------------------------

bool Outbox::publish(std::uint32_t slot, std::uint32_t tail_bytes) noexcept {
  std::int64_t stamp_ns = 0;
  if (until_stamp_-- == 0) {
    stamp_ns = now_ns();
    until_stamp_ = kStampEvery - 1;
  }
  return forward(slot, tail_bytes, stamp_ns);
}

bool Outbox::forward(std::uint32_t slot, std::uint32_t tail_bytes, std::int64_t stamp_ns) noexcept {
  if (changed_.load(std::memory_order_acquire)) [[unlikely]]
    adopt();
  if (muted_.load(std::memory_order_relaxed)) [[unlikely]] {
    give_back(slot);
    horus::detail::count(failures_);
    return false;
  }
  horus::detail::count(published_);
  horus::detail::count(bytes_, std::uint64_t{layout_.head_bytes} + tail_bytes);
  const Entry entry{slot, tail_bytes, stamp_ns};
  bool all = true;
  bool some_closed = false;
  for (const auto& link : links_) {
    if (link->subscriber_closed()) [[unlikely]] {
      some_closed = true;
      continue;
    }
    std::uint32_t victim = SlotPool::kNone;
    switch (link->push(entry, victim)) {
      case Outlet::Outcome::refused: all = false; continue;
      case Outlet::Outcome::overwrote: pool_.drop_user(victim); break;
      case Outlet::Outcome::queued: break;
    }
    pool_.add_user(slot);
    link->notify();
  }
  give_back(slot);
  if (!all) horus::detail::count(failures_);
  if (collect_always_ || some_closed || published_.load(std::memory_order_relaxed) % kCollectEvery == 0)
    collect();
  return all;
}

void Outbox::check_size(std::size_t tail_bytes) const {
  if (tail_bytes <= max_tail_bytes_) return;
  throw Error(EMSGSIZE, "send",
              fmt::format("{} ({} bytes; at most {}: AdvertiseOptions::max_bytes)", topic_,
                          layout_.tail_offset + tail_bytes, layout_.tail_offset + max_tail_bytes_));
}

bool Outbox::send_here(const void* head, const void* tail, std::size_t tail_bytes) noexcept {
  const std::uint32_t slot = take_slot();
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
    return send_here(head, tail, tail_bytes);
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
  metrics.bytes = bytes_.load(std::memory_order_relaxed);
  metrics.send_failures = failures_.load(std::memory_order_relaxed);
  metrics.subscribers = static_cast<std::uint32_t>(links_.size() + fresh_.size());
  for (const auto& link : links_) {
    const Outlet::Account account = link->account();
    metrics.sent += account.sent;
    metrics.delivered += account.delivered;
    metrics.dropped += account.dropped;
    metrics.queued += account.queued;
    metrics.in_flight += account.in_flight;
  }
  return metrics;
}

}  // namespace horus::msg
