// SPDX-License-Identifier: Apache-2.0
// TCP: connecting to an address or a host name, listening, accepting. IPv4 and IPv6.
// Streams and listeners belong to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
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

/// When to probe a silent peer, and when to give it up (SO_KEEPALIVE, tcp(7)). Whole seconds.
struct KeepAlive {
  explicit KeepAlive(Duration idle_time = std::chrono::seconds(60),
                     Duration probe_interval = std::chrono::seconds(10), int probes = 6) noexcept
      : idle(idle_time), interval(probe_interval), count(probes) {}
  Duration idle;
  Duration interval;
  int count;
};

/// Settings of a TCP socket, set before it connects or listens.
struct TcpOptions {
  TcpOptions() {}
  bool no_delay = true;                 ///< send small writes at once (TCP_NODELAY)
  std::optional<KeepAlive> keep_alive;  ///< off unless set
  int send_buffer = 0;                  ///< bytes, SO_SNDBUF; 0: the system's default
  int receive_buffer = 0;               ///< bytes, SO_RCVBUF; 0: the system's default
};

/// Settings of a connect. `ConnectOptions().with_timeout(2s)`
struct ConnectOptions : TcpOptions {
  ConnectOptions() {}
  /// For the whole connect, the look-up of a name included; 0: the kernel's limit, about 2 min.
  Duration timeout{0};
  /// For each address; 0: no separate limit.
  Duration attempt_timeout{0};
  /// How long to try one address before trying the next one as well; 0: only after it has failed.
  Duration attempt_delay{std::chrono::milliseconds(250)};
  std::optional<Address> local;  ///< the local address to bind first

  ConnectOptions& with_timeout(Duration limit) & { return timeout = limit, *this; }
  ConnectOptions& with_attempt_timeout(Duration limit) & { return attempt_timeout = limit, *this; }
  ConnectOptions& with_attempt_delay(Duration head_start) & { return attempt_delay = head_start, *this; }
  ConnectOptions& with_local(const Address& address) & { return local = address, *this; }
  ConnectOptions& with_no_delay(bool on) & { return no_delay = on, *this; }
  ConnectOptions& with_keep_alive(KeepAlive settings) & { return keep_alive = settings, *this; }
  [[nodiscard]] ConnectOptions with_timeout(Duration limit) && { return with_timeout(limit); }
  [[nodiscard]] ConnectOptions with_attempt_timeout(Duration limit) && { return with_attempt_timeout(limit); }
  [[nodiscard]] ConnectOptions with_attempt_delay(Duration head_start) && {
    return with_attempt_delay(head_start);
  }
  [[nodiscard]] ConnectOptions with_local(const Address& address) && { return with_local(address); }
  [[nodiscard]] ConnectOptions with_no_delay(bool on) && { return with_no_delay(on); }
  [[nodiscard]] ConnectOptions with_keep_alive(KeepAlive settings) && { return with_keep_alive(settings); }
};

/// Settings of a listener; accepted connections inherit its socket settings. `ListenOptions().with_reuse_port()`
struct ListenOptions : TcpOptions {
  ListenOptions() {}
  int backlog = 4096;             ///< connections that the kernel queues; net.core.somaxconn limits it
  std::size_t accept_queue = 64;  ///< connections accepted before accept() is called; at least 1
  bool reuse_address = true;      ///< listen again while old connections of this port still linger
  bool reuse_port = false;        ///< several listeners share the port: the kernel spreads the connections
  bool only_v6 = false;           ///< an IPv6 listener that takes no IPv4 peers

  ListenOptions& with_backlog(int count) & { return backlog = count, *this; }
  ListenOptions& with_accept_queue(std::size_t count) & { return accept_queue = count, *this; }
  ListenOptions& with_reuse_address(bool on) & { return reuse_address = on, *this; }
  ListenOptions& with_reuse_port() & { return reuse_port = true, *this; }
  ListenOptions& with_only_v6() & { return only_v6 = true, *this; }
  [[nodiscard]] ListenOptions with_backlog(int count) && { return with_backlog(count); }
  [[nodiscard]] ListenOptions with_accept_queue(std::size_t count) && { return with_accept_queue(count); }
  [[nodiscard]] ListenOptions with_reuse_address(bool on) && { return with_reuse_address(on); }
  [[nodiscard]] ListenOptions with_reuse_port() && { return with_reuse_port(); }
  [[nodiscard]] ListenOptions with_only_v6() && { return with_only_v6(); }
};

/// A TCP connection: a ByteStream with addresses and options.
///
/// Semantics and errors of reading and writing: see ByteStream.
/// Errors of connect: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EMFILE; EINVAL for an
/// invalid address; those of the resolver for names. The message names the address, and how many were tried.
/// Thread safety: one thread.
/// Example:
/// ```
/// auto stream = co_await horus::io::TcpStream::connect("127.0.0.1:9000");
/// if (!stream) co_return stream.error();
/// auto sent = co_await stream->write_all("hello\n");
/// ```
/// Source: tcp(7), connect(2), RFC 9293.
class HORUS_API TcpStream : public ByteStream {
 public:
  TcpStream() noexcept = default;
  /// Uses a connected socket that other code opened; a shared one (see Ownership) is polled first.
  explicit TcpStream(Descriptor descriptor, Ownership ownership = Ownership::exclusive);

  /// Connects to "host:port"; a name is resolved. Its IPv4 and IPv6 addresses are tried alternately, each 250 ms
  /// after the previous one or as soon as that has failed. The first connection wins (RFC 8305), so an address family
  /// that does not work here costs a quarter of a second.
  static Task<Result<TcpStream>> connect(std::string host_and_port, ConnectOptions options = {});
  static Task<Result<TcpStream>> connect(Address address, ConnectOptions options = {});
  /// Connects to one of several addresses. They are tried in this order, each with the same head start, and the first
  /// connection wins.
  static Task<Result<TcpStream>> connect(std::vector<Address> addresses, ConnectOptions options = {});

  /// The peer's address when the connection was made.
  [[nodiscard]] const Address& peer_address() const noexcept;
  [[nodiscard]] Result<Address> local_address() const;
  Result<> set_no_delay(bool on);
  Result<> set_keep_alive(const KeepAlive& settings);
  Result<> set_keep_alive(bool on);

 private:
  friend class TcpListener;
  TcpStream(Descriptor descriptor, const Address& peer)
      : ByteStream(Socket::yes, std::move(descriptor), peer, {}) {}
  static Task<Result<TcpStream>> connect_one(const Address& address, const ConnectOptions& options);
  static Task<Result<TcpStream>> try_one(const Address& address, const ConnectOptions& options,
                                         const std::string& name, std::size_t addresses);
  static Task<Result<TcpStream>> race(const std::vector<Address>& addresses, const ConnectOptions& options,
                                      const std::string& name);
  static Task<Result<TcpStream>> connect_name(std::string host, std::uint16_t port, ConnectOptions options);
  static Task<Result<TcpStream>> connect_any(std::vector<Address> addresses, ConnectOptions options,
                                             std::string name);
};

/// A listening TCP socket.
///
/// Semantics: `accept` takes connections in the order of their arrival; several tasks may wait. A few are accepted
/// ahead (ListenOptions::accept_queue). When the process runs out of descriptors, it closes one connection at a time
/// so that the peer learns of the refusal, logs a warning at most once a second, and resumes accepting after a pause.
/// Destroying or closing the listener ends waiting tasks with ECANCELED and closes the connections that were accepted
/// ahead.
/// Errors of listen: EADDRINUSE, EACCES, EADDRNOTAVAIL, EINVAL for an address that is not numeric.
/// Thread safety: one thread; for several threads give each its own listener with reuse_port.
/// Example: `auto listener = horus::io::TcpListener::listen("0.0.0.0:9000").or_throw();`
/// Source: listen(2), accept(2).
class HORUS_API TcpListener {
 public:
  /// A listener without a socket: accept fails with EBADF.
  TcpListener() noexcept = default;
  TcpListener(TcpListener&& other) noexcept = default;
  TcpListener& operator=(TcpListener&& other) noexcept;
  ~TcpListener() { reset(); }

  /// Listens at a numeric address. With port 0 the kernel chooses one; `local_address()` gives it.
  static Result<TcpListener> listen(std::string_view address, const ListenOptions& options = {});
  static Result<TcpListener> listen(const Address& address, const ListenOptions& options = {});

  /// The next connection.
  [[nodiscard]] Task<Result<TcpStream>> accept() const;
  /// Connections until accepting fails; that failure is the last value.
  [[nodiscard]] AsyncStream<Result<TcpStream>> connections() const;

  [[nodiscard]] const Address& local_address() const noexcept { return local_; }
  [[nodiscard]] std::uint16_t port() const noexcept { return local_.port(); }
  [[nodiscard]] bool is_open() const noexcept { return acceptor_ != nullptr; }
  explicit operator bool() const noexcept { return is_open(); }
  /// The descriptor; -1 when there is none.
  [[nodiscard]] int fd() const noexcept { return acceptor_ ? acceptor_->fd() : -1; }
  /// Connections that were closed because no descriptor was left.
  [[nodiscard]] std::uint64_t refused() const noexcept { return acceptor_ ? acceptor_->refused() : 0; }

  /// Stops listening. The port is free when the call has completed.
  [[nodiscard]] Task<Result<>> close();
  /// Closes in the background.
  void reset() noexcept;

 private:
  static Task<Result<TcpStream>> accept_from(std::shared_ptr<detail::Acceptor> acceptor);
  static AsyncStream<Result<TcpStream>> accept_each(std::shared_ptr<detail::Acceptor> acceptor);

  std::shared_ptr<detail::Acceptor> acceptor_;
  Address local_;
};

}  // namespace horus::HORUS_ABI::io
