// SPDX-License-Identifier: Apache-2.0
// UDP: datagrams to and from one peer or any address; broadcast and multicast; IPv4 and IPv6.
// A socket belongs to the thread that opened it; the caller's buffers must live until the awaited call has ended.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <sys/uio.h>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/address.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/bytes.hpp>
#include <horus/io/descriptor.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

/// One received datagram. `size` 0 is an empty datagram, not an end: UDP has none.
struct Datagram {
  std::size_t size = 0;    ///< bytes in the buffer
  bool truncated = false;  ///< the datagram was longer than the buffer; the rest is lost
  Address from;            ///< the sender
};

/// The kernel's details about a datagram, in addition to its bytes and its sender. Details that UdpOptions did not
/// request keep their default values.
struct DatagramDetails : Datagram {
  /// When the machine received it, by wall_clock_ns(); 0: not requested (UdpOptions::timestamps).
  std::int64_t received_ns = 0;
  Address to;                 ///< the address that it was sent to; its port is 0 (UdpOptions::packet_info)
  unsigned interface = 0;     ///< the index of the interface through which it came (UdpOptions::packet_info)
  std::uint32_t dropped = 0;  ///< datagrams lost before it for lack of room (UdpOptions::count_drops)
  int traffic_class = -1;     ///< 0 to 255: TOS of IPv4, traffic class of IPv6 (UdpOptions::header_fields)
  int ttl = -1;               ///< the hops that remained: TTL, hop limit (UdpOptions::header_fields)
};

/// How to send one datagram. Fields that are not set have no effect.
struct SendDetails {
  SendDetails() {}
  /// An address of this machine; its port does not matter. DatagramDetails::to is one unless the datagram was a broadcast or
  /// a multicast: leave this empty in the answer to such a one.
  Address from;
  unsigned interface = 0;  ///< the index of an interface; 0: the routing table's choice
  int traffic_class = -1;  ///< 0 to 255
  int ttl = -1;            ///< 1 to 255
};

/// The number of an interface ("eth0"). Errors: ENODEV. Source: if_nametoindex(3).
HORUS_API Result<unsigned> interface_index(const std::string& name);
/// The name of an interface. Errors: ENXIO. Source: if_indextoname(3).
HORUS_API Result<std::string> interface_name(unsigned index);

/// How long `send_timed` waits for the time. It takes milliseconds; a datagram that a queue discards gets none.
inline constexpr Duration kTransmitTimeLimit = std::chrono::seconds(1);

/// Settings before the bind.
struct UdpOptions {
  UdpOptions() {}
  bool reuse_address = false;  ///< several sockets may bind one multicast or broadcast port (SO_REUSEADDR)
  bool reuse_port = false;     ///< the kernel spreads datagrams over the sockets of one port (SO_REUSEPORT)
  bool broadcast = false;      ///< may send to broadcast addresses; EACCES without it
  bool only_v6 = false;        ///< an IPv6 socket that takes no IPv4-mapped peers
  int receive_buffer = 0;      ///< bytes, SO_RCVBUF; 0: the system's default
  // The details that recv_detailed() gives.
  bool timestamps = false;     ///< the time at which each datagram was received (SO_TIMESTAMPNS)
  bool packet_info = false;    ///< its destination, and the interface through which it came (IP_PKTINFO)
  bool count_drops = false;    ///< how many were lost for lack of room (SO_RXQ_OVFL)
  bool header_fields = false;  ///< its traffic class and its remaining TTL (IP_RECVTOS, IP_RECVTTL)
  // For all datagrams sent. -1: the system's default.
  int traffic_class = -1;  ///< 0 to 255; 184 is DSCP "expedited forwarding" (IP_TOS, IPV6_TCLASS)
  int ttl = -1;            ///< 1 to 255, for datagrams to one receiver (IP_TTL, IPV6_UNICAST_HOPS)
  int priority = -1;  ///< in this machine's queues: 0 to 6; EPERM above without CAP_NET_ADMIN (SO_PRIORITY)

  /// Requests all four details of recv_detailed().
  UdpOptions& with_details() & {
    timestamps = packet_info = count_drops = header_fields = true;
    return *this;
  }
  [[nodiscard]] UdpOptions with_details() && {
    timestamps = packet_info = count_drops = header_fields = true;
    return *this;
  }
  UdpOptions& with_traffic_class(int value) & {
    traffic_class = value;
    return *this;
  }
  [[nodiscard]] UdpOptions with_traffic_class(int value) && {
    traffic_class = value;
    return *this;
  }
  UdpOptions& with_ttl(int value) & {
    ttl = value;
    return *this;
  }
  [[nodiscard]] UdpOptions with_ttl(int value) && {
    ttl = value;
    return *this;
  }
  UdpOptions& with_priority(int value) & {
    priority = value;
    return *this;
  }
  [[nodiscard]] UdpOptions with_priority(int value) && {
    priority = value;
    return *this;
  }

  UdpOptions& with_reuse_address() & {
    reuse_address = true;
    return *this;
  }
  [[nodiscard]] UdpOptions with_reuse_address() && {
    reuse_address = true;
    return *this;
  }
  UdpOptions& with_reuse_port() & {
    reuse_port = true;
    return *this;
  }
  [[nodiscard]] UdpOptions with_reuse_port() && {
    reuse_port = true;
    return *this;
  }
  UdpOptions& with_broadcast() & {
    broadcast = true;
    return *this;
  }
  [[nodiscard]] UdpOptions with_broadcast() && {
    broadcast = true;
    return *this;
  }
};

namespace detail {

// "127.0.0.1:53" of the connected peer, else of the socket itself: for error messages.
HORUS_API std::string describe_datagram_socket(int fd);

struct ReceiveDatagram : OperationAwaiter<ReceiveDatagram> {
  static constexpr const char* kName = "receive a datagram";
  ReceiveDatagram(int descriptor, MutableBytes buffer) noexcept
      : OperationAwaiter(descriptor), vector_{buffer.data(), buffer.size()} {}

  void prepare(io_uring_sqe& entry) noexcept {
    message_.msg_name = datagram_.from.room();
    message_.msg_namelen = Address::capacity;
    message_.msg_iov = &vector_;
    message_.msg_iovlen = 1;
    fill::receive_message(entry, fd, message_, 0);
  }
  [[nodiscard]] Result<Datagram> await_resume() {
    if (result < 0) [[unlikely]]
      return failure(describe_datagram_socket(fd));
    datagram_.size = static_cast<std::size_t>(result);
    datagram_.truncated = (message_.msg_flags & MSG_TRUNC) != 0;
    datagram_.from.set_size(message_.msg_namelen);
    return datagram_;
  }

 private:
  iovec vector_;
  msghdr message_{};
  Datagram datagram_;
};

struct SendDatagram : OperationAwaiter<SendDatagram> {
  static constexpr const char* kName = "send a datagram";
  SendDatagram(int descriptor, Bytes bytes) noexcept
      : OperationAwaiter(descriptor), vector_{const_cast<std::byte*>(bytes.data()), bytes.size()} {}
  SendDatagram(int descriptor, Bytes bytes, const Address& to) noexcept : SendDatagram(descriptor, bytes) {
    to_ = to;
  }

  void prepare(io_uring_sqe& entry) noexcept {
    if (to_.family() != AF_UNSPEC) {
      message_.msg_name = const_cast<sockaddr*>(to_.data());
      message_.msg_namelen = to_.size();
    }
    message_.msg_iov = &vector_;
    message_.msg_iovlen = 1;
    fill::send_message(entry, fd, message_, MSG_NOSIGNAL);
  }
  [[nodiscard]] Result<std::size_t> await_resume() const {
    if (result < 0) [[unlikely]] {
      return failure(to_.family() != AF_UNSPEC ? to_.to_string() : describe_datagram_socket(fd));
    }
    return static_cast<std::size_t>(result);
  }

 private:
  iovec vector_;
  msghdr message_{};
  Address to_;
};

}  // namespace detail

/// A UDP socket.
///
/// Semantics: a datagram is sent and received whole or not at all; one that is longer than the receive buffer is cut
/// and marked. Destroying the socket ends its pending calls with ECANCELED. On a connected socket only the peer's
/// datagrams arrive. When the peer's port is closed, a later call gives ECONNREFUSED, once per refusal; the socket
/// stays usable. To keep the order, receive in one task at a time.
/// Errors: values. EADDRINUSE, EACCES (broadcast without the option), EMSGSIZE (too long for the path), ECONNREFUSED,
/// ECANCELED when the task is asked to stop.
/// Details: receive times, addresses, interfaces, lost datagrams, TTL and traffic class come with `with_details()` and
/// `recv_detailed`. The cost of `recv` and `recv_from` stays the same.
/// Thread safety: the thread that opened it. An operation on another thread ends the program with a message. To move
/// a socket, use release() and a new UdpSocket.
/// Example:
/// ```
/// auto socket = horus::io::UdpSocket::bind("127.0.0.1:0").or_throw();
/// std::array<std::byte, 1500> buffer;
/// auto datagram = co_await socket.recv_from(buffer);
/// if (datagram) co_await socket.send_to(horus::io::Bytes(buffer.data(), datagram->size), datagram->from);
/// ```
/// Source: udp(7), ip(7), ipv6(7).
class HORUS_API UdpSocket {
 public:
  /// A UdpSocket without a socket: every call fails with EBADF.
  UdpSocket() noexcept = default;
  /// Takes over an open UDP socket, for this thread.
  explicit UdpSocket(Descriptor descriptor);

  /// A socket bound to `local` ("127.0.0.1:0", "[::]:9000"). With port 0 the kernel chooses one; `local_address()`
  /// gives it.
  static Result<UdpSocket> bind(const Address& local, const UdpOptions& options = {});
  static Result<UdpSocket> bind(std::string_view local, const UdpOptions& options = {});
  /// A socket on a port that the kernel chooses, which exchanges datagrams with `peer` alone.
  static Task<Result<UdpSocket>> connect(Address peer, UdpOptions options = {});
  static Task<Result<UdpSocket>> connect(std::string_view peer, UdpOptions options = {});

  /// Limits the socket to `peer` from now on; may be called again with another peer.
  Task<Result<>> connect_to(Address peer);

  /// Sends one datagram; gives its size in bytes. May wait when the socket's send buffer is full.
  [[nodiscard]] detail::SendDatagram send_to(Bytes bytes, const Address& to) noexcept {
    owner_.check("UdpSocket");
    return {descriptor_.get(), bytes, to};
  }
  /// Sends to the peer of a connected socket. EDESTADDRREQ on an unconnected one.
  [[nodiscard]] detail::SendDatagram send(Bytes bytes) noexcept {
    owner_.check("UdpSocket");
    return {descriptor_.get(), bytes};
  }
  /// Waits for one datagram.
  [[nodiscard]] detail::ReceiveDatagram recv_from(MutableBytes buffer) noexcept {
    owner_.check("UdpSocket");
    return {descriptor_.get(), buffer};
  }
  /// The same, for connected sockets: `from` is the peer.
  [[nodiscard]] detail::ReceiveDatagram recv(MutableBytes buffer) noexcept { return recv_from(buffer); }

  /// Waits for one datagram, and gives it with the details that the socket's UdpOptions request.
  /// Errors: those of recv_from; EMSGSIZE when the kernel's details need more room than there is, which is possible for
  /// a socket that was set up elsewhere: the datagram is lost then. EIO when the details are malformed.
  [[nodiscard]] Task<Result<DatagramDetails>> recv_detailed(MutableBytes buffer);
  /// Sends one datagram as `details` say; without `to`, to the peer of a connected socket.
  /// Errors: those of send_to; EINVAL for numbers out of range; EINVAL or ENETUNREACH for a `from` that is no address
  /// of this machine; ENODEV.
  [[nodiscard]] Task<Result<std::size_t>> send_detailed(Bytes bytes, Address to, SendDetails details = {});
  /// The same, and gives the time at which the kernel passed the datagram to the network driver, by wall_clock_ns(), for
  /// comparing clocks. One call at a time per socket.
  /// Errors: those of send_detailed; EBUSY; ETIMEDOUT when no time comes within kTransmitTimeLimit: the driver does not
  /// report it, or a queue discarded the datagram. Source: SOF_TIMESTAMPING_TX_SOFTWARE (kernel.org, timestamping).
  [[nodiscard]] Task<Result<std::int64_t>> send_timed(Bytes bytes, Address to = {}, SendDetails details = {});

  /// Receives datagrams to the multicast `group` through `interface` ("eth0"; empty: the routing table's choice).
  Result<> join(const Address& group, const std::string& interface = {});
  Result<> leave(const Address& group, const std::string& interface = {});
  /// The interface through which multicasts leave, how far they go (1: this network), and whether this machine
  /// receives them too.
  Result<> set_multicast_interface(const std::string& interface);
  Result<> set_multicast_hops(int hops);
  Result<> set_multicast_loopback(bool on);
  Result<> set_broadcast(bool on);

  [[nodiscard]] Result<Address> local_address() const;
  [[nodiscard]] Result<Address> peer_address() const;
  /// The descriptor; -1 when there is none.
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }
  /// Ends pending calls with ECANCELED and closes the socket.
  Task<Result<>> close();
  /// Gives the descriptor away, for a UdpSocket of another thread; this socket is empty then. No operation may be in
  /// flight on it.
  [[nodiscard]] Descriptor release() noexcept { return std::move(descriptor_); }

 private:
  UdpSocket(Descriptor descriptor, int family) noexcept
      : descriptor_(std::move(descriptor)), family_(family) {}
  static Result<UdpSocket> open(int family, const UdpOptions& options);
  Result<> set(int level, int option, const void* value, socklen_t size, const char* operation);
  Result<> membership(int option, const Address& group, const std::string& interface, const char* operation);

  struct TransmitTimes;
  static Task<Result<std::int64_t>> send_with_time(std::shared_ptr<TransmitTimes> times, int fd, int family,
                                                   Bytes bytes, Address to, SendDetails details);
  Descriptor descriptor_;
  int family_ = AF_UNSPEC;
  std::shared_ptr<TransmitTimes> transmit_times_;  // made by the first send_timed
  detail::OwnerThread owner_;
};

}  // namespace horus::HORUS_ABI::io
