// SPDX-License-Identifier: Apache-2.0
// Publisher<T>: sends messages of one type to all subscribers of its topic. Made by a node or a hub.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/result.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/link/outbox.hpp>
#include <horus/msg/sample.hpp>
#include <horus/msg/session/port.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI {

/// Sends messages of type T.
///
/// Semantics: `send` copies the message once, whatever the number of subscribers, and never waits; `loan` and
/// `publish` copy nothing. When a subscriber has no room, its own overflow policy decides which message is dropped;
/// both ends count it. Messages of one publisher reach a subscriber in order. Sending without subscribers is no
/// failure; the message goes nowhere.
/// Errors: EMSGSIZE is thrown for a message larger than AdvertiseOptions::max_bytes.
/// Thread safety: the thread that made it, except that any thread may call `send`: from another thread the message
/// goes through the mailbox of the publisher's reactor. A publisher made on a thread without a reactor belongs to
/// that thread.
/// Example:
/// ```
/// auto imu = node.advertise<horus::messages::Imu>("imu");
/// imu.send(reading);
/// ```
template <Message T>
class Publisher {
 public:
  using Element = detail::TailElement<T>;

  Publisher() noexcept = default;
  explicit Publisher(std::shared_ptr<msg::Port> port) noexcept : port_(std::move(port)) {}

  /// Sends a copy. False when it was not queued everywhere: a subscriber with Overflow::drop_newest had no room, the
  /// machine had no memory for the message (a line in the log names the limit), or, from another thread, the mailbox
  /// was full.
  bool send(const T& message)
    requires(detail::kHasHead<T> && !detail::kHasTail<T>)
  {
    return outbox().send(&message, nullptr, 0);
  }
  /// Sends a copy of a head and its tail.
  bool send(const T& head, std::span<const Element> tail)
    requires(detail::kHasHead<T> && detail::kHasTail<T>)
  {
    return outbox().send(&head, tail.data(), tail.size_bytes());
  }
  bool send(std::span<const Element> elements)
    requires(!detail::kHasHead<T> && !std::is_same_v<T, std::string>)
  {
    return outbox().send(nullptr, elements.data(), elements.size_bytes());
  }
  bool send(std::string_view text)
    requires std::is_same_v<T, std::string>
  {
    return outbox().send(nullptr, text.data(), text.size());
  }

  /// Memory for a message with `elements` in its tail, to be written in place. Errors: ENOBUFS when `max_loans` loans
  /// are out; EMSGSIZE; ENOSPC and ENOMEM, with the name of the limit, when the machine has no memory for it.
  Result<Loan<T>> loan(std::size_t elements = 0) {
    msg::Outbox& box = outbox();
    if (elements > box.max_tail_bytes() / sizeof(Element))
      return Error(EMSGSIZE, "loan", box.topic() + " (raise AdvertiseOptions::max_bytes)");
    const std::size_t head_bytes = std::max<std::size_t>(box.layout().head_bytes, box.layout().tail_offset);
    const std::uint32_t slot = box.loan(head_bytes + elements * sizeof(Element));
    if (slot == msg::SlotPool::kNone) return box.why_no_loan();
    return Loan<T>(box, slot, elements);
  }
  /// Sends the message written into a loan. False as for send().
  bool publish(Loan<T> loan) {
    msg::Outbox& box = outbox();
    const msg::Outbox* from = std::exchange(loan.outbox_, nullptr);
    HORUS_ASSERT(from == &box, "publish() of a loan that was published already, or is another publisher's");
    return box.publish(loan.slot_,
                       static_cast<std::uint32_t>(loan.elements_ * sizeof(Element)) * detail::kHasTail<T>);
  }

  /// Waits until every subscriber has room, then sends: nothing is lost. Errors: ETIMEDOUT after `timeout` (0: no
  /// limit), nothing was sent; ECANCELED; ENOSPC and ENOMEM when the machine has no memory for it; EAGAIN on another
  /// thread, when the publisher's thread accepts no more.
  Task<Result<>> send_wait(T message, Duration timeout = Duration::zero())
    requires(!detail::kHasHead<T> || !detail::kHasTail<T>)
  {
    const std::shared_ptr<msg::Outbox> box = outbox().shared_from_this();
    Publisher self(port_);
    auto room = box->wait_for_room();
    Result<> waited;
    if (timeout > Duration::zero()) {
      auto limited = with_timeout(timeout, std::move(room));
      waited = co_await limited;
    } else {
      waited = co_await room;
    }
    if (!waited) co_return waited.error().on("send", box->topic());
    bool sent = false;
    if constexpr (std::is_same_v<T, std::string>) {
      sent = self.send(std::string_view(message));
    } else {
      sent = self.send(message);
    }
    if (!sent && !box->owner().here())
      co_return Error(EAGAIN, "send",
                      box->topic() + " (the thread that made this publisher takes no more, or has ended)");
    if (!sent && box->lacks_memory()) co_return box->why_no_loan().on("send", box->topic());
    co_return Result<>();
  }

  /// True when every subscriber has room for one more message: the next send loses nothing.
  [[nodiscard]] bool has_room() { return outbox().has_room(); }
  /// Waits until has_room() would be true. Errors: ECANCELED.
  [[nodiscard]] Task<Result<>> room() { return outbox().wait_for_room(); }

  [[nodiscard]] const std::string& topic() const noexcept { return outbox().topic(); }
  /// Subscribers that are connected. Any thread.
  [[nodiscard]] std::uint32_t subscribers() const { return metrics().subscribers; }
  /// Any thread.
  [[nodiscard]] PublisherMetrics metrics() const { return outbox().metrics(); }
  explicit operator bool() const noexcept { return port_ != nullptr; }
  /// Closes the publisher now; subscribers still get queued messages.
  void reset() noexcept { port_.reset(); }

 private:
  [[nodiscard]] msg::Outbox& outbox() const noexcept {
    HORUS_ASSERT(port_ != nullptr, "a Publisher was used that nobody advertised (or that was reset)");
    return port_->outbox();
  }

  std::shared_ptr<msg::Port> port_;
};

}  // namespace horus::HORUS_ABI
