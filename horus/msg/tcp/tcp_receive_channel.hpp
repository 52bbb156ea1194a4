// SPDX-License-Identifier: Apache-2.0
// One publisher of another process to one local subscriber: messages are received into slots of its own, from which the
// subscriber takes them. The transport's thread. Internal.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/msg/link/outbox.hpp>
#include <horus/msg/tcp/tcp_send_channel.hpp>
#include <horus/msg/tcp/wire.hpp>

namespace horus::HORUS_ABI::msg {

/// Memory that messages of a peer have taken here, with a limit, and what all peers of a hub have.
class InboundBudget {
 public:
  explicit InboundBudget(std::size_t limit, std::shared_ptr<InboundBudget> all = nullptr) noexcept
      : limit_(limit), all_(std::move(all)) {}
  bool take(std::size_t bytes) noexcept {
    if (bytes > limit_ - used_) sweep();
    if (bytes > limit_ - used_ || (all_ != nullptr && !all_->take(bytes))) return false;
    used_ += bytes;
    return true;
  }
  void give_back(std::size_t bytes) noexcept {
    used_ -= bytes;
    if (all_ != nullptr) all_->give_back(bytes);
  }
  /// A channel ends, and what nobody has taken yet stays in `memory`: it counts until that goes.
  void leave(const std::shared_ptr<const void>& memory, std::size_t bytes) {
    used_ -= bytes;
    if (all_ == nullptr || bytes == 0) return;
    all_->sweep();
    all_->left_.emplace_back(memory, bytes);
  }
  [[nodiscard]] std::size_t used() const noexcept { return used_; }

 private:
  void sweep() noexcept {
    std::erase_if(left_, [this](const auto& one) {
      if (!one.first.expired()) return false;
      used_ -= one.second;
      return true;
    });
  }

  const std::size_t limit_;
  const std::shared_ptr<InboundBudget> all_;
  std::size_t used_ = 0;
  std::vector<std::pair<std::weak_ptr<const void>, std::size_t>> left_;
};

class ReceiveChannel {
 public:
  /// `taken` is rung when the subscriber takes something after account() had found messages in its queue.
  /// Errors: those of Outbox::create and connect_here; EPIPE when the subscriber is gone.
  static Result<std::unique_ptr<ReceiveChannel>> open(std::uint32_t number, const wire::Advertise& publisher,
                                                      const LocalPort& subscriber,
                                                      std::shared_ptr<Bell> taken,
                                                      std::shared_ptr<InboundBudget> budget);

  ReceiveChannel(const ReceiveChannel&) = delete;
  ReceiveChannel& operator=(const ReceiveChannel&) = delete;
  ~ReceiveChannel() {
    abandon();
    budget_->leave(outbox_->pool().table(), resident_);
  }

  /// A message that is here already. Errors: those of begin().
  Result<> take(wire::Bytes message, const wire::DataPrefix& prefix, std::int64_t stamp_ns);
  /// A message of `size` bytes comes: where to write it; nowhere when there is no slot for it, and it is dropped.
  /// Errors: kBadInput for a size that the topic's messages cannot have, and numbers out of order.
  Result<std::byte*> begin(std::size_t size, const wire::DataPrefix& prefix);
  /// It has come whole.
  void finish(std::int64_t stamp_ns) noexcept;
  /// It will not come.
  void abandon() noexcept;
  /// Messages that the publisher's end lost. Errors: kBadInput when it takes some back.
  Result<> count_lost(std::uint64_t so_far);

  /// The publisher's state, as its process tells it: see PublisherWord.
  void set_state(std::uint32_t word) noexcept;
  /// The publisher had sent so many messages when the channel began; the subscriber knows of `seen` of them.
  void begin_at(std::uint64_t published, std::uint64_t seen) noexcept;
  /// Messages of the publisher that the subscriber knows of: they came, or it knows that they were lost. Nothing where
  /// the other end does not tell where it began.
  [[nodiscard]] std::optional<std::uint64_t> seen() const noexcept;
  /// When nothing is queued or held: memory that messages were in goes back. True when some did.
  bool trim() noexcept;

  /// What became of the messages so far.
  [[nodiscard]] wire::Account account() noexcept;
  /// The same when the subscriber is gone: what it has not taken is lost.
  [[nodiscard]] wire::Account last_account() const;

  /// So much has come since the other end was told last that it may be waiting to hear of it.
  [[nodiscard]] bool owes_account() const noexcept { return arrived_ - told.arrived >= often_; }

  /// So many messages, at most.
  [[nodiscard]] std::uint32_t often() const noexcept { return often_; }

  [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
  [[nodiscard]] std::uint64_t publisher() const noexcept { return publisher_; }
  [[nodiscard]] std::uint64_t subscriber() const noexcept { return subscriber_; }

  wire::Account told;  ///< the account that the other end knows
  bool due = false;    ///< it is among those that are to be told

 private:
  ReceiveChannel(std::uint32_t number, std::uint64_t publisher, std::uint64_t subscriber,
                 std::shared_ptr<Outbox> outbox, std::size_t most, std::uint32_t often,
                 std::shared_ptr<InboundBudget> budget)
      : number_(number),
        often_(often),
        publisher_(publisher),
        subscriber_(subscriber),
        most_(most),
        outbox_(std::move(outbox)),
        budget_(std::move(budget)),
        touched_(outbox_->pool().slots()) {}
  [[nodiscard]] wire::Account count() const;
  bool afford(std::size_t size) noexcept;
  Result<> check(std::size_t size, const wire::DataPrefix& prefix);

  const std::uint32_t number_;
  const std::uint32_t often_;  // messages between accounts, at most, while more of them come
  const std::uint64_t publisher_;
  const std::uint64_t subscriber_;
  const std::size_t most_;  // bytes of a message
  std::shared_ptr<Outbox> outbox_;
  const std::shared_ptr<InboundBudget> budget_;
  std::vector<std::uint32_t> touched_;  // bytes of each slot that messages were written to
  std::size_t resident_ = 0;            // all of them
  std::uint32_t word_ = 0;              // the publisher's state as it was told
  std::optional<std::uint64_t> started_;
  std::uint64_t gap_ = 0;  // lost between two connections
  std::uint64_t arrived_ = 0;
  std::uint64_t lost_before_ = 0;  // by the publisher's end; the outbox counts them as its own
  std::uint32_t slot_ = SlotPool::kNone;
  std::uint32_t tail_bytes_ = 0;
};

}  // namespace horus::HORUS_ABI::msg
