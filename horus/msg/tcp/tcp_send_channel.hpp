// SPDX-License-Identifier: Apache-2.0
// One local publisher to one subscriber of another process: takes messages as a subscriber would, writes them from the
// very slots, and keeps the account. The transport's thread. Internal.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <horus/base/result.hpp>
#include <horus/msg/link/inbox.hpp>
#include <horus/msg/link/outbox.hpp>
#include <horus/msg/session/port.hpp>
#include <horus/msg/tcp/wire.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::msg {

class TcpSession;

/// A port of this process as a transport remembers it.
struct LocalPort {
  PortInfo info;
  Layout layout;
  std::uint64_t max_bytes = 0;   // of one message, for Direction::out
  std::weak_ptr<Outbox> outbox;  // one of the two
  std::weak_ptr<Inbox> inbox;
};

/// How much may be under way:
/// - drop_oldest, latest: as many messages as the subscriber's queue holds (at least two) that have not arrived there. Its
///   own queue then drops by its policy, so that what is read is fresh.
/// - drop_newest: as many as its queue holds that have not been taken from it. The queue here fills up, and `send` tells.
class SendChannel {
 public:
  /// Errors: those of connect_here.
  static Result<std::shared_ptr<SendChannel>> open(std::uint32_t number, const LocalPort& publisher,
                                                   const wire::Subscribe& wanted);
  SendChannel(std::uint32_t number, const LocalPort& publisher, const wire::Subscribe& wanted);
  SendChannel(const SendChannel&) = delete;
  SendChannel& operator=(const SendChannel&) = delete;
  ~SendChannel();

  /// Sends what comes until the channel is closed, the publisher is gone and everything was sent, or the session ends.
  static Task<> run(std::shared_ptr<SendChannel> self, std::shared_ptr<TcpSession> session);
  /// What the other end tells. Errors: kBadInput when it cannot be.
  Result<> settle(const wire::Account& account);
  /// The publisher is gone: what it left is still sent.
  void finish() noexcept;
  /// The subscriber is gone, or the connection: what was under way is lost.
  void close() noexcept;

  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
  [[nodiscard]] std::uint64_t publisher() const noexcept { return publisher_; }
  [[nodiscard]] bool finishing() const noexcept { return finishing_; }
  [[nodiscard]] std::uint64_t lost() const noexcept { return inbox_->missed(); }
  /// True when the publisher's state is another than the other end was told last; `word` gets it.
  bool news_of_state(std::uint32_t& word) noexcept;
  /// Messages that the publisher had sent when this began.
  [[nodiscard]] std::uint64_t started() const noexcept { return started_; }
  /// Slots of the publisher that it may keep.
  [[nodiscard]] std::uint32_t reserved() const noexcept;
  /// Gives `lost` the messages that were lost before they could be sent. True when the other end does not know yet.
  bool news_of_loss(std::uint64_t& lost) noexcept;

 private:
  struct NextMessage;

  [[nodiscard]] std::uint32_t room() const noexcept;
  void interrupt() noexcept;
  [[nodiscard]] wire::DataPrefix next_prefix(std::int64_t stamp_ns) const noexcept;
  void append(TcpSession& session, const Arrival& message);
  bool pass(TcpSession& session, const std::byte* message, std::int64_t stamp_ns) noexcept;

  const std::uint32_t number_;
  const std::uint64_t publisher_;
  const std::uint32_t window_;
  const bool by_credit_;
  const std::uint32_t head_bytes_;   // of a message without a tail
  const std::uint32_t tail_offset_;  // 0 with head_bytes_ alone
  const bool has_tail_;
  std::shared_ptr<Inbox> inbox_;
  std::shared_ptr<FarEnd> far_end_;
  std::uint64_t sent_ = 0;
  wire::Account account_;  // as the other end told last
  std::uint64_t lost_told_ = 0;
  std::weak_ptr<Outbox> outbox_;
  std::shared_ptr<const SlotTable> slots_;  // which has the publisher's state
  std::uint64_t started_ = 0;
  std::uint32_t word_told_ = 0;  // live, as a channel begins
  NextMessage* waiting_ = nullptr;
  Event changed_;
  bool finishing_ = false;
  bool closed_ = false;
};

}  // namespace horus::HORUS_ABI::msg
