// SPDX-License-Identifier: Apache-2.0
// What the frames of a session mean: whose publishers meet whose subscribers, and the account of each pair.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include <horus/io/reactor.hpp>
#include <horus/msg/format/packing.hpp>
#include <horus/msg/link/clock_offset.hpp>
#include <horus/msg/tcp/tcp_session.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr Duration kAskAgainAfter = std::chrono::seconds(2);  // for what was refused for want of room
constexpr std::size_t kRefusalsKept = 4096;

}  // namespace

/// Rung on the subscriber's thread; heard on the session's.
class TcpSession::TakenBell final : public Bell {
 public:
  TakenBell(std::weak_ptr<TcpSession> session, std::uint32_t channel) noexcept
      : reactor_(io::Reactor::current()),
        waker_(reactor_->waker()),
        session_(std::move(session)),
        channel_(channel) {}
  void ring() noexcept override {
    if (io::Reactor::current() == reactor_) return tell(session_, channel_);
    waker_->hand_over([session = session_, channel = channel_] { tell(session, channel); });
  }

 private:
  static void tell(const std::weak_ptr<TcpSession>& session, std::uint32_t channel) {
    if (const std::shared_ptr<TcpSession> alive = session.lock()) alive->tell_account(channel);
  }
  io::Reactor* reactor_;
  std::shared_ptr<io::Waker> waker_;
  std::weak_ptr<TcpSession> session_;  // locked on its own thread alone: the last owner ends it
  std::uint32_t channel_;
};

// --- This hub's ports -------------------------------------------------------------------------------------------------

void TcpSession::port_opened(const LocalPort& port) {
  if (!established_ || ending_) return;
  if (!joins(port.info)) return;
  if (port.info.direction == Direction::out) return announce(port);
  for (const auto& [id, publisher] : publishers_) {
    if (publisher.topic == port.info.topic && publisher.link == port.info.link) subscribe(publisher, port);
  }
}

// Links of two hubs of one process are joined there.
bool TcpSession::joins(const PortInfo& port) const {
  return !port.link || (port.peer == peer_.hub && !owner_.is_neighbour(peer_));
}

void TcpSession::announce(const LocalPort& port) {
  wire::Advertise frame;
  frame.publisher = port.info.id;
  frame.link = port.info.link;
  frame.max_bytes = port.max_bytes;
  frame.topic = port.info.topic;
  frame.layout = port.layout;
  wire::append(frames(), frame);
  send_control();
}

void TcpSession::port_closed(const PortInfo& port) {
  if (!established_ || ending_) return;
  if (port.direction == Direction::out) {
    if (!joins(port)) return;
    for (const auto& [number, channel] : sending_) {
      if (channel->publisher() == port.id) channel->finish();
    }
    wire::append(frames(), wire::Withdraw{port.id});
    return send_control();
  }
  for (auto entry = receiving_.begin(); entry != receiving_.end();) {
    const auto here = entry++;
    if (here->second->subscriber() != port.id) continue;
    wire::append(frames(), wire::FrameType::unsubscribe, here->first, here->second->last_account());
    forget_receiver(here->first);
    send_control();
  }
}

// Also asks when the types differ: then the other end refuses, and both know why.
void TcpSession::subscribe(const wire::Advertise& publisher, const LocalPort& subscriber) {
  if (publisher.max_bytes > options_.max_message_bytes) {
    return owner_.complain(
        *this, fmt::format("topic {}: hub {} announces messages of up to {} bytes; at most {} are taken: "
                           "TcpHubOptions::max_message_bytes",
                           publisher.topic, peer_.hub, publisher.max_bytes, options_.max_message_bytes));
  }
  if (receiving_.size() >= options_.max_ports || last_requested_ == UINT32_MAX) {
    return owner_.complain(*this, fmt::format("hub {}: more than {} channels: TcpHubOptions::max_ports",
                                              peer_.hub, options_.max_ports));
  }
  const std::uint32_t number = ++last_requested_;
  if (publisher.layout.hash == subscriber.layout.hash) {
    auto opened = ReceiveChannel::open(number, publisher, subscriber,
                                       std::make_shared<TakenBell>(weak_from_this(), number), inbound_);
    if (!opened) {
      if (opened.code() != EPIPE) owner_.complain(*this, opened.error().message());
      return;
    }
    receiving_.emplace(number, std::move(*opened));
  }
  wire::Subscribe frame;
  frame.publisher = publisher.publisher;
  frame.depth = subscriber.info.subscribe.depth;
  frame.overflow = subscriber.info.subscribe.overflow;
  frame.layout = subscriber.layout;
  wire::append(frames(), number, frame);
  send_control();
}

// --- The other end's frames -------------------------------------------------------------------------------------------

Result<> TcpSession::handle(const wire::Header& header, wire::Bytes payload) {
  switch (header.type) {
    case wire::FrameType::advertise: return on_advertise(payload);
    case wire::FrameType::withdraw: {
      const auto frame = wire::decode_withdraw(payload);
      if (!frame) return frame.error();
      publishers_.erase(frame->publisher);
      std::erase_if(refused_, [&](const Refusal& one) { return one.publisher == frame->publisher; });
      return {};
    }
    case wire::FrameType::subscribe: return on_subscribe(header.channel, payload);
    case wire::FrameType::unsubscribe: return on_unsubscribe(header.channel, payload);
    case wire::FrameType::refuse: return on_refuse(header.channel, payload);
    case wire::FrameType::end: return on_end(header.channel, payload);
    case wire::FrameType::account: return on_account(header.channel, payload);
    case wire::FrameType::loss: return on_loss(header.channel, payload);
    case wire::FrameType::state: return on_state(header.channel, payload);
    case wire::FrameType::started: return on_started(header.channel, payload);
    case wire::FrameType::goodbye: {
      const auto frame = wire::decode_reason(payload);
      if (!frame) return frame.error();
      return Error(ECONNABORTED, "stay connected to", fmt::format("{} (it said: {})", name_, frame->text));
    }
    case wire::FrameType::data:
    case wire::FrameType::heartbeat: return {};
  }
  return {};  // a later version's
}

Result<> TcpSession::on_advertise(wire::Bytes payload) {
  auto frame = wire::decode_advertise(payload);
  if (!frame) return frame.error();
  if (publishers_.size() >= options_.max_ports) {
    owner_.complain(*this, fmt::format("hub {} has more than {} publishers, the rest is not connected: "
                                       "TcpHubOptions::max_ports",
                                       peer_.hub, options_.max_ports));
    return {};
  }
  // What describes the type is the peer's to say, when it refuses us; a hash is enough to ask.
  std::string().swap(frame->layout.name);  // with its memory
  std::string().swap(frame->layout.fields);
  const auto [entry, fresh] = publishers_.emplace(frame->publisher, std::move(*frame));
  if (!fresh) return malformed("(a publisher that was announced twice)");
  const wire::Advertise& publisher = entry->second;
  for (const auto& [id, port] : owner_.ports()) {
    if (port.info.direction == Direction::in && port.info.topic == publisher.topic &&
        port.info.link == publisher.link && joins(port.info))
      subscribe(publisher, port);
  }
  return {};
}

Result<> TcpSession::on_subscribe(std::uint32_t channel, wire::Bytes payload) {
  const auto frame = wire::decode_subscribe(payload);
  if (!frame) return frame.error();
  if (channel <= last_served_) return malformed("(a channel that was asked for twice)");
  last_served_ = channel;
  if (sending_.size() >= options_.max_ports)
    return malformed(fmt::format("(more than {} channels: TcpHubOptions::max_ports)", options_.max_ports));
  const auto found = owner_.ports().find(frame->publisher);
  const LocalPort* port = found == owner_.ports().end() ? nullptr : &found->second;
  if (port == nullptr || port->info.direction != Direction::out || !joins(port->info)) {
    refuse(channel, {});  // it closed meanwhile
    return {};
  }
  if (port->layout.hash != frame->layout.hash) {
    std::string why =
        fmt::format("topic {}: hub {} publishes {}; hub {} subscribes to {}: not connected", port->info.topic,
                    self_.hub, port->layout.describe(), peer_.hub, frame->layout.describe());
    owner_.complain(*this, why);
    refuse(channel, std::move(why));
    return {};
  }
  // One subscriber may have all that there is; a second one of the same hub leaves something to others.
  std::uint64_t reserved = 0;
  for (const auto& [number, other] : sending_)
    reserved += other->publisher() == frame->publisher ? other->reserved() : 0;
  if (reserved > 0 && reserved + frame->depth > std::uint64_t{port->info.advertise.max_queued} * 3 / 4) {
    refuse(channel,
           fmt::format("topic {}: hub {} has {} of {} messages reserved already, and would have more than "
                       "its share; raise AdvertiseOptions::max_queued",
                       port->info.topic, peer_.hub, reserved, port->info.advertise.max_queued));
    return {};
  }
  auto opened = SendChannel::open(channel, *port, *frame);
  if (!opened) {
    if (opened.code() != ENOENT) owner_.complain(*this, opened.error().message());
    refuse(channel, opened.code() == ENOENT ? std::string() : opened.error().message());
    return {};
  }
  const std::shared_ptr<SendChannel> sender = sending_.emplace(channel, std::move(*opened)).first->second;
  if ((peer_.features & wire::kTellsState) != 0) {
    if (!watching_states_) static_cast<void>(scope_.spawn(watch_states(), "states of publishers"));
  }
  static_cast<void>(scope_.spawn(SendChannel::run(sender, shared_from_this()), "tcp " + port->info.topic));
  return {};
}

void TcpSession::tell_beginning(SendChannel& channel) {
  if ((peer_.features & wire::kTellsState) == 0) return;
  wire::append(frames(), channel.number(), wire::Started{channel.started()});
  tell_state(channel);
  send_control();
}

void TcpSession::tell_state(SendChannel& channel) {
  std::uint32_t word = 0;
  if ((peer_.features & wire::kTellsState) == 0 || !channel.news_of_state(word)) return;
  wire::append(frames(), channel.number(), wire::State{word});
  send_control();
}

void TcpSession::refuse(std::uint32_t channel, std::string why) {
  wire::Reason reason;
  reason.text = std::move(why);
  wire::append(frames(), wire::FrameType::refuse, channel, reason);
  send_control();
}

Result<> TcpSession::on_refuse(std::uint32_t channel, wire::Bytes payload) {
  const auto frame = wire::decode_reason(payload);
  if (!frame) return frame.error();
  const auto known = receiver(channel);
  if (!known) return known.error();
  if (*known != nullptr && !frame->text.empty() && refused_.size() < kRefusalsKept) {
    refused_.push_back(
        {(*known)->publisher(), (*known)->subscriber(), now_ns() + kAskAgainAfter.count(), frame->text});
  }
  forget_receiver(channel);
  if (!frame->text.empty()) owner_.complain(*this, frame->text);
  return {};
}

// The types agree, so that it was room that was missing.
void TcpSession::ask_again(std::int64_t now_ns) {
  std::vector<Refusal> due;
  std::erase_if(refused_, [&](Refusal& one) {
    if (one.again_ns > now_ns) return false;
    due.push_back(std::move(one));
    return true;
  });
  for (const Refusal& one : due) {
    owner_.withdraw_complaint(*this, one.problem);  // it comes back when nothing has changed
    const auto publisher = publishers_.find(one.publisher);
    const auto port = owner_.ports().find(one.subscriber);
    if (publisher != publishers_.end() && port != owner_.ports().end())
      subscribe(publisher->second, port->second);
  }
}

// --- Across connections -----------------------------------------------------------------------------------------------

PairOfPorts TcpSession::pair_of(const ReceiveChannel& channel) const {
  return {peer_.instance, channel.publisher(), channel.subscriber()};
}

std::optional<std::uint64_t> TcpSession::seen_here(const PairOfPorts& pair) const {
  for (const auto& [number, channel] : receiving_) {
    if (pair_of(*channel) == pair && channel->seen()) return channel->seen();
  }
  return std::nullopt;
}

void TcpSession::remember(const ReceiveChannel& channel) {
  if (const auto seen = channel.seen()) owner_.remember_seen(pair_of(channel), seen);
}

Result<> TcpSession::on_started(std::uint32_t channel, wire::Bytes payload) {
  const auto frame = wire::decode_started(payload);
  if (!frame) return frame.error();
  const auto known = receiver(channel);
  if (!known) return known.error();
  if (*known == nullptr) return {};
  const auto before = owner_.seen_of(pair_of(**known));
  (*known)->begin_at(frame->published, before.value_or(frame->published));
  return {};
}

Result<> TcpSession::on_state(std::uint32_t channel, wire::Bytes payload) {
  const auto frame = wire::decode_state(payload);
  if (!frame) return frame.error();
  const auto known = receiver(channel);
  if (!known) return known.error();
  if (*known != nullptr) (*known)->set_state(frame->word);
  return {};
}

// Where much was queued once, and nothing is now.
void TcpSession::trim_memory() {
  constexpr std::size_t kWorthIt = std::size_t{1} << 20;
  if (inbound_->used() < kWorthIt) return;
  for (const auto& [number, channel] : receiving_) channel->trim();
}

Result<> TcpSession::on_unsubscribe(std::uint32_t channel, wire::Bytes payload) {
  const auto frame = wire::decode_account(payload);
  if (!frame) return frame.error();
  if (channel > last_served_) return malformed("(a channel that there never was)");
  const auto found = sending_.find(channel);
  if (found == sending_.end()) return {};
  Result<> settled = found->second->settle(*frame);
  found->second->close();
  sending_.erase(found);
  drained_.set();
  return settled;
}

Result<> TcpSession::on_account(std::uint32_t channel, wire::Bytes payload) {
  const auto frame = wire::decode_account(payload);
  if (!frame) return frame.error();
  if (channel > last_served_) return malformed("(a channel that there never was)");
  const auto found = sending_.find(channel);
  return found == sending_.end() ? Result<>() : found->second->settle(*frame);
}

Result<> TcpSession::on_loss(std::uint32_t channel, wire::Bytes payload) {
  const auto frame = wire::decode_loss(payload);
  if (!frame) return frame.error();
  const auto known = receiver(channel);
  if (!known) return known.error();
  return *known == nullptr ? Result<>() : (*known)->count_lost(frame->lost);
}

Result<> TcpSession::on_end(std::uint32_t channel, wire::Bytes payload) {
  Result<> counted = on_loss(channel, payload);
  if (const auto known = receiver(channel); known && *known != nullptr)
    owner_.remember_seen(pair_of(**known), std::nullopt);  // it has ended for good
  if (counted) forget_receiver(channel);
  return counted;
}

// --- Channels ---------------------------------------------------------------------------------------------------------

Result<std::shared_ptr<ReceiveChannel>> TcpSession::receiver(std::uint32_t channel) const {
  if (channel == 0 || channel > last_requested_) return malformed("(a channel that nobody asked for)");
  const auto found = receiving_.find(channel);
  return found == receiving_.end() ? nullptr : found->second;
}

// Numbers are given in turn: so many channels in a row have a place each.
Result<ReceiveChannel*> TcpSession::receiver_now(std::uint32_t channel) {
  ReceiveChannel*& near = near_[channel % near_.size()];
  if (near != nullptr && near->number() == channel) [[likely]]
    return near;
  const auto known = receiver(channel);
  if (!known) return known.error();
  if (*known != nullptr) near = known->get();
  return known->get();
}

void TcpSession::note_arrival(ReceiveChannel& channel) {
  if (!std::exchange(channel.due, true)) due_.push_back(channel.number());
  if (channel.owes_account()) control_due_.set();
}

// Out of the map before it dies: a subscriber that takes the rest tells us, and is looked up there.
void TcpSession::forget_receiver(std::uint32_t channel) {
  ReceiveChannel*& near = near_[channel % near_.size()];
  if (near != nullptr && near->number() == channel) near = nullptr;
  auto entry = receiving_.extract(channel);
  if (!entry.empty() && channel == reading_) orphan_ = std::move(entry.mapped());
}

// The same machine reads the same clock, or one that is so far from it. 0: not known.
std::int64_t TcpSession::stamp_here(std::int64_t stamp_ns) const noexcept {
  if (!same_machine_ || stamp_ns <= 0) return 0;
  return std::max<std::int64_t>(shifted(stamp_ns, clock_shift_, 1), 0);
}

void TcpSession::tell_account(std::uint32_t channel) {
  const auto found = receiving_.find(channel);
  if (found == receiving_.end()) return;
  if (!std::exchange(found->second->due, true)) due_.push_back(channel);
  control_due_.set();
}

void TcpSession::append_accounts() {
  for (const std::uint32_t number : std::exchange(due_, {})) {
    const auto found = receiving_.find(number);
    if (found == receiving_.end()) continue;
    found->second->due = false;
    const wire::Account account = found->second->account();
    wire::Account& told = found->second->told;
    if (account.arrived == told.arrived && account.delivered == told.delivered &&
        account.dropped == told.dropped)
      continue;
    told = account;
    wire::append(frames(), wire::FrameType::account, number, account);
  }
}

void TcpSession::channel_ended(const SendChannel& channel) {
  wire::append(frames(), wire::FrameType::end, channel.number(), wire::Loss{channel.lost()});
  send_control();
  sending_.erase(channel.number());
  drained_.set();
}

Task<> TcpSession::drained() {
  while (!ending_ && std::any_of(sending_.begin(), sending_.end(),
                                 [](const auto& entry) { return entry.second->finishing(); })) {
    drained_.reset();
    co_await drained_.wait();
  }
}

void TcpSession::end_channels() noexcept {
  for (const auto& [number, channel] : sending_) channel->close();
  drained_.set();
}

}  // namespace horus::HORUS_ABI::msg
