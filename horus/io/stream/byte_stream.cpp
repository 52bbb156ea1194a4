// SPDX-License-Identifier: Apache-2.0
// The coroutines of a byte stream. They hold its state, never the handle, so the handle may move or die meanwhile.
#include <horus/io/byte_stream.hpp>

#include <algorithm>
#include <array>

#include <fcntl.h>

#include <fmt/format.h>

#include <horus/io/loop/awaiter.hpp>
#include <horus/io/loop/socket.hpp>

namespace horus::HORUS_ABI::io {

using detail::StreamHold;

namespace {

constexpr std::size_t kDirectRead = 4096;     // bytes; longer exact reads go straight to the caller's memory
constexpr std::size_t kReadAllChunk = 65536;  // bytes

// A shutdown of the sending direction.
class Shutdown : public OperationAwaiter<Shutdown> {
 public:
  static constexpr const char* kName = "shutdown";
  explicit Shutdown(int descriptor) noexcept : OperationAwaiter(descriptor) {}
  void prepare(io_uring_sqe& entry) const noexcept { fill::shutdown(entry, fd, SHUT_WR); }
  [[nodiscard]] std::int32_t await_resume() const noexcept { return result; }
};

// 0 when a buffered read may begin, else why not.
int refuses_read(const StreamHold& state) noexcept {
  if (!state || state->closed) return EBADF;
  state->owner.check("stream");
  return state->reading ? EBUSY : 0;
}

Error read_error(const StreamHold& state, int code) {
  if (!state || code == EBADF) return Error(EBADF, "read", "(the stream is not open)");
  return state->error(code, "read", code == EBUSY ? "another task is reading this stream" : "");
}

Error write_error(const StreamHold& state, int code, std::size_t done = 0, std::size_t size = 0) {
  if (!state || code == EBADF) return Error(EBADF, "write", "(the stream is not open)");
  if (code == EBUSY) return state->error(code, "write", "another task is writing this stream");
  return state->error(code, "write",
                      done == 0 ? std::string() : fmt::format("after {} of {} bytes", done, size));
}

// One receive into the buffer: 0, or the error (kEndOfStream included). The caller has the turn to read.
Task<int> fill(StreamHold state, std::size_t wanted, std::size_t bound) {
  if (std::exchange(state->end_seen, false)) co_return kEndOfStream;
  const MutableBytes room = state->room(wanted, bound);
  auto receiving = detail::receive(state, room);
  const std::int32_t count = co_await receiving;
  if (count < 0) co_return -count;
  state->filled = static_cast<std::size_t>(count) == room.size();
  state->end += static_cast<std::size_t>(count);
  co_return count == 0 ? static_cast<int>(kEndOfStream) : 0;
}

std::string take_text(detail::StreamState& state, std::size_t size) {
  std::string text(state.view().substr(0, size));
  state.consume(size);
  return text;
}

Task<Result<>> read_exactly(StreamHold state, MutableBytes into) {
  if (const int refused = refuses_read(state); refused != 0) co_return read_error(state, refused);
  const detail::ReadTurn turn(*state);
  if (into.size() <= kDirectRead) {
    while (state->buffered() < into.size()) {
      auto filling = fill(state, into.size(), into.size());
      const int failed = co_await filling;
      if (failed != 0) co_return read_error(state, failed);
    }
    state->take(into);
    co_return Result<>();
  }
  std::size_t done = state->take(into);
  while (done < into.size()) {
    std::int32_t count = 0;
    if (!std::exchange(state->end_seen, false)) {
      auto receiving = detail::receive(state, into.skip(done));
      count = co_await receiving;
    }
    if (count <= 0) {
      state->unread(Bytes(into.data(), done));
      co_return read_error(state, count == 0 ? static_cast<int>(kEndOfStream) : -count);
    }
    done += static_cast<std::size_t>(count);
  }
  co_return Result<>();
}

Task<Result<std::size_t>> read_parts(StreamHold state, std::span<const MutableBytes> parts) {
  if (const int refused = refuses_read(state); refused != 0) co_return read_error(state, refused);
  const detail::ReadTurn turn(*state);
  std::size_t taken = 0;
  std::array<iovec, detail::kMaxParts> vector;
  std::size_t used = 0;
  for (const MutableBytes& part : parts) {
    taken += state->take(part);
    if (used < vector.size() && !part.empty()) vector[used++] = {part.data(), part.size()};
  }
  if (taken > 0 || used == 0) co_return taken;
  std::int32_t count = 0;
  if (!std::exchange(state->end_seen, false)) {
    auto receiving = detail::transfer(state, false, std::span(vector).first(used));
    count = co_await receiving;
  }
  if (count <= 0) co_return read_error(state, count == 0 ? static_cast<int>(kEndOfStream) : -count);
  co_return static_cast<std::size_t>(count);
}

Task<Result<std::string>> read_to_delimiter(StreamHold state, std::string delimiter, std::size_t limit) {
  if (const int refused = refuses_read(state); refused != 0) co_return read_error(state, refused);
  if (delimiter.empty()) co_return Error(EINVAL, "read", "(an empty delimiter)");
  const detail::ReadTurn turn(*state);
  std::size_t scanned = 0;
  while (true) {
    const std::size_t found = state->view().find(delimiter, scanned);
    if (found != std::string_view::npos && found + delimiter.size() <= limit) {
      co_return take_text(*state, found + delimiter.size());
    }
    if (found != std::string_view::npos || state->buffered() >= limit) {
      co_return state->error(EMSGSIZE, "read", fmt::format("no delimiter within {} bytes", limit));
    }
    scanned = state->buffered() < delimiter.size() ? 0 : state->buffered() - delimiter.size() + 1;
    auto filling = fill(state, state->buffered() + 1, limit);
    const int failed = co_await filling;
    if (failed != 0) co_return read_error(state, failed);
  }
}

// Drops what is left of a line that was too long. True when its end was found.
bool skip_line(detail::StreamState& state) noexcept {
  const std::size_t newline = state.view().find('\n');
  const bool found = newline != std::string_view::npos;
  state.consume(found ? newline + 1 : state.buffered());
  if (found) state.skipping_line = false;
  return found;
}

Error too_long(detail::StreamState& state, std::size_t limit) {
  return state.error(EMSGSIZE, "read", fmt::format("a line of more than {} bytes was dropped", limit));
}

Task<Result<std::string>> read_to_newline(StreamHold state, std::size_t limit) {
  if (const int refused = refuses_read(state); refused != 0) co_return read_error(state, refused);
  const detail::ReadTurn turn(*state);
  std::size_t scanned = 0;
  while (true) {
    if (!state->skipping_line || skip_line(*state)) {
      const std::size_t newline = state->view().find('\n', scanned);
      if (newline != std::string_view::npos) {
        const bool returned = newline > 0 && state->view()[newline - 1] == '\r';
        const std::size_t length = newline - (returned ? 1 : 0);
        if (length > limit) {
          state->consume(newline + 1);
          co_return too_long(*state, limit);
        }
        std::string line(state->view().substr(0, length));
        state->consume(newline + 1);
        co_return line;
      }
      scanned = state->buffered();
      // One more than the limit may still be followed by \r\n or \n.
      const bool may_fit = scanned <= limit || (scanned == limit + 1 && state->view().back() == '\r');
      if (!may_fit) {
        state->consume(state->buffered());
        state->skipping_line = true;
        co_return too_long(*state, limit);
      }
    }
    auto filling = fill(state, state->buffered() + 1, limit);
    const int failed = co_await filling;
    if (failed == kEndOfStream && state->buffered() > 0) {
      state->end_seen = true;
      if (state->buffered() <= limit) co_return take_text(*state, state->buffered());
      state->consume(state->buffered());
      co_return too_long(*state, limit);
    }
    if (failed == kEndOfStream) state->skipping_line = false;
    if (failed != 0) co_return read_error(state, failed);
  }
}

Task<Result<std::string>> read_to_end(StreamHold state, std::size_t limit) {
  if (const int refused = refuses_read(state); refused != 0) co_return read_error(state, refused);
  const detail::ReadTurn turn(*state);
  std::string text = take_text(*state, state->buffered());
  std::size_t size = text.size();
  std::int32_t count = 1;
  while (!std::exchange(state->end_seen, false) && size <= limit) {
    // One byte more than the limit tells a stream that is too long from one that just fits.
    const std::size_t chunk = std::min(std::max(kReadAllChunk, size), limit - size + 1);
    text.resize(size + chunk);
    auto receiving = detail::receive(state, MutableBytes(text.data() + size, chunk));
    count = co_await receiving;
    if (count <= 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (count < 0 || size > limit) {
    state->unread(Bytes(text.data(), size));
    if (count < 0) co_return read_error(state, -count);
    co_return state->error(EMSGSIZE, "read", fmt::format("more than {} bytes", limit));
  }
  text.resize(size);
  co_return text;
}

AsyncStream<Result<std::string>> each_line(StreamHold state, std::size_t limit) {
  while (true) {
    auto reading = read_to_newline(state, limit);
    auto line = co_await reading;
    if (line.code() == kEndOfStream) co_return;
    const bool last = !line && line.code() != EMSGSIZE;
    co_yield std::move(line);
    if (last) co_return;
  }
}

Task<Result<>> write_everything(StreamHold state, Bytes bytes) {
  if (!state || state->closed) co_return write_error(state, EBADF);
  state->owner.check("stream");
  if (!state->write_turn.try_acquire()) {
    auto waiting = detail::wait_for_turn(state);
    const bool mine = co_await waiting;
    if (!mine) co_return write_error(state, ECANCELED);
  }
  const detail::WriteTurn turn(*state);
  std::size_t done = 0;
  while (done < bytes.size()) {
    std::int32_t count = -ECANCELED;
    if (!state->closed && !state->poll_first) [[likely]] {
      detail::Send sending(*state, bytes.skip(done));
      count = co_await sending;
    }
    if (!state->closed && (state->poll_first || count == -EAGAIN)) {
      auto sending = detail::send(state, bytes.skip(done));
      count = co_await sending;
    }
    if (count <= 0) co_return write_error(state, count == 0 ? EIO : -count, done, bytes.size());
    done += static_cast<std::size_t>(count);
  }
  co_return Result<>();
}

Task<Result<>> write_parts(StreamHold state, std::span<const Bytes> parts) {
  if (!state || state->closed) co_return write_error(state, EBADF);
  state->owner.check("stream");
  if (!state->write_turn.try_acquire()) {
    auto waiting = detail::wait_for_turn(state);
    const bool mine = co_await waiting;
    if (!mine) co_return write_error(state, ECANCELED);
  }
  const detail::WriteTurn turn(*state);
  std::size_t size = 0;
  for (const Bytes& part : parts) size += part.size();
  std::size_t first = 0;   // the part that comes next
  std::size_t inside = 0;  // bytes of it that are sent
  for (std::size_t done = 0; done < size;) {
    std::array<iovec, detail::kMaxParts> vector;
    std::size_t used = 0;
    for (std::size_t i = first; i < parts.size() && used < vector.size(); ++i) {
      const Bytes rest = parts[i].skip(i == first ? inside : 0);
      if (!rest.empty()) vector[used++] = {const_cast<std::byte*>(rest.data()), rest.size()};
    }
    auto sending = detail::transfer(state, true, std::span(vector).first(used));
    const std::int32_t count = co_await sending;
    if (count <= 0) co_return write_error(state, count == 0 ? EIO : -count, done, size);
    done += static_cast<std::size_t>(count);
    inside += static_cast<std::size_t>(count);
    while (first < parts.size() && inside >= parts[first].size()) inside -= parts[first++].size();
  }
  co_return Result<>();
}

Task<Result<>> shut_down(StreamHold state) {
  if (!state || state->closed) co_return Error(EBADF, "shutdown", "(the stream is not open)");
  state->owner.check("stream");
  if (!state->socket && !state->filter) co_return state->error(ENOTSOCK, "shutdown", "close it instead");
  if (!state->write_turn.try_acquire()) {
    auto waiting = detail::wait_for_turn(state);
    const bool mine = co_await waiting;
    if (!mine) co_return state->error(ECANCELED, "shutdown");
  }
  const detail::WriteTurn turn(*state);
  if (state->closed) co_return state->error(ECANCELED, "shutdown");
  std::int32_t result = 0;
  if (state->filter) {
    auto ending = state->filter->end_writing(state);
    result = co_await ending;
  } else {
    Shutdown operation(state->fd());
    result = co_await operation;
  }
  if (result < 0) co_return state->error(-result, "shutdown");
  co_return Result<>();
}

}  // namespace

namespace detail {

Error ReadAwaiter::failed(std::int32_t count) const {
  return read_error(state_, count == 0 ? static_cast<int>(kEndOfStream) : -count);
}
Error WriteAwaiter::failed(std::int32_t count) const { return write_error(state_, -count); }

}  // namespace detail

ByteStream::ByteStream(Descriptor descriptor, std::string label, Ownership ownership)
    : state_(new detail::StreamState) {
  state_->descriptor = std::move(descriptor);
  state_->label = std::move(label);
  state_->socket = false;
  state_->poll_first = ownership == Ownership::shared;
  Reactor* reactor = Reactor::current();
  if (!state_->poll_first || fd() < 0 || reactor == nullptr) return;
  // A terminal that nobody reads says that it is ready and then keeps whoever writes more than it has room for. Its flags
  // are shared with strangers; those of another open file of the same terminal are our own.
  Descriptor own(reactor->system().open_terminal_again(fd()));
  if (!own) return;
  state_->terminal = true;
  state_->given = std::exchange(state_->descriptor, std::move(own));
}

ByteStream::ByteStream(Socket, Descriptor descriptor, const Address& peer, std::string label)
    : state_(new detail::StreamState) {
  state_->descriptor = std::move(descriptor);
  state_->peer = peer;
  state_->label = std::move(label);
}

ByteStream::ByteStream(Socket, Descriptor descriptor, Ownership ownership) : state_(new detail::StreamState) {
  state_->descriptor = std::move(descriptor);
  if (auto peer = detail::peer_address_of(fd())) state_->peer = *peer;
  // A non-blocking socket's operations would complete with EAGAIN at once.
  state_->poll_first =
      ownership == Ownership::shared || (Reactor::current()->system().status_flags(fd()) & O_NONBLOCK) != 0;
}

ByteStream::ByteStream(std::unique_ptr<detail::StreamFilter> filter, std::string label)
    : state_(new detail::StreamState) {
  state_->filter = std::move(filter);
  state_->label = std::move(label);
  state_->socket = false;
  state_->poll_first = true;  // no entry of its own goes to the kernel: all go through receive() and send()
}

ByteStream& ByteStream::operator=(ByteStream&& other) noexcept {
  if (this != &other) {
    reset();
    state_ = std::move(other.state_);
  }
  return *this;
}

void ByteStream::reset() noexcept {
  if (!state_) return;
  const StreamHold state = std::move(state_);
  state->close();
}

Task<Result<>> ByteStream::close() {
  Descriptor descriptor;
  if (state_) {
    StreamHold state = std::move(state_);
    state->closed = true;
    if (state->filter) {
      detail::StreamFilter& filter = *state->filter;
      return filter.close(std::move(state));
    }
    descriptor = std::move(state->descriptor);
    state->given.reset();
  }
  return io::close(std::move(descriptor));
}

Descriptor ByteStream::release() {
  if (!state_) return {};
  const StreamHold state = std::move(state_);
  HORUS_ASSERT(!state->reading && state->write_turn.available() == 1,
               "release() of a stream that a task is reading or writing");
  HORUS_ASSERT(!state->filter, "release() of a stream that is encrypted: its descriptor alone is of no use");
  state->closed = true;
  if (!state->terminal) return std::move(state->descriptor);
  state->descriptor.reset();
  return std::move(state->given);
}

Task<Result<std::size_t>> ByteStream::read(std::span<const MutableBytes> parts) const {
  return read_parts(state_, parts);
}
Task<Result<>> ByteStream::read_exact(MutableBytes into) const { return read_exactly(state_, into); }
Task<Result<std::string>> ByteStream::read_until(std::string delimiter, std::size_t limit) const {
  return read_to_delimiter(state_, std::move(delimiter), limit);
}
Task<Result<std::string>> ByteStream::read_line(std::size_t limit) const {
  return read_to_newline(state_, limit);
}
Task<Result<std::string>> ByteStream::read_all(std::size_t limit) const { return read_to_end(state_, limit); }
AsyncStream<Result<std::string>> ByteStream::lines(std::size_t limit) const {
  return each_line(state_, limit);
}
Task<Result<>> ByteStream::write_all(Bytes bytes) const { return write_everything(state_, bytes); }
Task<Result<>> ByteStream::write_all(std::span<const Bytes> parts) const {
  return write_parts(state_, parts);
}
Task<Result<>> ByteStream::write_text(StreamHold state, std::string text) {
  auto writing = write_everything(std::move(state), Bytes(text));
  auto result = co_await writing;
  co_return result;
}
Task<Result<>> ByteStream::shutdown_write() const { return shut_down(state_); }

}  // namespace horus::HORUS_ABI::io
