// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/wake_source.hpp>

#include <cerrno>
#include <cstdint>
#include <string_view>
#include <utility>

#include <sys/eventfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/io/descriptor.hpp>
#include <horus/io/event_fd.hpp>

namespace horus::msg {
namespace {

void ring(int fd) noexcept {
  const std::uint64_t once = 1;
  const int saved = errno;
  [[maybe_unused]] const ssize_t written = ::write(fd, &once, sizeof once);
  errno = saved;
}

}  // namespace

Result<std::shared_ptr<Bell>> EventFdBell::adopt(int fd) {
  char target[64] = {};
  const std::string link = fmt::format("/proc/self/fd/{}", fd);
  const ssize_t size = ::readlink(link.c_str(), target, sizeof target);
  if (size < 0 || std::string_view(target, static_cast<std::size_t>(size)) != "anon_inode:[eventfd]") {
    ::close(fd);
    return Error(kBadInput, "connect over shared memory", "(the peer's bell is no eventfd)");
  }
  return std::shared_ptr<Bell>(std::make_shared<EventFdBell>(fd));
}

EventFdBell::~EventFdBell() { ::close(fd_); }
void EventFdBell::ring() noexcept { msg::ring(fd_); }

Result<std::shared_ptr<WakeSource>> WakeSource::create(std::shared_ptr<io::Waker> waker) {
  const int fd = ::eventfd(0, EFD_CLOEXEC);
  if (fd < 0) return Error(errno, "eventfd");
  auto source = std::make_shared<WakeSource>(fd, std::move(waker));
  source->waker_->hand_over([source] { io::Reactor::current()->spawn(watch(source), "shared-memory bell"); });
  return source;
}

// Through the reactor, which has watched it: on epoll the number would look watched still when somebody else has it.
WakeSource::~WakeSource() { const io::Descriptor gone(fd_); }

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
  msg::ring(fd_);
}

// That the wait ends is all that the reactor needs to look at its own subscribers.
Task<> WakeSource::watch(std::shared_ptr<WakeSource> self) {
  while (!self->closed_.load(std::memory_order_relaxed)) {
    auto times = co_await io::detail::EventFdAwaiter(self->fd_);
    if (!times) co_return;
    const std::lock_guard lock(self->mutex_);
    for (const auto& outbox : self->outboxes_) {
      if (const std::shared_ptr<Outbox> alive = outbox.lock()) alive->room_may_have_come();
    }
    for (const auto& inbox : self->inboxes_) {
      if (const std::shared_ptr<Inbox> alive = inbox.lock()) alive->wake();
    }
  }
}

}  // namespace horus::msg
