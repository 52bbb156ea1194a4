// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/files/fifo.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fcntl.h>
#include <sys/epoll.h>

namespace horus::HORUS_ABI::sim::detail {
namespace {
constexpr std::size_t kPipeRoom = 65536;
constexpr std::size_t kAtomic = 4096;  // PIPE_BUF: such a write is whole or waits
}  // namespace

void FifoChannel::changed() noexcept {
  for (FifoEnd* end : ends) end->look_again();
}

int FifoEnd::open(Engine& engine, Inode& inode, int flags, std::shared_ptr<Object>& opened) {
  auto channel = inode.fifo.lock();
  if (!channel) inode.fifo = channel = std::make_shared<FifoChannel>();
  const int access = flags & O_ACCMODE;
  if (access == O_WRONLY && channel->readers == 0) return -ENXIO;
  opened = std::make_shared<FifoEnd>(engine, channel, access != O_WRONLY, access != O_RDONLY);
  return 0;
}

FifoEnd::FifoEnd(Engine& engine, std::shared_ptr<FifoChannel> channel, bool reads, bool writes)
    : Object(engine),
      channel_(std::move(channel)),
      reads_(reads),
      writes_(writes),
      writers_before_(channel_->writers_ever) {
  channel_->ends.push_back(this);
  if (reads_) ++channel_->readers;
  if (writes_) {
    ++channel_->writers;
    ++channel_->writers_ever;
  }
  channel_->changed();
}

FifoEnd::~FifoEnd() { std::erase(channel_->ends, this); }

std::uint32_t FifoEnd::ready() const noexcept {
  std::uint32_t events = 0;
  if (reads_ && !channel_->data.empty()) events |= EPOLLIN;
  if (reads_ && channel_->writers == 0 && channel_->writers_ever != writers_before_) events |= EPOLLHUP;
  if (writes_ && channel_->data.size() + kAtomic <= kPipeRoom) events |= EPOLLOUT;
  if (writes_ && channel_->readers == 0) events |= EPOLLERR;
  return events;
}

ssize_t FifoEnd::receive(msghdr& message, int) {
  if (!reads_) return -EBADF;
  if (channel_->data.empty()) return channel_->writers == 0 ? 0 : -EAGAIN;
  const std::size_t copied = scatter(channel_->data, message);
  channel_->data.erase(0, copied);
  channel_->changed();
  return static_cast<ssize_t>(copied);
}

ssize_t FifoEnd::send(const msghdr& message, int) {
  if (!writes_) return -EBADF;
  if (channel_->readers == 0) return -EPIPE;
  const std::size_t wanted = size_of(message);
  const std::size_t room = kPipeRoom - channel_->data.size();
  if (room == 0 || (wanted <= kAtomic && room < wanted)) return -EAGAIN;
  const std::string data = gather(message, room);
  channel_->data += data;
  channel_->changed();
  return static_cast<ssize_t>(data.size());
}

void FifoEnd::closed() {
  if (!std::exchange(open_, false)) return;
  if (reads_) --channel_->readers;
  if (writes_) --channel_->writers;
  std::erase(channel_->ends, this);
  channel_->changed();
}

}  // namespace horus::HORUS_ABI::sim::detail
