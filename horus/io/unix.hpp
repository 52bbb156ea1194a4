// SPDX-License-Identifier: Apache-2.0
// Unix stream sockets between processes of one machine: by path or abstract name, or as a pair. They also carry open
// descriptors. Streams and listeners belong to one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/acceptor.hpp>
#include <horus/io/address.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/task/async_stream.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// The limit on descriptors in one message. (The kernel's own limit is 253.)
inline constexpr std::size_t kMaxPassedDescriptors = 64;

/// Bytes, and the descriptors that came with them (close-on-exec, owned).
struct ReceivedDescriptors {
  ReceivedDescriptors() {}
  std::size_t size = 0;  ///< bytes in the buffer
  std::vector<Descriptor> descriptors;
};

/// A connected Unix stream socket: a ByteStream that also carries descriptors.
///
/// Semantics and errors of reading and writing: see ByteStream. A name is a path, "unix:/path", or "@abstract" as
/// "unix:@abstract". Descriptors travel with the bytes of one send. A plain read of those bytes closes them unseen,
/// so use `recv_descriptors` where descriptors are expected, with message boundaries to match.
/// Errors of connect: ENOENT, ECONNREFUSED (no listener behind that file any more), EACCES, ENAMETOOLONG.
/// Thread safety: one thread.
/// Example:
/// ```
/// auto [near, far] = horus::io::UnixStream::pair().or_throw();
/// auto sent = co_await near.send_descriptor(camera_fd, "frame");
/// ```
/// Source: unix(7), cmsg(3).
class HORUS_API UnixStream : public ByteStream {
 public:
  UnixStream() noexcept = default;
  /// Uses a connected socket that other code opened; a shared one (see Ownership) is polled first.
  explicit UnixStream(Descriptor descriptor, Ownership ownership = Ownership::exclusive);

  static Task<Result<UnixStream>> connect(std::string name, Duration timeout = Duration::zero());
  static Task<Result<UnixStream>> connect(Address address, Duration timeout = Duration::zero());
  /// Two streams that are connected with each other.
  static Result<std::pair<UnixStream, UnixStream>> pair();

  [[nodiscard]] const Address& peer_address() const noexcept;
  [[nodiscard]] Result<Address> local_address() const;

  /// Sends copies of open descriptors with at least one byte, after all earlier writes; the caller's descriptors stay
  /// open. Errors: EINVAL without a byte or beyond kMaxPassedDescriptors; EBADF; ETOOMANYREFS.
  [[nodiscard]] Task<Result<>> send_descriptors(std::span<const int> descriptors, Bytes bytes) const;
  [[nodiscard]] Task<Result<>> send_descriptor(int descriptor, Bytes bytes = Bytes("\n")) const;
  /// Bytes as `read` would give them, and the descriptors that came with them, possibly none. Errors: those of read;
  /// EMSGSIZE when more than `most` descriptors came, or the process had no room for them: all of them are closed,
  /// and the bytes stay in the stream.
  [[nodiscard]] Task<Result<ReceivedDescriptors>> recv_descriptors(
      MutableBytes into, std::size_t most = kMaxPassedDescriptors) const;
  /// One byte and its one descriptor. kBadInput when the byte came without a descriptor.
  [[nodiscard]] Task<Result<Descriptor>> recv_descriptor() const;

 private:
  friend class UnixListener;
  UnixStream(Descriptor descriptor, const Address& peer, std::string label)
      : ByteStream(Socket::yes, std::move(descriptor), peer, std::move(label)) {}
  static Task<Result<UnixStream>> connect_to(Address address, Duration timeout);
};

/// Settings of a Unix listener.
struct UnixListenOptions {
  UnixListenOptions() {}
  int backlog = 4096;             ///< connections that the kernel queues; net.core.somaxconn limits it
  std::size_t accept_queue = 64;  ///< connections accepted before accept() is called; at least 1
};

/// A listening Unix stream socket; TcpListener describes how it accepts.
///
/// Semantics: the path must not exist yet, and stays when the listener is closed; `replace` first removes a socket
/// file that no listener uses any more. Abstract names disappear by themselves.
/// Errors of listen: EADDRINUSE (the file or name exists), EACCES, ENOENT (no such directory), ENAMETOOLONG.
/// Thread safety: one thread.
/// Example: `auto listener = horus::io::UnixListener::listen("/run/rover.sock").or_throw();`
class HORUS_API UnixListener {
 public:
  /// A listener without a socket: accept fails with EBADF.
  UnixListener() noexcept = default;
  UnixListener(UnixListener&& other) noexcept = default;
  UnixListener& operator=(UnixListener&& other) noexcept;
  ~UnixListener() { reset(); }

  static Result<UnixListener> listen(std::string_view name, const UnixListenOptions& options = {});
  static Result<UnixListener> listen(const Address& address, const UnixListenOptions& options = {});
  /// The same, but first removes the file of an earlier program, provided that it is a socket that refuses
  /// connections.
  static Task<Result<UnixListener>> replace(std::string name, UnixListenOptions options = {});

  [[nodiscard]] Task<Result<UnixStream>> accept() const;
  /// Connections until accepting fails; that failure is the last value.
  [[nodiscard]] AsyncStream<Result<UnixStream>> connections() const;

  [[nodiscard]] const Address& local_address() const noexcept { return local_; }
  [[nodiscard]] bool is_open() const noexcept { return acceptor_ != nullptr; }
  explicit operator bool() const noexcept { return is_open(); }
  /// The descriptor; -1 when there is none.
  [[nodiscard]] int fd() const noexcept { return acceptor_ ? acceptor_->fd() : -1; }
  [[nodiscard]] Task<Result<>> close();
  /// Closes in the background.
  void reset() noexcept;

 private:
  static Task<Result<UnixStream>> accept_from(std::shared_ptr<detail::Acceptor> acceptor, std::string name);
  static AsyncStream<Result<UnixStream>> accept_each(std::shared_ptr<detail::Acceptor> acceptor,
                                                     std::string name);

  std::shared_ptr<detail::Acceptor> acceptor_;
  Address local_;
};

namespace detail {

/// "/path", "@abstract", "unix:/path" or "unix:@abstract".
HORUS_API Result<Address> unix_address(std::string_view name);

}  // namespace detail
}  // namespace horus::HORUS_ABI::io
