// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/tcp_send_channel.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include <horus/msg/session/transport.hpp>
#include <horus/msg/tcp/tcp_session.hpp>

namespace horus::msg {
namespace {

constexpr std::uint32_t kBatch = 8;        // messages per write: two parts each fill one scatter-gather entry
constexpr std::uint32_t kLeastWindow = 2;  // one that travels while another is accounted for

SubscribeOptions options_for(const wire::Subscribe& wanted) {
  return SubscribeOptions().with_depth(wanted.depth).with_overflow(wanted.overflow).with_max_held(kBatch);
}

}  // namespace

/// Messages that were taken and not yet given back.
struct SendChannel::Batch {
  Batch() = default;
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;
  ~Batch() { clear(); }
  void clear() noexcept {
    for (; count > 0; --count) messages[count - 1].give_back();
  }
  std::array<MessageStorage, kBatch> storage;  // of small messages
  std::array<Arrival, kBatch> messages;
  std::uint32_t count = 0;
};

/// Waits for a message, or to be interrupted.
struct SendChannel::NextMessage : Inbox::Waiting {
  NextMessage(SendChannel& channel, std::byte* room) noexcept
      : Waiting(kKind, *channel.inbox_, room), channel_(channel) {
    channel_.waiting_ = this;
  }
  ~NextMessage() { channel_.waiting_ = nullptr; }
  static constexpr void await_resume() noexcept {}

 private:
  static constexpr WaitKind kKind{.name = "a message to send", .cancel = &QueuedWaiter::cancel};
  SendChannel& channel_;
};

SendChannel::SendChannel(std::uint32_t number, const LocalPort& publisher, const wire::Subscribe& wanted)
    : number_(number),
      publisher_(publisher.info.id),
      window_(wanted.overflow == Overflow::latest ? kLeastWindow : std::max(wanted.depth, kLeastWindow)),
      by_credit_(wanted.overflow == Overflow::drop_newest),
      head_bytes_(publisher.layout.head_bytes),
      tail_offset_(publisher.layout.tail_offset),
      has_tail_(publisher.layout.element_bytes != 0),
      inbox_(std::make_shared<Inbox>(publisher.info.topic, publisher.layout, options_for(wanted))),
      far_end_(std::make_shared<FarEnd>()) {}

// A publisher that is silent is told that this subscriber has gone.
SendChannel::~SendChannel() {
  inbox_.reset();
  const std::shared_ptr<Outbox> outbox = outbox_.lock();
  if (outbox == nullptr || outbox->owner().waker == nullptr) return;
  outbox->owner().waker->hand_over([weak = outbox_] {
    if (const auto alive = weak.lock()) alive->look_after_links();
  });
}

Result<std::shared_ptr<SendChannel>> SendChannel::open(std::uint32_t number, const LocalPort& publisher,
                                                       const wire::Subscribe& wanted) {
  const std::shared_ptr<Outbox> outbox = publisher.outbox.lock();
  if (outbox == nullptr) return Error(ENOENT, "connect a subscriber", publisher.info.topic);
  auto channel = std::make_shared<SendChannel>(number, publisher, wanted);
  auto connected = connect_here(*outbox, channel->inbox_, channel->far_end_);
  if (!connected) return connected.error();
  channel->outbox_ = outbox;
  channel->started_ = outbox->metrics().published;
  return channel;
}

std::uint32_t SendChannel::reserved() const noexcept {
  const SubscribeOptions& options = inbox_->options();
  return (options.overflow == Overflow::latest ? 1 : options.depth) + options.max_held;
}

bool SendChannel::news_of_state(std::uint32_t& word) noexcept {
  const std::shared_ptr<Outbox> outbox = outbox_.lock();
  if (outbox == nullptr) return false;
  word = outbox->pool().table()->word().value();
  return std::exchange(word_told_, word) != word;
}

std::uint32_t SendChannel::room() const noexcept {
  const std::uint64_t settled = by_credit_ ? account_.delivered + account_.dropped : account_.arrived;
  const std::uint64_t most = by_credit_ ? inbox_->options().depth : window_;
  const std::uint64_t under_way = sent_ - settled;
  return under_way >= most ? 0 : static_cast<std::uint32_t>(most - under_way);
}

Task<> SendChannel::run(std::shared_ptr<SendChannel> self, std::shared_ptr<TcpSession> session) {
  SendChannel& channel = *self;
  Batch batch;
  // In front of the first message: where its numbers begin, and whether the publisher is mute.
  if ((session->peer().features & wire::kTellsState) != 0) {
    wire::Buffer beginning;
    std::uint32_t word = 0;
    wire::append(beginning, channel.number_, wire::Started{channel.started_});
    if (channel.news_of_state(word)) wire::append(beginning, channel.number_, wire::State{word});
    const std::array<io::Bytes, 1> parts{io::Bytes(beginning)};
    auto writing = session->write(parts);
    const Result<> written = co_await writing;
    if (!written) {
      session->fail(written.error());
      co_return;
    }
  }
  while (!channel.closed_ && !session->ending()) {
    const std::uint32_t room = std::min(channel.room(), kBatch);
    if (room == 0) {
      channel.changed_.reset();
      co_await channel.changed_.wait();
      continue;
    }
    int failure = 0;
    while (batch.count < room &&
           channel.inbox_->take(batch.messages[batch.count], failure, batch.storage[batch.count].bytes) &&
           failure == 0)
      ++batch.count;
    if (batch.count == 0) {
      if (channel.finishing_) break;
      NextMessage next(channel, batch.storage[0].bytes);
      co_await next;
      if (next.arrival.inlet == nullptr) continue;
      batch.messages[0] = std::exchange(next.arrival, {});
      batch.count = 1;
    }
    if (batch.messages[0].slot == SlotPool::kNone) {  // and so are all messages of this type
      channel.append(*session, batch);
      batch.clear();
      while (session->outbound_full() && !session->ending()) {
        auto moving = session->outbound_moves();
        co_await moving;
      }
      continue;
    }
    auto writing = channel.write(*session, batch);
    const Result<> written = co_await writing;
    if (!written) {
      session->fail(written.error());
      co_return;
    }
    batch.clear();
  }
  // The other end has it all before it hears that this was all.
  while (!channel.closed_ && !session->ending() && channel.account_.arrived < channel.sent_) {
    channel.changed_.reset();
    co_await channel.changed_.wait();
  }
  if (!channel.closed_ && !session->ending()) session->channel_ended(channel);
}

wire::DataPrefix SendChannel::next_prefix(const Arrival& message, std::uint64_t lost) noexcept {
  wire::DataPrefix prefix;
  prefix.number = sent_++;
  prefix.lost = lost;
  prefix.stamp_ns = std::max<std::int64_t>(message.stamp_ns, 0);
  return prefix;
}

void SendChannel::append(TcpSession& session, const Batch& batch) {
  lost_told_ = inbox_->missed();
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    const Arrival& message = batch.messages[i];
    const io::Bytes bytes(message.data, head_bytes_);
    const auto head = wire::data_head(number_, next_prefix(message, lost_told_), {message.data, head_bytes_});
    session.append(head, bytes);
  }
}

Task<Result<>> SendChannel::write(TcpSession& session, const Batch& batch) {
  std::array<std::array<std::byte, wire::kHeaderBytes + wire::kDataPrefixBytes>, kBatch> heads;
  std::array<io::Bytes, std::size_t{2} * kBatch> parts;
  const std::uint64_t lost = inbox_->missed();
  lost_told_ = lost;
  session.tell_state(*this);  // what comes after a silence counts at once
  for (std::uint32_t i = 0; i < batch.count; ++i) {
    const Arrival& message = batch.messages[i];
    const std::size_t size = has_tail_ ? std::size_t{tail_offset_} + message.tail_bytes : head_bytes_;
    heads[i] = wire::data_head(number_, next_prefix(message, lost), {message.data, size});
    parts[std::size_t{2} * i] = io::Bytes(heads[i]);
    parts[std::size_t{2} * i + 1] = io::Bytes(message.data, size);
  }
  auto writing = session.write(std::span<const io::Bytes>(parts).first(std::size_t{2} * batch.count));
  Result<> written = co_await writing;
  co_return written;
}

bool SendChannel::news_of_loss(std::uint64_t& lost) noexcept {
  lost = inbox_->missed();
  return std::exchange(lost_told_, lost) != lost;
}

Result<> SendChannel::settle(const wire::Account& account) {
  if (account.arrived > sent_ || account.arrived < account_.arrived ||
      account.delivered < account_.delivered || account.dropped < account_.dropped) {
    return Error(kBadInput, "read from a hub",
                 fmt::format("(an account of channel {} that cannot be: {} of {} messages arrived)", number_,
                             account.arrived, sent_));
  }
  account_ = account;
  far_end_->settle(account.delivered, account.dropped);
  changed_.set();
  return {};
}

void SendChannel::interrupt() noexcept {
  changed_.set();
  if (waiting_ != nullptr && waiting_->linked()) horus::detail::QueuedWaiter::cancel(*waiting_);
}

void SendChannel::finish() noexcept {
  finishing_ = true;
  interrupt();
}

void SendChannel::close() noexcept {
  closed_ = true;
  far_end_->lose();
  interrupt();
}

}  // namespace horus::msg
