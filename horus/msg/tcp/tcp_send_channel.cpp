// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/tcp_send_channel.hpp>

#include <algorithm>
#include <new>
#include <utility>

#include <fmt/format.h>

#include <horus/msg/session/transport.hpp>
#include <horus/msg/tcp/tcp_session.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::uint32_t kMostHeld = 8;     // slots that wait to be sent, or are being sent
constexpr std::size_t kCopied = 4096;      // bytes; a larger message is sent from its slot
constexpr std::uint32_t kLeastWindow = 2;  // one that travels while another is accounted for

SubscribeOptions options_for(const wire::Subscribe& wanted) {
  return SubscribeOptions().with_depth(wanted.depth).with_overflow(wanted.overflow).with_max_held(kMostHeld);
}

}  // namespace

/// Waits for a message, or to be interrupted. Small messages of this thread go on without a wake-up.
struct SendChannel::NextMessage final : Inbox::Waiting, Inbox::Onward {
  NextMessage(SendChannel& channel, TcpSession& session, std::byte* room) noexcept
      : Waiting(kKind, *channel.inbox_, room), channel_(channel), session_(session) {
    onward = this;
    channel_.waiting_ = this;
  }
  ~NextMessage() override { channel_.waiting_ = nullptr; }
  static constexpr void await_resume() noexcept {}
  bool pass(const std::byte* message, std::int64_t stamp_ns) noexcept override {
    return channel_.pass(session_, message, stamp_ns);
  }

 private:
  static constexpr WaitKind kKind{.name = "a message to send", .cancel = &QueuedWaiter::cancel};
  SendChannel& channel_;
  TcpSession& session_;
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
  channel->slots_ = outbox->pool().table();
  channel->started_ = outbox->metrics().published;
  return channel;
}

std::uint32_t SendChannel::reserved() const noexcept {
  const SubscribeOptions& options = inbox_->options();
  return (options.overflow == Overflow::latest ? 1 : options.depth) + options.max_held;
}

bool SendChannel::news_of_state(std::uint32_t& word) noexcept {
  word = slots_->word().value();
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
  MessageStorage storage;  // of a small message
  session->tell_beginning(channel);
  while (!channel.closed_ && !session->ending()) {
    if (channel.room() == 0) {
      channel.changed_.reset();
      co_await channel.changed_.wait();
      continue;
    }
    if (session->outbound_full()) {
      auto moving = session->outbound_moves();
      co_await moving;
      continue;
    }
    Arrival message;
    int failure = 0;
    if (!channel.inbox_->take(message, failure, storage.bytes)) {
      if (channel.finishing_) break;
      NextMessage next(channel, *session, storage.bytes);
      co_await next;
      message = std::exchange(next.arrival, {});
      if (message.inlet == nullptr) continue;
    } else if (failure != 0) {  // as many as may be held wait to be sent
      auto moving = session->outbound_moves();
      co_await moving;
      continue;
    }
    channel.append(*session, message);
  }
  // The other end has it all before it hears that this was all.
  while (!channel.closed_ && !session->ending() && channel.account_.arrived < channel.sent_) {
    channel.changed_.reset();
    co_await channel.changed_.wait();
  }
  if (!channel.closed_ && !session->ending()) session->channel_ended(channel);
}

wire::DataPrefix SendChannel::next_prefix(std::int64_t stamp_ns) const noexcept {
  wire::DataPrefix prefix;
  prefix.number = sent_;
  prefix.lost = lost_told_;
  prefix.stamp_ns = std::max<std::int64_t>(stamp_ns, 0);
  return prefix;
}

void SendChannel::append(TcpSession& session, const Arrival& message) {
  lost_told_ = inbox_->missed();
  if (message.slot == SlotPool::kNone) {
    session.append(number_, next_prefix(message.stamp_ns), {message.data, head_bytes_});
    ++sent_;
    return;
  }
  struct GivenBack {
    const Arrival* slot;
    ~GivenBack() {
      if (slot != nullptr) slot->give_back();
    }
  } given_back{&message};
  session.tell_state(*this);  // what comes after a silence counts at once
  const std::size_t size = has_tail_ ? std::size_t{tail_offset_} + message.tail_bytes : head_bytes_;
  if (size <= kCopied) {
    session.append(number_, next_prefix(message.stamp_ns), {message.data, size});
  } else {
    session.append_slot(number_, next_prefix(message.stamp_ns), {message.data, size}, message);
    given_back.slot = nullptr;
  }
  ++sent_;
}

// Called while run() waits: nothing is queued, and there is room. What was lost before this one is told already: run() took
// what had been queued with it.
bool SendChannel::pass(TcpSession& session, const std::byte* message, std::int64_t stamp_ns) noexcept {
  try {
    session.append(number_, next_prefix(stamp_ns), {message, head_bytes_});
  } catch (const std::bad_alloc&) {
    return false;
  }
  ++sent_;
  if (room() == 0 || session.outbound_full()) interrupt();
  return true;
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
  changed_.set();  // first: then run() waits again when the publisher goes on, and its messages need no queue
  far_end_->settle(account.delivered, account.dropped);
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

}  // namespace horus::HORUS_ABI::msg
