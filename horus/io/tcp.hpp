// SPDX-License-Identifier: Apache-2.0
// TCP: connecting to an address or the first of several that answers, listening, accepting. IPv4 and IPv6.
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

namespace horus::io {

/// When to look whether a silent peer is still there, and when to give it up (SO_KEEPALIVE, tcp(7)). Whole seconds.
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
  Duration timeout{0};  ///< for everything; a name's look-up is not cut short; 0: the kernel's, ~2 min
  Duration attempt_timeout{0};   ///< for each address; 0: none of its own
  std::optional<Address> local;  ///< bind to this address first

  ConnectOptions with_timeout(Duration limit) const { return changed(&ConnectOptions::timeout, limit); }
  ConnectOptions with_attempt_timeout(Duration limit) const {
    return changed(&ConnectOptions::attempt_timeout, limit);
  }
  ConnectOptions with_local(const Address& address) const {
    return changed(&ConnectOptions::local, std::optional(address));
  }
  ConnectOptions with_no_delay(bool on) const { return changed(&ConnectOptions::no_delay, on); }
  ConnectOptions with_keep_alive(KeepAlive settings) const {
    return changed(&ConnectOptions::keep_alive, std::optional(settings));
  }

 private:
  template <class Member, class T>
  [[nodiscard]] ConnectOptions changed(Member member, T value) const {
    ConnectOptions other = *this;
    other.*member = value;
    return other;
  }
};

/// Settings of a listener; accepted connections inherit those of the socket. `ListenOptions().with_reuse_port()`
struct ListenOptions : TcpOptions {
  ListenOptions() {}
  int backlog = 4096;             ///< connections that the kernel keeps for us; net.core.somaxconn bounds it
  std::size_t accept_queue = 64;  ///< accepted ahead of accept(); at least 1
  bool reuse_address = true;      ///< listen again while old connections of this port still linger
  bool reuse_port = false;        ///< several listeners share the port: the kernel spreads the connections
  bool only_v6 = false;           ///< an IPv6 listener that takes no IPv4 peers

  ListenOptions with_backlog(int count) const { return changed(&ListenOptions::backlog, count); }
  ListenOptions with_accept_queue(std::size_t count) const {
    return changed(&ListenOptions::accept_queue, count);
  }
  ListenOptions with_reuse_address(bool on) const { return changed(&ListenOptions::reuse_address, on); }
  ListenOptions with_reuse_port() const { return changed(&ListenOptions::reuse_port, true); }
  ListenOptions with_only_v6() const { return changed(&ListenOptions::only_v6, true); }

 private:
  template <class Member, class T>
  [[nodiscard]] ListenOptions changed(Member member, T value) const {
    ListenOptions other = *this;
    other.*member = value;
    return other;
  }
};

/// A TCP connection: a ByteStream with addresses and options.
///
/// Semantics and errors of reading and writing: see ByteStream.
/// Errors of connect: ECONNREFUSED, ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, EMFILE; EINVAL for what is no
/// address; the resolver's for names. The message names the address, and how many were tried.
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
  /// Over a connected socket that somebody else made; shared ones (see Ownership) are polled first.
  explicit TcpStream(Descriptor descriptor, Ownership ownership = Ownership::exclusive);

  /// To "host:port"; a name is resolved, and its addresses are tried in turn.
  static Task<Result<TcpStream>> connect(std::string host_and_port, ConnectOptions options = {});
  static Task<Result<TcpStream>> connect(Address address, ConnectOptions options = {});
  /// To the first of several addresses that answers.
  static Task<Result<TcpStream>> connect(std::vector<Address> addresses, ConnectOptions options = {});

  /// As it was when the connection was made.
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
  static Task<Result<TcpStream>> connect_name(std::string host, std::uint16_t port, ConnectOptions options);
  static Task<Result<TcpStream>> connect_any(std::vector<Address> addresses, ConnectOptions options,
                                             std::string name);
};

/// A listening TCP socket.
///
/// Semantics: `accept` takes connections in the order of their arrival; several tasks may wait. A few are accepted
/// ahead (ListenOptions::accept_queue). When the process runs out of descriptors, a connection at a time is closed so
/// that its peer learns of it, with a warning at most once a second, and accepting goes on after a pause.
/// Destroying or closing it ends waiting tasks with ECANCELED and closes what was accepted ahead.
/// Errors of listen: EADDRINUSE, EACCES, EADDRNOTAVAIL, EINVAL for what is no numeric address.
/// Thread safety: one thread; for several threads give each its own listener with reuse_port.
/// Example: `auto listener = horus::io::TcpListener::listen("0.0.0.0:9000").or_throw();`
/// Source: listen(2), accept(2).
class HORUS_API TcpListener {
 public:
  /// Owns nothing: accept fails with EBADF.
  TcpListener() noexcept = default;
  TcpListener(TcpListener&& other) noexcept = default;
  TcpListener& operator=(TcpListener&& other) noexcept;
  ~TcpListener() { reset(); }

  /// At a numeric address; port 0: the kernel chooses, `local_address()` tells.
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
  /// -1 when it owns none.
  [[nodiscard]] int fd() const noexcept { return acceptor_ ? acceptor_->fd() : -1; }
  /// Connections that were closed for want of a descriptor.
  [[nodiscard]] std::uint64_t refused() const noexcept { return acceptor_ ? acceptor_->refused() : 0; }

  /// Stops listening; when it has ended, the port is free.
  [[nodiscard]] Task<Result<>> close();
  /// Closes in the background.
  void reset() noexcept;

 private:
  static Task<Result<TcpStream>> accept_from(std::shared_ptr<detail::Acceptor> acceptor);
  static AsyncStream<Result<TcpStream>> accept_each(std::shared_ptr<detail::Acceptor> acceptor);

  std::shared_ptr<detail::Acceptor> acceptor_;
  Address local_;
};

}  // namespace horus::io
