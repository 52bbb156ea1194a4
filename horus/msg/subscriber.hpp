// SPDX-License-Identifier: Apache-2.0
// Subscriber<T>: receives the messages of a topic, awaited or polled. Made by a node or a hub.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <horus/base/assert.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/link/inbox.hpp>
#include <horus/msg/link/latest.hpp>
#include <horus/msg/sample.hpp>
#include <horus/msg/session/port.hpp>

namespace horus::HORUS_ABI {

namespace detail {

template <Message T>
std::byte* room_of(MessageRoom<T>& room) noexcept {
  if constexpr (kTravelsInline<T>) {
    return room.bytes;
  } else {
    return nullptr;
  }
}

template <Message T>
struct RecvAwaiter : msg::Inbox::Waiting {
  explicit RecvAwaiter(msg::Inbox& inbox) noexcept : Waiting(kKind, inbox, room_of<T>(own_)) {}
  Result<Sample<T>> await_resume() {
    if (arrival.inlet != nullptr && !inbox_.is_held()) [[likely]] {
      Result<Sample<T>> taken(std::in_place, arrival);
      arrival.inlet = nullptr;  // it is the sample's
      return taken;
    }
    if (failure == EPIPE)
      return Error(
          failure, "recv",
          inbox_.topic() + " (its Subscriber was reset, replaced or destroyed while this task waited)");
    if (failure != 0)
      return Error(failure, "recv", inbox_.topic() + " (too many samples are held; copy what you keep)");
    return Error(ECANCELED, "recv", inbox_.topic());
  }

 private:
  static void describe(const Waiter& waiter, std::string& line) {
    line += " of " + static_cast<const RecvAwaiter&>(waiter).inbox_.topic();
  }
  static constexpr WaitKind kKind{
      .name = "a message", .cancel = &QueuedWaiter::cancel, .describe = &describe};
  [[no_unique_address]] MessageRoom<T> own_;
};

}  // namespace detail

/// Receives messages of type T from every publisher of its topic.
///
/// Semantics: the subscriber has a queue for each publisher, of `depth` messages and with an overflow policy.
/// Messages of one publisher arrive in order, and publishers take turns. `missed()` counts losses. Queued messages
/// are still delivered after their publisher has gone.
/// Thread safety: the thread that made it. Awaiting needs a reactor there; polling does not.
/// Example:
/// ```
/// auto imu = node.subscribe<horus::messages::Imu>("imu");
/// auto reading = (co_await imu.recv()).or_throw();
/// use(reading->angular_velocity);
/// ```
template <Message T>
class Subscriber {
 public:
  Subscriber() noexcept = default;
  explicit Subscriber(std::shared_ptr<msg::Port> port) noexcept : port_(std::move(port)) {}

  /// Waits for the next message. Errors: ECANCELED; ENOBUFS while `max_held` samples of that publisher are held; EPIPE when
  /// this Subscriber is reset, replaced or destroyed meanwhile.
  [[nodiscard("co_await it")]] detail::RecvAwaiter<T> recv() { return detail::RecvAwaiter<T>(inbox()); }
  /// The next message, if there is one. Throws Error(ENOBUFS) while `max_held` samples of its publisher are held.
  [[nodiscard]] std::optional<Sample<T>> try_recv() {
    msg::Arrival arrival;
    int failure = 0;
    detail::MessageRoom<T> room;
    if (!inbox().take(arrival, failure, detail::room_of<T>(room))) return std::nullopt;
    if (failure != 0) throw_held(failure);
    return Sample<T>(arrival);
  }
  /// The newest message; null before the first one. Older queued messages are skipped and count as received. The
  /// message stays available until a newer one replaces it, until its publisher is muted (isolation, emergency stop)
  /// or goes, until an emergency stop of its own node is reset (see SubscribeOptions::keep_in_emergency), or until it
  /// is older than SubscribeOptions::stale_after, whatever happened to its publisher. After that, the newest message
  /// of the other publishers is given; one sample of each is held for this. The result is valid until the next call.
  /// Throws Error(ENOBUFS) while `max_held` samples of a publisher are held elsewhere.
  [[nodiscard]] const Sample<T>* latest() {
    msg::Inbox& box = inbox();
    msg::Arrival arrival;
    int failure = 0;
    detail::MessageRoom<T> room;
    while (box.take(arrival, failure, detail::room_of<T>(room))) {
      if (failure != 0) {
        if (!latest_.forget(box.full_link())) throw_held(failure);  // its place is needed: max_held may be 1
        continue;
      }
      const msg::Inbox::Taken taken = box.now(arrival);
      latest_.keep(Sample<T>(arrival), taken, box);
    }
    return latest_.newest(box);
  }
  /// True when try_recv() would give a message.
  [[nodiscard]] bool has_msg() { return inbox().has_message(); }
  /// Messages lost on the way to this subscriber since the start. The subscriber's thread.
  [[nodiscard]] std::uint64_t missed() const noexcept { return inbox().missed(); }

  [[nodiscard]] const std::string& topic() const noexcept { return inbox().topic(); }
  /// Any thread.
  [[nodiscard]] SubscriberMetrics metrics() const { return inbox().metrics(); }
  /// Publishers that are connected. Any thread.
  [[nodiscard]] std::uint32_t publishers() const { return metrics().publishers; }
  explicit operator bool() const noexcept { return port_ != nullptr; }
  /// Closes the subscriber now. A task that waits in recv() gets a message that was handed to it before, or EPIPE.
  void reset() noexcept {
    latest_.clear();
    port_.reset();
  }

 private:
  [[noreturn]] void throw_held(int failure) const {
    throw Error(failure, "recv", topic() + " (too many samples are held; copy what you keep)");
  }
  [[nodiscard]] msg::Inbox& inbox() const noexcept {
    HORUS_ASSERT(port_ != nullptr, "a Subscriber was used that subscribes to nothing (or that was reset)");
    return port_->inbox();
  }

  std::shared_ptr<msg::Port> port_;
  msg::Latest<Sample<T>> latest_;
};

}  // namespace horus::HORUS_ABI
