// SPDX-License-Identifier: Apache-2.0
// A bidirectional stream of bytes: the base of TCP and Unix streams and of the ends of pipes, FIFOs and terminals.
// A stream belongs to one thread; the caller's buffers must live until the awaited call has ended.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/stream/stream_state.hpp>
#include <horus/task/async_stream.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {

// One read into the caller's memory; without a frame of its own on sockets that Horus opened.
class ReadAwaiter : public OperationAwaiter<ReadAwaiter> {
 public:
  static constexpr const char* kName = "read";
  ReadAwaiter(StreamHold state, MutableBytes into) noexcept : state_(std::move(state)), into_(into) {}
  ReadAwaiter(const ReadAwaiter&) = delete;
  ReadAwaiter& operator=(const ReadAwaiter&) = delete;
  // Also of a frame that is freed instead of resumed (a dropped AsyncStream's).
  ~ReadAwaiter() {
    if (reading_) state_->reading = false;
  }

  bool await_ready() noexcept {
    if (!state_ || state_->closed) return finish(-EBADF);
    state_->owner.check("stream");
    if (state_->reading) return finish(-EBUSY);
    if (state_->buffered() > 0 || into_.empty()) {
      return finish(static_cast<std::int32_t>(
          state_->take(into_.first(into_.size() < kMaxTransfer ? into_.size() : kMaxTransfer))));
    }
    if (std::exchange(state_->end_seen, false)) return finish(0);
    return false;
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    state_->reading = reading_ = true;
    if (state_->socket && !state_->poll_first) [[likely]] {
      fd = state_->fd();
      OperationAwaiter::await_suspend(awaiting);
      return true;
    }
    patient_ = receive(state_, into_);
    return patient_.operator co_await().await_suspend(awaiting);
  }
  void prepare(io_uring_sqe& entry) const noexcept {
    fill::receive(entry, fd, into_.data(), entry_bytes(into_.size()));
  }
  Result<std::size_t> await_resume() {
    if (std::exchange(reading_, false)) state_->reading = false;
    const std::int32_t count = patient_.valid() ? patient_.outcome().take() : transferred(result);
    if (count > 0) [[likely]]
      return static_cast<std::size_t>(count);
    if (count == 0 && into_.empty()) return std::size_t{0};
    return failed(count);
  }

 private:
  bool finish(std::int32_t count) noexcept {
    result = count;
    return true;
  }
  [[nodiscard]] HORUS_API Error failed(std::int32_t count) const;

  StreamHold state_;
  MutableBytes into_;
  Task<std::int32_t> patient_;
  bool reading_ = false;
};

// One write of the caller's memory; holds the turn to write meanwhile.
class WriteAwaiter : public OperationAwaiter<WriteAwaiter> {
 public:
  static constexpr const char* kName = "write";
  WriteAwaiter(StreamHold state, Bytes bytes) noexcept : state_(std::move(state)), bytes_(bytes) {}
  WriteAwaiter(const WriteAwaiter&) = delete;
  WriteAwaiter& operator=(const WriteAwaiter&) = delete;
  ~WriteAwaiter() {
    if (turn_) state_->write_turn.release();
  }

  bool await_ready() noexcept {
    if (!state_ || state_->closed) return finish(-EBADF);
    state_->owner.check("stream");
    if (bytes_.empty()) return finish(0);
    turn_ = state_->write_turn.try_acquire();
    return turn_ ? false : finish(-EBUSY);
  }
  template <class Promise>
  bool await_suspend(std::coroutine_handle<Promise> awaiting) noexcept {
    if (state_->socket && !state_->poll_first) [[likely]] {
      fd = state_->fd();
      OperationAwaiter::await_suspend(awaiting);
      return true;
    }
    patient_ = send(state_, bytes_);
    return patient_.operator co_await().await_suspend(awaiting);
  }
  void prepare(io_uring_sqe& entry) const noexcept {
    fill::send(entry, fd, bytes_.data(), entry_bytes(bytes_.size()), kSendWhole);
  }
  Result<std::size_t> await_resume() {
    if (std::exchange(turn_, false)) state_->write_turn.release();
    const std::int32_t count = patient_.valid() ? patient_.outcome().take() : transferred(result);
    if (count >= 0) [[likely]]
      return static_cast<std::size_t>(count);
    return failed(count);
  }

 private:
  bool finish(std::int32_t count) noexcept {
    result = count;
    return true;
  }
  [[nodiscard]] HORUS_API Error failed(std::int32_t count) const;

  StreamHold state_;
  Bytes bytes_;
  Task<std::int32_t> patient_;
  bool turn_ = false;
};

// What `read` and `write` return: a value that may move until it is awaited.
template <class Awaiter, class View>
class [[nodiscard]] Transfer {
 public:
  using value_type = Result<std::size_t>;
  Transfer(StreamHold state, View bytes) noexcept : state_(std::move(state)), bytes_(bytes) {}
  Awaiter operator co_await() noexcept { return Awaiter(std::move(state_), bytes_); }
  /// The same as a task: for with_timeout, when_any, spawn.
  Task<value_type> as_task() && { return run(std::move(state_), bytes_); }

 private:
  static Task<value_type> run(StreamHold state, View bytes) {
    Awaiter awaiter(std::move(state), bytes);
    auto result = co_await awaiter;
    co_return result;
  }
  StreamHold state_;
  View bytes_;
};

}  // namespace detail

/// How to treat a descriptor that other code opened.
enum class Ownership : std::uint8_t {
  exclusive,  ///< opened for this stream alone
  /// stdin, inherited or received: other programs share its flags, so the stream never changes them and polls first.
  shared,
};

/// A stream of bytes: TCP, Unix, pipe, FIFO, terminal, and TLS over any of these.
///
/// Semantics: one task may read at a time. Any number of `write_all` calls may wait: each is sent whole, in the order
/// of the calls. The buffered reads (`read_exact`, `read_until`, `read_line`, `read_all`) deliver all or nothing:
/// when one fails, is cancelled or times out, the bytes that it received stay in the stream, and the next read starts
/// with them. A cancelled write may have sent some of its bytes; its error says how many. Destroying, assigning to or
/// closing the stream ends pending calls of other tasks with ECANCELED; moving it does not disturb them.
/// Errors: kEndOfStream after the peer's last byte; EBUSY when another task is reading; ECONNRESET, EPIPE; EMSGSIZE
/// beyond a limit; ECANCELED; EBADF on a stream that is not open.
/// Thread safety: one thread.
/// Example:
/// ```
/// auto line = co_await stream.read_line();
/// if (!line) co_return line.error();
/// auto sent = co_await stream.write_all("ok\n");
/// ```
/// Source: recv(2), send(2), read(2), pipe(7), tcp(7).
class HORUS_API ByteStream {
 public:
  using ReadRequest = detail::Transfer<detail::ReadAwaiter, MutableBytes>;
  using WriteRequest = detail::Transfer<detail::WriteAwaiter, Bytes>;
  /// The default limit of read_line and of reading ahead, in bytes.
  static constexpr std::size_t kBufferLimit = std::size_t{64} << 10;
  /// The default limit of read_all, in bytes.
  static constexpr std::size_t kReadAllLimit = std::size_t{64} << 20;

  /// A stream without a descriptor: every call fails with EBADF.
  ByteStream() noexcept = default;
  /// A pipe, FIFO, terminal or any other descriptor for read(2) and write(2); `label` names it in error messages.
  explicit ByteStream(Descriptor descriptor, std::string label = {},
                      Ownership ownership = Ownership::exclusive);
  ByteStream(ByteStream&& other) noexcept = default;
  ByteStream& operator=(ByteStream&& other) noexcept;
  ~ByteStream() { reset(); }

  /// Waits for bytes and takes those that have arrived: at least 1, at most the buffer's size. An empty buffer gives
  /// 0 at once.
  [[nodiscard]] ReadRequest read(MutableBytes into) const noexcept { return {state_, into}; }
  /// The same, spread over several buffers (RECVMSG, READV); `parts` itself must live as long as they do.
  [[nodiscard]] Task<Result<std::size_t>> read(std::span<const MutableBytes> parts) const;
  /// Fills the whole buffer. kEndOfStream when the stream ends before.
  [[nodiscard]] Task<Result<>> read_exact(MutableBytes into) const;
  /// Everything up to and including `delimiter`. EMSGSIZE when `limit` bytes do not contain it: the bytes stay in the
  /// stream, so read them in another way or call again with a higher limit. kEndOfStream when the stream ends first.
  [[nodiscard]] Task<Result<std::string>> read_until(std::string delimiter,
                                                     std::size_t limit = kBufferLimit) const;
  /// The next line without its \n or \r\n. A last line without \n counts. A line of more than `limit` bytes gives
  /// EMSGSIZE and is dropped as a whole: the next read_line gives the line after it.
  [[nodiscard]] Task<Result<std::string>> read_line(std::size_t limit = kBufferLimit) const;
  /// Everything up to the end of the stream. EMSGSIZE when there are more than `limit` bytes; they stay in the
  /// stream.
  [[nodiscard]] Task<Result<std::string>> read_all(std::size_t limit = kReadAllLimit) const;
  /// Lines until the end of the stream. A line that is too long arrives as a failed Result, and the lines after it
  /// still follow. Any other failure is the last value.
  [[nodiscard]] AsyncStream<Result<std::string>> lines(std::size_t limit = kBufferLimit) const;

  /// One write. Gives the number of bytes that were accepted: all of them unless the write was cut short. EBUSY when
  /// another task is writing.
  [[nodiscard]] WriteRequest write(Bytes bytes) const noexcept { return {state_, bytes}; }
  /// Writes everything, after all earlier write calls.
  [[nodiscard]] Task<Result<>> write_all(Bytes bytes) const;
  /// The same; a temporary string is moved into the task.
  template <std::same_as<std::string> Text>
  [[nodiscard]] Task<Result<>> write_all(Text&& text) const {
    return write_text(state_, std::move(text));
  }
  /// Several buffers one after the other, gathered into as few entries as possible (SENDMSG, WRITEV); `parts` itself
  /// must live as long as the buffers.
  [[nodiscard]] Task<Result<>> write_all(std::span<const Bytes> parts) const;
  /// Tells the peer, after all earlier writes, that no more bytes will come. ENOTSOCK on a pipe: close the pipe
  /// instead.
  [[nodiscard]] Task<Result<>> shutdown_write() const;

  /// Ends operations in flight with ECANCELED and closes the stream; returns the error of the close itself. The
  /// stream is empty at once.
  [[nodiscard]] Task<Result<>> close();
  /// Closes in the background.
  void reset() noexcept;
  /// Gives the descriptor away. No operation may be in flight. Bytes that were read ahead are lost; `buffered()`
  /// gives their number.
  [[nodiscard]] Descriptor release();

  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(state_); }
  explicit operator bool() const noexcept { return is_open(); }
  /// The descriptor; -1 when there is none, and of an encrypted stream.
  [[nodiscard]] int fd() const noexcept { return state_ ? state_->fd() : -1; }
  /// The name in error messages, such as "127.0.0.1:9000".
  [[nodiscard]] std::string name() const { return state_ ? state_->name() : "(not open)"; }
  /// The number of bytes that were received and not yet read.
  [[nodiscard]] std::size_t buffered() const noexcept { return state_ ? state_->buffered() : 0; }
  /// The limit for reading ahead, in bytes; memory is allocated when it is needed. Default: kBufferLimit.
  void set_buffer_limit(std::size_t limit) noexcept {
    if (state_) state_->buffer_limit = limit;
  }

 protected:
  enum class Socket : bool { yes = true };
  ByteStream(Socket, Descriptor descriptor, const Address& peer, std::string label);
  /// A socket that other code opened: determines its peer, and whether it is non-blocking.
  ByteStream(Socket, Descriptor descriptor, Ownership ownership);
  /// Over another stream.
  ByteStream(std::unique_ptr<detail::StreamFilter> filter, std::string label);

  detail::StreamHold state_;

 private:
  static Task<Result<>> write_text(detail::StreamHold state, std::string text);
};

}  // namespace horus::HORUS_ABI::io
