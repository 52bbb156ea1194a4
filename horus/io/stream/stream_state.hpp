// SPDX-License-Identifier: Apache-2.0
// What a byte stream is behind its handle: descriptor, name, read buffer, whose turn it is. Every operation in flight
// holds a reference, so a stream may be moved or destroyed meanwhile. One thread; references are not atomic.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io::detail {

inline constexpr std::size_t kFirstBuffer = 4096;                  // bytes; doubled when a read fills it
inline constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;  // bytes of one entry
inline constexpr std::size_t kMaxParts = 16;                       // parts of one scatter-gather entry

struct StreamState;
class StreamHold;

/// What a stream sends its bytes through instead of a descriptor of its own: encryption over another stream. One thread.
class HORUS_API StreamFilter {
 public:
  StreamFilter() = default;
  StreamFilter(const StreamFilter&) = delete;
  StreamFilter& operator=(const StreamFilter&) = delete;
  virtual ~StreamFilter();

  /// As the functions of the same names below: the count, or -errno. `self` is the stream of this filter.
  virtual Task<std::int32_t> receive(StreamHold self, MutableBytes into) = 0;
  virtual Task<std::int32_t> send(StreamHold self, Bytes bytes) = 0;
  /// The same, of several pieces as if they were one; `parts` itself lives as long as they do, and is not empty.
  virtual Task<std::int32_t> send_parts(StreamHold self, std::span<const iovec> parts) = 0;
  /// Says that no more bytes will come: 0, or -errno.
  virtual Task<std::int32_t> end_writing(StreamHold self) = 0;
  /// Says so and closes what is below, within a limit of its own.
  virtual Task<Result<>> close(StreamHold self) = 0;
  /// Closes what is below at once: operations in flight end with ECANCELED.
  virtual void abandon() noexcept = 0;
  /// Why `code` came out of it, for a person; empty when there is no more to say.
  [[nodiscard]] virtual std::string reason(int code) const = 0;
};

struct HORUS_API StreamState {
  std::uint32_t references = 0;
  bool socket = true;       // RECV and SEND; otherwise READ and WRITE
  bool poll_first = false;  // adopted: its flags belong to strangers, so wait before each attempt
  bool closed = false;      // the handle is gone; operations end with ECANCELED
  bool reading = false;
  bool end_seen = false;       // the end came together with data: the next read reports it
  bool filled = false;         // the last receive left no room: a larger buffer saves calls
  bool skipping_line = false;  // the rest of a line that was too long
  bool terminal = false;       // of others: `descriptor` is our own open file of it
  OwnerThread owner;
  Descriptor descriptor;
  std::unique_ptr<StreamFilter> filter;  // null: the descriptor itself
  Descriptor given;                      // what `descriptor` stands for, where that is a terminal
  Address peer;
  std::string label;
  Semaphore write_turn{1};
  std::unique_ptr<std::byte[]> buffer;
  std::size_t capacity = 0, begin = 0, end = 0;
  std::size_t buffer_limit = std::size_t{64} << 10;

  [[nodiscard]] int fd() const noexcept { return descriptor.get(); }
  [[nodiscard]] std::string name() const;
  [[nodiscard]] Error error(int code, const char* operation, std::string_view detail = {}) const;
  /// The handle is gone: everything in flight is cancelled, the descriptor closed in the background.
  void close() noexcept {
    closed = true;
    if (filter) filter->abandon();
    descriptor.reset();
    given.reset();
  }

  // The read buffer.
  [[nodiscard]] std::size_t buffered() const noexcept { return end - begin; }
  [[nodiscard]] std::string_view view() const noexcept {
    return {reinterpret_cast<const char*>(buffer.get()) + begin, end - begin};
  }
  std::size_t take(MutableBytes into) noexcept {
    const std::size_t count = buffered() < into.size() ? buffered() : into.size();
    if (count > 0) std::memcpy(into.data(), buffer.get() + begin, count);
    consume(count);
    return count;
  }
  void consume(std::size_t count) noexcept {
    begin += count;
    if (begin == end) begin = end = 0;
  }
  /// Free room behind what is buffered, at least one byte. The buffer grows when it is full or `wanted` bytes in all
  /// would not fit, up to `bound` or the stream's own limit, whichever is more.
  MutableBytes room(std::size_t wanted, std::size_t bound);
  /// Gives bytes back that were read but not delivered: the next read starts with them.
  void unread(Bytes bytes);

 private:
  void move_to(std::size_t new_capacity, std::size_t offset);
};

/// A counted reference to a StreamState.
class StreamHold {
 public:
  StreamHold() noexcept {}
  explicit StreamHold(StreamState* state) noexcept : state_(state) {
    if (state_ != nullptr) ++state_->references;
  }
  StreamHold(const StreamHold& other) noexcept : StreamHold(other.state_) {}
  StreamHold(StreamHold&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  StreamHold& operator=(StreamHold other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~StreamHold() {
    if (state_ != nullptr && --state_->references == 0) delete state_;
  }
  StreamState* operator->() const noexcept { return state_; }
  StreamState& operator*() const noexcept { return *state_; }
  explicit operator bool() const noexcept { return state_ != nullptr; }

 private:
  StreamState* state_ = nullptr;
};

// Only a cancellation interrupts an operation of the ring.
inline std::int32_t transferred(std::int32_t result) noexcept {
  return result == -EINTR ? -ECANCELED : result;
}

inline constexpr std::uint32_t kSendWhole = MSG_WAITALL | MSG_NOSIGNAL;
/// How many of `size` bytes go into one entry.
inline std::uint32_t entry_bytes(std::size_t size) noexcept {
  return static_cast<std::uint32_t>(size < kMaxTransfer ? size : kMaxTransfer);
}

// --- Entries. Each gives the count, or -errno. --------------------------------------------------------------------

class Receive : public OperationAwaiter<Receive> {
 public:
  static constexpr const char* kName = "read";
  Receive(const StreamState& state, MutableBytes into) noexcept
      : OperationAwaiter(state.fd()), into_(into), socket_(state.socket) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    if (socket_) {
      fill::receive(entry, fd, into_.data(), entry_bytes(into_.size()));
    } else {
      fill::read(entry, fd, into_.data(), entry_bytes(into_.size()), fill::kOwnPosition);
    }
  }
  [[nodiscard]] std::int32_t await_resume() const noexcept { return transferred(result); }

 private:
  MutableBytes into_;
  bool socket_;
};

class Send : public OperationAwaiter<Send> {
 public:
  static constexpr const char* kName = "write";
  Send(const StreamState& state, Bytes bytes) noexcept
      : OperationAwaiter(state.fd()), bytes_(bytes), socket_(state.socket) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    if (socket_) {
      fill::send(entry, fd, bytes_.data(), entry_bytes(bytes_.size()), kSendWhole);
    } else {
      fill::write(entry, fd, bytes_.data(), entry_bytes(bytes_.size()), fill::kOwnPosition);
    }
  }
  [[nodiscard]] std::int32_t await_resume() const noexcept { return transferred(result); }

 private:
  Bytes bytes_;
  bool socket_;
};

/// SENDMSG or RECVMSG of a message that the awaiting frame owns.
class MessageTransfer : public OperationAwaiter<MessageTransfer> {
 public:
  static constexpr const char* kName = "message";
  MessageTransfer(int descriptor, bool send, msghdr& message, std::uint32_t message_flags) noexcept
      : OperationAwaiter(descriptor), message_(message), message_flags_(message_flags), send_(send) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    if (send_) {
      fill::send_message(entry, fd, message_, message_flags_);
    } else {
      fill::receive_message(entry, fd, message_, message_flags_);
    }
  }
  [[nodiscard]] std::int32_t await_resume() const noexcept { return transferred(result); }

 private:
  msghdr& message_;
  std::uint32_t message_flags_;
  bool send_;
};

/// Scatter-gather. The vector belongs to the awaiting frame; the message header lives here.
class VectorTransfer : public OperationAwaiter<VectorTransfer> {
 public:
  static constexpr const char* kName = "transfer";
  VectorTransfer(const StreamState& state, bool write, std::span<iovec> parts) noexcept
      : OperationAwaiter(state.fd()), parts_(parts), socket_(state.socket), write_(write) {
    message_.msg_iov = parts.data();
    message_.msg_iovlen = parts.size();
  }
  void prepare(io_uring_sqe& entry) noexcept {
    const auto count = static_cast<std::uint32_t>(parts_.size());
    if (socket_ && write_) {
      fill::send_message(entry, fd, message_, kSendWhole);
    } else if (socket_) {
      fill::receive_message(entry, fd, message_, 0);
    } else if (write_) {
      fill::write_vectors(entry, fd, parts_.data(), count, fill::kOwnPosition);
    } else {
      fill::read_vectors(entry, fd, parts_.data(), count, fill::kOwnPosition);
    }
  }
  [[nodiscard]] std::int32_t await_resume() const noexcept { return transferred(result); }

 private:
  msghdr message_{};
  std::span<iovec> parts_;
  bool socket_;
  bool write_;
};

/// One receive; waits for readability first where the descriptor asks for that. The count, or -errno.
HORUS_API Task<std::int32_t> receive(StreamHold state, MutableBytes into);
/// One send; the same.
HORUS_API Task<std::int32_t> send(StreamHold state, Bytes bytes);
/// One scatter-gather transfer of at least one part; the same.
Task<std::int32_t> transfer(StreamHold state, bool write, std::span<iovec> parts);
/// Waits for the turn to write. False when cancelled.
Task<bool> wait_for_turn(StreamHold state);

/// Gives the turn to write back.
class WriteTurn {
 public:
  explicit WriteTurn(StreamState& state) noexcept : state_(state) {}
  WriteTurn(const WriteTurn&) = delete;
  WriteTurn& operator=(const WriteTurn&) = delete;
  ~WriteTurn() { state_.write_turn.release(); }

 private:
  StreamState& state_;
};

/// Marks a stream as being read for a block.
class ReadTurn {
 public:
  explicit ReadTurn(StreamState& state) noexcept : state_(state) { state_.reading = true; }
  ReadTurn(const ReadTurn&) = delete;
  ReadTurn& operator=(const ReadTurn&) = delete;
  ~ReadTurn() { state_.reading = false; }

 private:
  StreamState& state_;
};

}  // namespace horus::HORUS_ABI::io::detail
