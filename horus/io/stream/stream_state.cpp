// SPDX-License-Identifier: Apache-2.0
#include <horus/io/stream/stream_state.hpp>

#include <algorithm>

#include <fmt/format.h>

#include <horus/io/poll.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io::detail {

StreamFilter::~StreamFilter() = default;

std::string StreamState::name() const {
  if (!label.empty()) return label;
  if (peer.family() != AF_UNSPEC) return peer.to_string();
  return closed ? std::string("(closed)") : fmt::format("fd {}", fd());
}

Error StreamState::error(int code, const char* operation, std::string_view detail) const {
  if (detail.empty() && filter) {
    if (const std::string reason = filter->reason(code); !reason.empty())
      return Error(code, operation, name()).with_detail(reason);
  }
  if (detail.empty()) return Error(code, operation, name());
  return Error(code, operation, fmt::format("{} ({})", name(), detail));
}

MutableBytes StreamState::room(std::size_t wanted, std::size_t bound) {
  const std::size_t held = buffered();
  std::size_t size = std::max(capacity, std::min(kFirstBuffer, std::max<std::size_t>(buffer_limit, 1)));
  if (filled) size *= 2;
  while (size < wanted || size == held) size *= 2;
  size = std::min(size, std::max({buffer_limit, bound, wanted, held + 1}));
  if (size > capacity) {
    move_to(size, 0);
  } else if (capacity - begin < wanted || end == capacity) {
    std::memmove(buffer.get(), buffer.get() + begin, held);
    begin = 0;
    end = held;
  }
  return {buffer.get() + end, capacity - end};
}

void StreamState::unread(Bytes bytes) {
  if (bytes.empty()) return;
  if (begin < bytes.size()) {
    if (capacity < bytes.size() + buffered()) {
      move_to(bytes.size() + buffered(), bytes.size());
    } else {
      std::memmove(buffer.get() + bytes.size(), buffer.get() + begin, buffered());
      end = bytes.size() + buffered();
      begin = bytes.size();
    }
  }
  begin -= bytes.size();
  std::memcpy(buffer.get() + begin, bytes.data(), bytes.size());
}

void StreamState::move_to(std::size_t new_capacity, std::size_t offset) {
  auto larger = std::make_unique_for_overwrite<std::byte[]>(new_capacity);
  const std::size_t held = buffered();
  if (held > 0) std::memcpy(larger.get() + offset, buffer.get() + begin, held);
  buffer = std::move(larger);
  capacity = new_capacity;
  begin = offset;
  end = offset + held;
}

namespace {

// Waits until the descriptor is ready, for descriptors whose O_NONBLOCK may be set by others: 0 or -errno.
Task<std::int32_t> wait_until(StreamHold state, short events) {
  auto waiting = wait_for(state->fd(), events);
  const auto ready = co_await waiting;
  if (!ready) co_return transferred(-ready.code());
  co_return state->closed ? -ECANCELED : 0;
}

constexpr Duration kFirstRest = std::chrono::milliseconds(1);
constexpr Duration kLongestRest = std::chrono::milliseconds(16);

// A terminal's readiness promises one byte of room, and a line's end may take two: it can be ready and take nothing for
// as long as nobody reads. So whoever gets nothing rests.
Task<std::int32_t> transfer_with_terminal(StreamHold state, bool write, std::span<const iovec> parts) {
  Duration rest = kFirstRest;
  while (true) {
    if (state->closed) co_return -ECANCELED;
    auto ready = wait_until(state, write ? POLLOUT : POLLIN);
    const std::int32_t failed = co_await ready;
    if (failed != 0) co_return failed;
    const ssize_t moved = Reactor::current()->system().transfer_now(state->fd(), parts.data(),
                                                                    static_cast<int>(parts.size()), write);
    if (moved != -EAGAIN && moved != -EINTR) co_return static_cast<std::int32_t>(moved);
    try {
      co_await horus::sleep(rest);
    } catch (const Error&) {
      co_return -ECANCELED;
    }
    rest = std::min(2 * rest, kLongestRest);
  }
}

Task<std::int32_t> receive_here(StreamHold state, MutableBytes into) {
  if (state->terminal) {
    const iovec part{into.data(), std::min(into.size(), kMaxTransfer)};
    auto moving = transfer_with_terminal(state, false, std::span(&part, 1));
    const std::int32_t moved = co_await moving;
    co_return moved;
  }
  std::int32_t result = -EAGAIN;
  while (result == -EAGAIN) {
    if (state->closed) co_return -ECANCELED;
    if (state->poll_first) {
      auto ready = wait_until(state, POLLIN);
      const std::int32_t failed = co_await ready;
      if (failed != 0) co_return failed;
    }
    Receive operation(*state, into);
    result = co_await operation;
    if (result == -EAGAIN) state->poll_first = true;
  }
  co_return result;
}

Task<std::int32_t> send_here(StreamHold state, Bytes bytes) {
  if (state->terminal) {
    const iovec part{const_cast<std::byte*>(bytes.data()), std::min(bytes.size(), kMaxTransfer)};
    auto moving = transfer_with_terminal(state, true, std::span(&part, 1));
    const std::int32_t moved = co_await moving;
    co_return moved;
  }
  std::int32_t result = -EAGAIN;
  while (result == -EAGAIN) {
    if (state->closed) co_return -ECANCELED;
    if (state->poll_first) {
      auto ready = wait_until(state, POLLOUT);
      const std::int32_t failed = co_await ready;
      if (failed != 0) co_return failed;
    }
    Send operation(*state, bytes);
    result = co_await operation;
    if (result == -EAGAIN) state->poll_first = true;
  }
  co_return result;
}

Task<std::int32_t> transfer_here(StreamHold state, bool write, std::span<iovec> parts) {
  if (state->terminal) {
    auto moving = transfer_with_terminal(state, write, parts);
    const std::int32_t moved = co_await moving;
    co_return moved;
  }
  std::int32_t result = -EAGAIN;
  while (result == -EAGAIN) {
    if (state->closed) co_return -ECANCELED;
    if (state->poll_first) {
      auto ready = wait_until(state, write ? POLLOUT : POLLIN);
      const std::int32_t failed = co_await ready;
      if (failed != 0) co_return failed;
    }
    VectorTransfer operation(*state, write, parts);
    result = co_await operation;
    if (result == -EAGAIN) state->poll_first = true;
  }
  co_return result;
}

}  // namespace

Task<std::int32_t> receive(StreamHold state, MutableBytes into) {
  if (!state->filter) return receive_here(std::move(state), into);
  StreamFilter& filter = *state->filter;
  return filter.receive(std::move(state), into);
}

Task<std::int32_t> send(StreamHold state, Bytes bytes) {
  if (!state->filter) return send_here(std::move(state), bytes);
  StreamFilter& filter = *state->filter;
  return filter.send(std::move(state), bytes);
}

Task<std::int32_t> transfer(StreamHold state, bool write, std::span<iovec> parts) {
  if (!state->filter) return transfer_here(std::move(state), write, parts);
  StreamFilter& filter = *state->filter;
  if (write) return filter.send_parts(std::move(state), parts);
  return filter.receive(std::move(state), MutableBytes(parts.front().iov_base, parts.front().iov_len));
}

Task<bool> wait_for_turn(StreamHold state) {
  try {
    co_await state->write_turn.acquire();
    co_return true;
  } catch (const Error&) {
  }
  co_return false;
}

}  // namespace horus::HORUS_ABI::io::detail
