// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/tcp_receive_channel.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include <horus/msg/format/packing.hpp>
#include <horus/msg/session/transport.hpp>

namespace horus::HORUS_ABI::msg {

Result<std::unique_ptr<ReceiveChannel>> ReceiveChannel::open(std::uint32_t number,
                                                             const wire::Advertise& publisher,
                                                             const LocalPort& subscriber,
                                                             std::shared_ptr<Bell> taken,
                                                             std::shared_ptr<InboundBudget> budget) {
  const std::shared_ptr<Inbox> inbox = subscriber.inbox.lock();
  if (inbox == nullptr) return Error(EPIPE, "subscribe", publisher.topic);
  const bool has_tail = subscriber.layout.element_bytes != 0;
  const std::size_t most =
      has_tail ? static_cast<std::size_t>(publisher.max_bytes) : subscriber.layout.head_bytes;
  if (has_tail && most < subscriber.layout.tail_offset) return malformed("(a topic of impossible size)");
  const std::uint32_t queued = (inbox->options().overflow == Overflow::latest ? 1 : inbox->options().depth) +
                               inbox->options().max_held;
  const AdvertiseOptions options =
      AdvertiseOptions().with_max_bytes(has_tail ? most : 0).with_max_queued(queued).with_max_loans(1);
  auto outbox = Outbox::create(publisher.topic, subscriber.layout, options);
  if (!outbox) return outbox.error();
  (*outbox)->watch_room(std::move(taken));
  auto connected = connect_here(**outbox, inbox);
  if (!connected) return connected.error();
  const std::uint32_t often = std::max<std::uint32_t>(inbox->options().depth / 2, 1);
  return std::unique_ptr<ReceiveChannel>(new ReceiveChannel(
      number, publisher.publisher, subscriber.info.id, std::move(*outbox), most, often, std::move(budget)));
}

Result<> ReceiveChannel::check(std::size_t size, const wire::DataPrefix& prefix) {
  const Layout& layout = outbox_->layout();
  const bool fits = layout.element_bytes == 0 ? size == layout.head_bytes
                                              : size >= layout.tail_offset && size <= most_ &&
                                                    (size - layout.tail_offset) % layout.element_bytes == 0;
  if (!fits) {
    return malformed(fmt::format("(topic {}: a message of {} bytes; it announced {} of at most {})",
                                 outbox_->topic(), size, layout.describe(), most_));
  }
  if (prefix.number != arrived_)
    return malformed(fmt::format("(topic {}: message {} came after {} others)", outbox_->topic(),
                                 prefix.number, arrived_));
  return count_lost(prefix.lost);
}

Result<> ReceiveChannel::take(wire::Bytes message, const wire::DataPrefix& prefix, std::int64_t stamp_ns) {
  if (outbox_->is_inline()) {
    if (auto checked = check(message.size(), prefix); !checked) return checked;
    ++arrived_;
    outbox_->forward_copy(message.data(), stamp_ns);
    return {};
  }
  const Result<std::byte*> slot = begin(message.size(), prefix);
  if (!slot) return slot.error();
  if (*slot != nullptr) std::memcpy(*slot, message.data(), message.size());
  finish(stamp_ns);
  return {};
}

Result<std::byte*> ReceiveChannel::begin(std::size_t size, const wire::DataPrefix& prefix) {
  if (auto checked = check(size, prefix); !checked) return checked.error();
  slot_ = outbox_->loan(size);
  if (slot_ == SlotPool::kNone) return nullptr;
  // Slots that were written before are the first to be used again: only what is larger takes more memory.
  if (size > touched_[slot_]) {
    if (!afford(size)) {
      // Those that came back from the subscriber have their memory already.
      outbox_->give_back(std::exchange(slot_, SlotPool::kNone));
      outbox_->look_after_links();
      slot_ = outbox_->loan(size);
      if (slot_ == SlotPool::kNone) return nullptr;
      if (size > touched_[slot_] && !afford(size)) {
        outbox_->give_back(std::exchange(slot_, SlotPool::kNone));
        return nullptr;
      }
    }
  }
  const Layout& layout = outbox_->layout();
  tail_bytes_ = layout.element_bytes == 0 ? 0 : static_cast<std::uint32_t>(size - layout.tail_offset);
  return outbox_->data(slot_);
}

void ReceiveChannel::finish(std::int64_t stamp_ns) noexcept {
  ++arrived_;
  const std::uint32_t slot = std::exchange(slot_, SlotPool::kNone);
  if (slot == SlotPool::kNone) {
    outbox_->count_lost(1);
  } else {
    static_cast<void>(outbox_->forward(slot, tail_bytes_, stamp_ns));
  }
}

void ReceiveChannel::abandon() noexcept {
  if (slot_ != SlotPool::kNone) outbox_->give_back(std::exchange(slot_, SlotPool::kNone));
}

Result<> ReceiveChannel::count_lost(std::uint64_t so_far) {
  if (so_far < lost_before_) return malformed("(lost messages that came back)");
  const std::uint64_t news = so_far - std::exchange(lost_before_, so_far);
  if (news > 0) outbox_->count_lost(news);
  return {};
}

bool ReceiveChannel::afford(std::size_t size) noexcept {
  const std::size_t more = size - touched_[slot_];
  if (!budget_->take(more)) return false;
  touched_[slot_] = static_cast<std::uint32_t>(size);
  resident_ += more;
  return true;
}

void ReceiveChannel::set_state(std::uint32_t word) noexcept {
  if (std::exchange(word_, word) == word) return;
  const PublisherWord here = outbox_->pool().table()->word();
  // Live again, it has been mute meanwhile: what came before is stale.
  if (PublisherWord::is_live(word)) {
    here.set(PublisherState::muted);
    return here.set(PublisherState::live);
  }
  here.set((word & 3U) == static_cast<std::uint32_t>(PublisherState::muted) ? PublisherState::muted
                                                                            : PublisherState::emergency);
}

void ReceiveChannel::begin_at(std::uint64_t published, std::uint64_t seen) noexcept {
  if (started_) return;
  started_ = published;
  if (published <= seen) return;
  gap_ = published - seen;
  outbox_->count_lost(gap_);
}

std::optional<std::uint64_t> ReceiveChannel::seen() const noexcept {
  if (!started_) return std::nullopt;
  return *started_ + arrived_ + lost_before_;
}

bool ReceiveChannel::trim() noexcept {
  if (resident_ == 0 || slot_ != SlotPool::kNone) return false;
  outbox_->look_after_links();
  if (!outbox_->forget_pages()) return false;
  std::fill(touched_.begin(), touched_.end(), 0);
  budget_->give_back(std::exchange(resident_, 0));
  return true;
}

wire::Account ReceiveChannel::count() const {
  const PublisherMetrics metrics = outbox_->metrics();
  wire::Account account;
  account.arrived = arrived_;
  account.delivered = std::min(metrics.delivered, arrived_);
  const std::uint64_t before = lost_before_ + gap_;
  account.dropped =
      std::min(metrics.dropped - std::min(metrics.dropped, before), arrived_ - account.delivered);
  return account;
}

wire::Account ReceiveChannel::account() noexcept {
  const wire::Account now = count();
  if (now.delivered + now.dropped == now.arrived) return now;
  outbox_->ask_for_room();
  return count();  // it may have taken something before it could know that we ask
}

wire::Account ReceiveChannel::last_account() const {
  wire::Account account = count();
  account.dropped = account.arrived - account.delivered;
  return account;
}

}  // namespace horus::HORUS_ABI::msg
