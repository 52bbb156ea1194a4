// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp_receive_channel.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/msg/packing.hpp>
#include <horus/msg/transport.hpp>

namespace horus::msg {
namespace {}  // namespace

Result<std::unique_ptr<ReceiveChannel>> ReceiveChannel::open(std::uint32_t /*number*/,
                                                             const wire::Advertise& publisher,
                                                             const LocalPort& subscriber,
                                                             std::shared_ptr<Bell> taken) {
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
  auto outbox = Outbox::create(publisher.topic, subscriber.layout, options, false);
  if (!outbox) return outbox.error();
  (*outbox)->watch_room(std::move(taken));
  auto connected = connect_here(**outbox, inbox);
  if (!connected) return connected.error();
  return std::unique_ptr<ReceiveChannel>(
      new ReceiveChannel(publisher.publisher, subscriber.info.id, std::move(*outbox), most));
}

Result<std::byte*> ReceiveChannel::begin(std::size_t size, const wire::DataPrefix& prefix) {
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
  if (auto counted = count_lost(prefix.lost); !counted) return counted.error();
  slot_ = outbox_->loan();
  if (slot_ == SlotPool::kNone) return nullptr;
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

wire::Account ReceiveChannel::count() const {
  const PublisherMetrics metrics = outbox_->metrics();
  wire::Account account;
  account.arrived = arrived_;
  account.delivered = std::min(metrics.delivered, arrived_);
  account.dropped =
      std::min(metrics.dropped - std::min(metrics.dropped, lost_before_), arrived_ - account.delivered);
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

}  // namespace horus::msg
