// SPDX-License-Identifier: Apache-2.0
// One publisher of another process to one local subscriber: messages are received into slots of its own, from which the
// subscriber takes them. The transport's thread. Internal.
#pragma once

#include <cstdint>
#include <memory>

#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/msg/outbox.hpp>
#include <horus/msg/tcp_send_channel.hpp>
#include <horus/msg/wire.hpp>

namespace horus::msg {

class ReceiveChannel {
 public:
  /// `taken` is rung when the subscriber takes something after account() had found messages in its queue.
  /// Errors: those of Outbox::create and connect_here; EPIPE when the subscriber is gone.
  static Result<std::unique_ptr<ReceiveChannel>> open(std::uint32_t number, const wire::Advertise& publisher,
                                                      const LocalPort& subscriber,
                                                      std::shared_ptr<Bell> taken);

  ReceiveChannel(const ReceiveChannel&) = delete;
  ReceiveChannel& operator=(const ReceiveChannel&) = delete;
  ~ReceiveChannel() { abandon(); }

  /// A message of `size` bytes comes: where to write it; nowhere when there is no slot for it, and it is dropped.
  /// Errors: kBadInput for a size that the topic's messages cannot have, and numbers out of order.
  Result<std::byte*> begin(std::size_t size, const wire::DataPrefix& prefix);
  /// It has come whole.
  void finish(std::int64_t stamp_ns) noexcept;
  /// It will not come.
  void abandon() noexcept;
  /// Messages that the publisher's end lost. Errors: kBadInput when it takes some back.
  Result<> count_lost(std::uint64_t so_far);

  /// What became of the messages so far.
  [[nodiscard]] wire::Account account() noexcept;
  /// The same when the subscriber is gone: what it has not taken is lost.
  [[nodiscard]] wire::Account last_account() const;

  [[nodiscard]] std::uint64_t publisher() const noexcept { return publisher_; }
  [[nodiscard]] std::uint64_t subscriber() const noexcept { return subscriber_; }

  wire::Account told;  ///< the account that the other end knows
  bool due = false;    ///< it is among those that are to be told

 private:
  ReceiveChannel(std::uint64_t publisher, std::uint64_t subscriber, std::shared_ptr<Outbox> outbox,
                 std::size_t most) noexcept
      : publisher_(publisher), subscriber_(subscriber), most_(most), outbox_(std::move(outbox)) {}
  [[nodiscard]] wire::Account count() const;

  const std::uint64_t publisher_;
  const std::uint64_t subscriber_;
  const std::size_t most_;  // bytes of a message
  std::shared_ptr<Outbox> outbox_;
  std::uint64_t arrived_ = 0;
  std::uint64_t lost_before_ = 0;  // by the publisher's end; the outbox counts them as its own
  std::uint32_t slot_ = SlotPool::kNone;
  std::uint32_t tail_bytes_ = 0;
};

}  // namespace horus::msg
