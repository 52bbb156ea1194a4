// SPDX-License-Identifier: Apache-2.0
#include <horus/io/stream/descriptor_passing.hpp>

#include <cerrno>
#include <cstring>
#include <utility>

#include <poll.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/poll.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {

RightsMessage::RightsMessage(Bytes bytes, std::span<const int> descriptors) noexcept
    : vector_{const_cast<std::byte*>(bytes.data()), bytes.size()} {
  header_.msg_iov = &vector_;
  header_.msg_iovlen = 1;
  if (descriptors.empty()) return;
  header_.msg_control = control_.data();
  header_.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
  cmsghdr* control = CMSG_FIRSTHDR(&header_);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(descriptors.size_bytes());
  std::memcpy(CMSG_DATA(control), descriptors.data(), descriptors.size_bytes());
}

RightsMessage::RightsMessage(MutableBytes into, std::size_t most) noexcept
    : vector_{into.data(), into.size()}, most_(most < kMaxPassedDescriptors ? most : kMaxPassedDescriptors) {
  header_.msg_name = sender_.room();
  header_.msg_namelen = Address::capacity;
  header_.msg_iov = &vector_;
  header_.msg_iovlen = 1;
  header_.msg_control = control_.data();
  header_.msg_controllen = CMSG_SPACE(sizeof(int) * most_);
}

Address RightsMessage::sender() const noexcept { return Address::from(sender_.data(), header_.msg_namelen); }

std::vector<Descriptor> RightsMessage::take_descriptors(bool& complete) {
  std::vector<Descriptor> descriptors;
  complete = (header_.msg_flags & MSG_CTRUNC) == 0;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header_); control != nullptr;
       control = CMSG_NXTHDR(&header_, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
      fd = above_standard(fd);
      if (fd < 0) complete = false;
      if (fd >= 0) descriptors.emplace_back(fd);
    }
  }
  if (descriptors.size() > most_) complete = false;
  if (!complete) descriptors.clear();
  return descriptors;
}

namespace {

Error closed_error(const StreamHold& state, const char* operation) {
  if (!state) return Error(EBADF, operation, "(the stream is not open)");
  return state->error(state->closed ? ECANCELED : EBADF, operation);
}

// Waits for readiness where the descriptor's flags belong to strangers. 0 or -errno.
Task<std::int32_t> readiness(StreamHold state, short events) {
  if (!state->poll_first) co_return 0;
  auto poll = wait_for(state->fd(), events);
  const auto ready = co_await poll;
  if (!ready) co_return transferred(-ready.code());
  co_return state->closed ? -ECANCELED : 0;
}

Task<Result<>> send_with_rights(StreamHold state, std::vector<int> descriptors, Bytes bytes) {
  constexpr const char* kOperation = "send descriptors";
  if (!state || state->closed) co_return closed_error(state, kOperation);
  if (bytes.empty())
    co_return state->error(EINVAL, kOperation, "descriptors need at least one byte to travel with");
  if (descriptors.size() > kMaxPassedDescriptors) {
    co_return state->error(EINVAL, kOperation, fmt::format("at most {} at a time", kMaxPassedDescriptors));
  }
  if (!state->write_turn.try_acquire()) {
    auto waiting = wait_for_turn(state);
    const bool mine = co_await waiting;
    if (!mine) co_return state->error(ECANCELED, kOperation);
  }
  const WriteTurn turn(*state);
  RightsMessage message(bytes, descriptors);
  std::int32_t count = -EAGAIN;
  while (count == -EAGAIN) {
    if (state->closed) co_return state->error(ECANCELED, kOperation);
    auto waiting = readiness(state, POLLOUT);
    count = co_await waiting;
    if (count == 0) {
      // Without MSG_WAITALL: a second round would send the descriptors again.
      MessageTransfer sending(state->fd(), true, message.header(), MSG_NOSIGNAL);
      count = co_await sending;
      if (count == -EAGAIN) state->poll_first = true;
    }
  }
  if (count < 0) co_return state->error(-count, kOperation);
  std::size_t done = static_cast<std::size_t>(count);
  while (done < bytes.size()) {
    auto sending = send(state, bytes.skip(done));
    count = co_await sending;
    if (count <= 0) {
      co_return state->error(count == 0 ? EIO : -count, kOperation,
                             fmt::format("after {} of {} bytes", done, bytes.size()));
    }
    done += static_cast<std::size_t>(count);
  }
  co_return Result<>();
}

Task<Result<ReceivedDescriptors>> receive_with_rights(StreamHold state, MutableBytes into, std::size_t most) {
  constexpr const char* kOperation = "receive descriptors";
  if (!state || state->closed) co_return closed_error(state, kOperation);
  if (state->reading) co_return state->error(EBUSY, kOperation, "another task is reading this stream");
  if (into.empty()) co_return state->error(EINVAL, kOperation, "descriptors come with at least one byte");
  const ReadTurn turn(*state);
  ReceivedDescriptors received;
  received.size = state->take(into);
  if (received.size > 0) co_return std::move(received);  // read ahead: what came with them is gone
  RightsMessage message(into, most);
  std::int32_t count = -EAGAIN;
  if (std::exchange(state->end_seen, false)) count = 0;
  while (count == -EAGAIN) {
    if (state->closed) co_return state->error(ECANCELED, kOperation);
    auto waiting = readiness(state, POLLIN);
    count = co_await waiting;
    if (count == 0) {
      MessageTransfer receiving(state->fd(), false, message.header(), MSG_CMSG_CLOEXEC);
      count = co_await receiving;
      if (count == -EAGAIN) state->poll_first = true;
    }
  }
  if (count <= 0) co_return state->error(count == 0 ? static_cast<int>(kEndOfStream) : -count, kOperation);
  bool complete = true;
  received.descriptors = message.take_descriptors(complete);
  received.size = static_cast<std::size_t>(count);
  if (!complete) {
    state->unread(Bytes(into.data(), received.size));
    co_return state->error(EMSGSIZE, kOperation,
                           fmt::format("more than {} came, or there was no room; they are closed", most));
  }
  co_return std::move(received);
}

Task<Result<Descriptor>> receive_one(StreamHold state) {
  char byte = 0;
  auto receiving = receive_with_rights(state, MutableBytes(&byte, 1), 1);
  auto received = co_await receiving;
  if (!received) co_return received.error();
  if (received->descriptors.empty())
    co_return state->error(kBadInput, "receive descriptors", "a byte came without one");
  co_return std::move(received->descriptors.front());
}

}  // namespace
}  // namespace detail

Task<Result<>> UnixStream::send_descriptors(std::span<const int> descriptors, Bytes bytes) const {
  return detail::send_with_rights(state_, std::vector<int>(descriptors.begin(), descriptors.end()), bytes);
}
Task<Result<>> UnixStream::send_descriptor(int descriptor, Bytes bytes) const {
  return detail::send_with_rights(state_, std::vector<int>{descriptor}, bytes);
}
Task<Result<ReceivedDescriptors>> UnixStream::recv_descriptors(MutableBytes into, std::size_t most) const {
  return detail::receive_with_rights(state_, into, most);
}
Task<Result<Descriptor>> UnixStream::recv_descriptor() const { return detail::receive_one(state_); }

}  // namespace horus::HORUS_ABI::io
