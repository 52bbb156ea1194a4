// SPDX-License-Identifier: Apache-2.0
// How other processes wake a reactor of this one: a socket that they are given, and a task that reads its other end.
// Internal.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include <horus/base/result.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/loop/lookout.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/link/outbox.hpp>
#include <horus/msg/link/outlet.hpp>

namespace horus::HORUS_ABI::msg {

/// Another process's socket, as the bell that it is: one byte, which it may have no room for. Nothing that the other
/// process does can keep the ringer waiting.
class SocketBell final : public Bell {
 public:
  /// Errors: kBadInput when it is something else, which might block the ringer.
  static Result<std::shared_ptr<Bell>> adopt(io::Descriptor socket);
  explicit SocketBell(int fd) noexcept : fd_(fd) {}
  SocketBell(const SocketBell&) = delete;
  SocketBell& operator=(const SocketBell&) = delete;
  ~SocketBell() override;
  void ring() noexcept override;

 private:
  const int fd_;
};

/// The same in a simulated world, whose descriptors the kernel does not know.
class WorldBell final : public Bell {
 public:
  explicit WorldBell(io::Descriptor socket) noexcept : socket_(std::move(socket)) {}
  void ring() noexcept override;

 private:
  const io::Descriptor socket_;
};

/// A pair of sockets, the near one of which is ours. While its reactor runs, a byte in the other makes that reactor look at
/// its subscribers, and its publishers at the room they have. Each peer has its own: what it does to it concerns nobody
/// else.
class WakeSource : public std::enable_shared_from_this<WakeSource> {
 public:
  /// For the reactor behind `waker`. Errors: EMFILE. Any thread.
  static Result<std::shared_ptr<WakeSource>> create(std::shared_ptr<io::Waker> waker);
  /// `process`: whose the sockets are, as io::System::world_process says it.
  WakeSource(int near, int far, std::uint64_t process, std::shared_ptr<io::Waker> waker) noexcept
      : near_(near), far_(far), process_(process), waker_(std::move(waker)) {}
  WakeSource(const WakeSource&) = delete;
  WakeSource& operator=(const WakeSource&) = delete;
  ~WakeSource();

  /// The end that the peer is given; -1 after gave_away().
  [[nodiscard]] int far() const noexcept { return far_; }
  /// The peer has it.
  void gave_away() noexcept;
  [[nodiscard]] const std::shared_ptr<io::Waker>& waker() const noexcept { return waker_; }
  /// A publisher that may wait for room. Any thread.
  void add(const std::shared_ptr<Outbox>& outbox);
  /// A subscriber with a bell, which no reactor looks after. Any thread.
  void add(const std::shared_ptr<Inbox>& inbox);
  /// Ends the task. Any thread.
  void close() noexcept;

 private:
  static Task<> watch(std::shared_ptr<WakeSource> self);

  int near_;  // the stream's once it is watched
  int far_;
  const std::uint64_t process_;
  const std::shared_ptr<io::Waker> waker_;
  io::UnixStream stream_;  // on the reactor's thread
  std::atomic<bool> closed_{false};
  std::mutex mutex_;
  std::vector<std::weak_ptr<Outbox>> outboxes_;
  std::vector<std::weak_ptr<Inbox>> inboxes_;
};

}  // namespace horus::HORUS_ABI::msg
