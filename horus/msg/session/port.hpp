// SPDX-License-Identifier: Apache-2.0
// One end of a topic in this process: what it is called, what it carries, and the box behind it once it is open. Opened
// and used on one thread; what it tells may be read on any.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include <horus/base/assert.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/link/inbox.hpp>
#include <horus/msg/link/outbox.hpp>
#include <horus/msg/options.hpp>

namespace horus::HORUS_ABI::msg {

class HubCore;
class Transport;

enum class Direction : std::uint8_t { out, in };

/// What others may know of a port. A copy is cheap to keep.
struct PortInfo {
  std::uint64_t id = 0;  ///< of this process; 0: not open
  Direction direction = Direction::out;
  std::string topic;
  const Layout* layout = nullptr;
  const Description* description = nullptr;  ///< null where no program here was compiled with the type
  std::string hub;                           ///< name of the hub that it belongs to
  bool link = false;                         ///< point to point: it meets only ports of links
  std::string peer;                          ///< of a link: name of the hub at the other end
  std::uint64_t pair =
      0;  ///< of a link: the same for both directions of one end, which do not meet; 0: elsewhere
  SubscribeOptions subscribe;         // of Direction::in
  AdvertiseOptions advertise;         // of Direction::out
  std::uint64_t process = 0;          ///< a simulated one's number; 0 in reality
  const Transport* origin = nullptr;  ///< the transport whose remote port it stands for; null: a user's
  std::shared_ptr<Bell> bell;         ///< of an inbox that no thread owns: see Inbox::bell()
};

/// A port that closes when its last owner goes.
class HORUS_API Port final : public std::enable_shared_from_this<Port> {
 public:
  explicit Port(PortInfo info) : info_(std::move(info)) {}
  Port(const Port&) = delete;
  Port& operator=(const Port&) = delete;
  ~Port() { close(); }

  /// Makes it known in `hub`, on this thread. Throws Error: kTypeMismatch when the topic carries another type; EINVAL
  /// for options out of range or a bad name; ENOMEM, EMFILE.
  void open(const std::shared_ptr<HubCore>& hub);
  /// Nobody meets it any more; it may be opened again. Whoever waits in it is told.
  void close() noexcept;
  [[nodiscard]] bool is_open() const noexcept { return hub_ != nullptr; }
  [[nodiscard]] const PortInfo& info() const noexcept { return info_; }
  /// Another topic; before it is open.
  void rename(std::string topic) {
    HORUS_ASSERT(!is_open(), "a port was renamed after it was opened");
    info_.topic = std::move(topic);
  }

  [[nodiscard]] Outbox& outbox() const noexcept {
    HORUS_ASSERT(outbox_ != nullptr, "a node's publisher was used before the scheduler started the node");
    return *outbox_;
  }
  [[nodiscard]] Inbox& inbox() const noexcept {
    HORUS_ASSERT(inbox_ != nullptr, "a node's subscriber was used before the scheduler started the node");
    return *inbox_;
  }
  /// For other threads: null when it is not an open port of that direction (any more).
  [[nodiscard]] std::shared_ptr<Outbox> shared_outbox() const {
    const std::lock_guard lock(mutex_);
    return outbox_;
  }
  [[nodiscard]] std::shared_ptr<Inbox> shared_inbox() const {
    const std::lock_guard lock(mutex_);
    return inbox_;
  }

 private:
  friend class HubCore;
  PortInfo info_;
  std::shared_ptr<HubCore> hub_;
  mutable std::mutex mutex_;        // of the boxes, whose owner alone changes them
  std::shared_ptr<Outbox> outbox_;  // exactly one of the two once it is open
  std::shared_ptr<Inbox> inbox_;
};

/// A number that nobody in this process had before.
HORUS_API std::uint64_t new_pair() noexcept;

/// A port to be opened; with a `peer`, an end of a link.
template <Message T>
std::shared_ptr<Port> out_port(std::string topic, const AdvertiseOptions& options, std::string peer = {},
                               std::uint64_t pair = 0) {
  PortInfo info;
  info.direction = Direction::out;
  info.topic = std::move(topic);
  info.layout = &layout_of<T>();
  info.description = &describe<T>();
  info.link = !peer.empty();
  info.peer = std::move(peer);
  info.pair = pair;
  info.advertise = options;
  return std::make_shared<Port>(std::move(info));
}
template <Message T>
std::shared_ptr<Port> in_port(std::string topic, const SubscribeOptions& options, std::string peer = {},
                              std::uint64_t pair = 0) {
  PortInfo info;
  info.direction = Direction::in;
  info.topic = std::move(topic);
  info.layout = &layout_of<T>();
  info.description = &describe<T>();
  info.link = !peer.empty();
  info.peer = std::move(peer);
  info.pair = pair;
  info.subscribe = options;
  return std::make_shared<Port>(std::move(info));
}

}  // namespace horus::HORUS_ABI::msg
