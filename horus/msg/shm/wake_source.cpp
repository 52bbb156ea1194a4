// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm/wake_source.hpp>

#include <array>
#include <cerrno>
#include <cstddef>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::msg {

Result<std::shared_ptr<Bell>> SocketBell::adopt(io::Descriptor socket) {
  const auto ask = [&](int option) {
    int value = -1;
    socklen_t size = sizeof value;
    io::System& system = io::Reactor::current()->system();
    return system.get_option(socket.get(), SOL_SOCKET, option, &value, &size) >= 0 ? value : -1;
  };
  // Others may keep a sender waiting on a lock, whatever the flags.
  if (ask(SO_DOMAIN) != AF_UNIX || ask(SO_TYPE) != SOCK_STREAM)
    return Error(kBadInput, "connect over shared memory", "(the peer's bell is no Unix socket)");
  if (io::System::here().world_process() != 0)
    return std::shared_ptr<Bell>(std::make_shared<WorldBell>(std::move(socket)));
  return std::shared_ptr<Bell>(std::make_shared<SocketBell>(socket.release()));
}

SocketBell::~SocketBell() { ::close(fd_); }

// EAGAIN: bytes wait there already, which is as good. EPIPE: nobody listens.
void SocketBell::ring() noexcept {
  const char once = 1;
  const int saved = errno;
  [[maybe_unused]] const ssize_t sent = ::send(fd_, &once, sizeof once, MSG_DONTWAIT | MSG_NOSIGNAL);
  errno = saved;
}

void WorldBell::ring() noexcept {
  const char once = 1;
  static_cast<void>(io::System::here().send(socket_.get(), &once, sizeof once));
}

Result<std::shared_ptr<WakeSource>> WakeSource::create(std::shared_ptr<io::Waker> waker) {
  int ends[2];
  io::System& host = io::System::here();
  const int made = host.socket_pair(ends, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK);
  if (made < 0) return Error(-made, "make a wake-up descriptor");
  auto source = std::make_shared<WakeSource>(ends[0], ends[1], host.world_process(), std::move(waker));
  source->waker_->hand_over([source] {
    if (!source->closed_.load(std::memory_order_relaxed))
      io::Reactor::current()->spawn(watch(source), "shared-memory bell");
  });
  return source;
}

WakeSource::~WakeSource() {
  const io::Descriptor near(std::exchange(near_, -1));
  gave_away();
}

void WakeSource::gave_away() noexcept {
  if (far_ >= 0) io::close_of(process_, std::exchange(far_, -1));
}

void WakeSource::add(const std::shared_ptr<Outbox>& outbox) {
  const std::lock_guard lock(mutex_);
  std::erase_if(outboxes_, [&](const auto& other) { return other.expired() || other.lock() == outbox; });
  outboxes_.push_back(outbox);
}

void WakeSource::add(const std::shared_ptr<Inbox>& inbox) {
  const std::lock_guard lock(mutex_);
  std::erase_if(inboxes_, [&](const auto& other) { return other.expired() || other.lock() == inbox; });
  inboxes_.push_back(inbox);
}

void WakeSource::close() noexcept {
  closed_.store(true, std::memory_order_relaxed);
  waker_->hand_over([self = shared_from_this()] { self->stream_.reset(); });
}

// That the wait ends is all that the reactor needs to look at its own subscribers.
Task<> WakeSource::watch(std::shared_ptr<WakeSource> self) {
  self->stream_ = io::UnixStream(io::Descriptor(std::exchange(self->near_, -1)));
  std::array<std::byte, 256> rings;
  while (!self->closed_.load(std::memory_order_relaxed)) {
    auto came = co_await self->stream_.read(io::MutableBytes(rings));
    if (!came) break;
    const std::lock_guard lock(self->mutex_);
    for (const auto& outbox : self->outboxes_) {
      if (const std::shared_ptr<Outbox> alive = outbox.lock()) alive->room_may_have_come();
    }
    for (const auto& inbox : self->inboxes_) {
      if (const std::shared_ptr<Inbox> alive = inbox.lock()) alive->wake();
    }
  }
  self->stream_.reset();
}

}  // namespace horus::HORUS_ABI::msg
