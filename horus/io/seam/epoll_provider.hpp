// SPDX-License-Identifier: Apache-2.0
// The kernel as a world for the interpreter: non-blocking calls, one epoll set, the pool of file threads.
// Belongs to its backend's thread; only finished blocking operations arrive from others.
#pragma once

#include <atomic>
#include <cstdint>

#include <sys/types.h>

#include <horus/io/seam/provider.hpp>

namespace horus::HORUS_ABI::io {

/// Semantics: never sets O_NONBLOCK on a descriptor for longer than a connect(2) takes: descriptors may be shared with
/// strangers (a terminal, inherited sockets). What cannot be told to not block is asked whether it is ready first.
class EpollProvider final : public Provider {
 public:
  /// `use_nowait`: false does without preadv2's RWF_NOWAIT and epoll_pwait2, as on older kernels.
  explicit EpollProvider(bool use_nowait = true) noexcept;
  EpollProvider(const EpollProvider&) = delete;
  EpollProvider& operator=(const EpollProvider&) = delete;
  ~EpollProvider() override;
  /// Makes the descriptors: 0, or -errno.
  int set_up() noexcept;

  int classify(int fd, DescriptorTraits& traits) noexcept override;
  ssize_t receive(int fd, void* data, std::size_t size, int flags) noexcept override;
  ssize_t send(int fd, const void* data, std::size_t size, int flags) noexcept override;
  ssize_t receive_message(int fd, msghdr& message, int flags) noexcept override;
  ssize_t send_message(int fd, const msghdr& message, int flags) noexcept override;
  ssize_t read(int fd, const iovec* parts, int count, std::int64_t offset,
               DescriptorTraits& traits) noexcept override;
  ssize_t write(int fd, const iovec* parts, int count, std::int64_t offset,
                DescriptorTraits& traits) noexcept override;
  int accept(int fd, sockaddr* address, socklen_t* size, int flags,
             const DescriptorTraits& traits) noexcept override;
  int connect(int fd, const sockaddr* address, socklen_t size) noexcept override;
  int connect_result(int fd) noexcept override;
  int poll(int fd, std::uint32_t events) noexcept override;
  int shutdown(int fd, int how) noexcept override;
  int close(int fd) noexcept override;

  int watch(int fd, std::uint32_t before, std::uint32_t after) noexcept override;
  std::uint32_t generation(int fd) noexcept override;
  void may_be_another(int fd) noexcept override;
  int wait(Readiness* ready, int limit, std::int64_t deadline_ns) noexcept override;
  void tick(std::int64_t period_ns) noexcept override;
  int pollable_fd() noexcept override;
  void ring() noexcept override;

  bool start(BlockingOperation& operation) noexcept override;
  bool cancel(BlockingOperation& operation) noexcept override;
  /// Not in a child of fork(): no thread runs there.
  void wait_until_quiet() noexcept override;
  [[nodiscard]] std::int64_t now_ns() noexcept override;
  RemoteWork* take_finished() noexcept override { return finished_.take(); }

 private:
  ssize_t transfer(int fd, const iovec* parts, int count, std::int64_t offset, DescriptorTraits& traits,
                   bool writing) noexcept;
  ssize_t transfer_when_ready(int fd, const iovec* parts, int count, const DescriptorTraits& traits,
                              bool writing) noexcept;
  int wait_for_events(epoll_event* events, int limit, std::int64_t deadline_ns) noexcept;
  int wait_with_timer(epoll_event* events, int limit, std::int64_t deadline_ns) noexcept;
  int make_timer() noexcept;
  void finish(BlockingOperation& operation) noexcept;

  const bool use_nowait_;
  bool precise_wait_;                  // epoll_pwait2, until the kernel refuses it
  std::atomic<bool> embedded_{false};  // somebody polls the epoll set
  pid_t process_;
  int set_ = -1;
  int bell_ = -1;            // eventfd: blocking operations have come back
  int ticker_ = -1;          // timerfd, made when first needed
  int deadline_timer_ = -1;  // timerfd, where there is no epoll_pwait2
  RemoteList finished_;
  std::atomic<bool> asleep_{false};
};

}  // namespace horus::HORUS_ABI::io
