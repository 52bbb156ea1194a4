// SPDX-License-Identifier: Apache-2.0
// Link<T>: messages of one type between two hubs, both ways. Made by a hub.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <horus/msg/publisher.hpp>
#include <horus/msg/subscriber.hpp>

namespace horus::HORUS_ABI {

/// One end of a point-to-point connection. `send` and `loan` go to the link of the same name on the hub `peer`, and
/// `recv` receives from it. Publishers and subscribers of that name are separate.
///
/// Semantics and errors: those of Publisher and Subscriber. Messages sent before the peer has made its end go
/// nowhere; wait for `connected()`.
/// Thread safety: the thread that made it.
/// Example: `auto link = hub.create_link<horus::messages::Imu>("sensor_data", "remote_hub");`
template <Message T>
class Link : public Publisher<T> {
 public:
  Link() noexcept = default;
  Link(Publisher<T> out, Subscriber<T> in) noexcept : Publisher<T>(std::move(out)), in_(std::move(in)) {}

  [[nodiscard("co_await it")]] detail::RecvAwaiter<T> recv() { return in_.recv(); }
  [[nodiscard]] std::optional<Sample<T>> try_recv() { return in_.try_recv(); }
  [[nodiscard]] const Sample<T>* latest() { return in_.latest(); }
  [[nodiscard]] bool has_msg() { return in_.has_msg(); }
  [[nodiscard]] std::uint64_t missed() const noexcept { return in_.missed(); }
  /// True while the peer's end is connected in both directions, so that an answer to a message sent now will arrive.
  [[nodiscard]] bool connected() const { return this->subscribers() > 0 && in_.publishers() > 0; }
  [[nodiscard]] const Subscriber<T>& incoming() const noexcept { return in_; }
  void reset() noexcept {
    in_.reset();
    Publisher<T>::reset();
  }

 private:
  Subscriber<T> in_;
};

}  // namespace horus::HORUS_ABI
