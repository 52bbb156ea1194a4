// SPDX-License-Identifier: Apache-2.0
// Datagrams with what the kernel says about them, and transmit times. A time is asked for with the datagram alone
// (SO_TIMESTAMPING as control data): nobody fills the error queue of a socket without also emptying it.
#include <horus/io/stream/udp_details.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>

#include <fmt/format.h>

#include <horus/io/stream/control_data.hpp>
#include <horus/io/stream/stream_state.hpp>
#include <horus/io/time.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {
namespace {

constexpr std::int64_t kSecond_ns = 1'000'000'000;
constexpr Duration kShortestLook(std::chrono::milliseconds(1));
constexpr Duration kLongestLook(std::chrono::milliseconds(8));
constexpr int kMostStale = 64;  // times of earlier sends that one send throws away

using ControlRoom = std::array<char, kControlRoom>;

bool to_ns(std::int64_t seconds, std::int64_t nanoseconds, std::int64_t& ns) noexcept {
  if (seconds < 0 || seconds >= INT64_MAX / kSecond_ns || nanoseconds < 0 || nanoseconds >= kSecond_ns)
    return false;
  ns = seconds * kSecond_ns + nanoseconds;
  return true;
}

bool is_v4_mapped(const Address& address) noexcept {
  if (address.family() != AF_INET6) return false;
  sockaddr_in6 v6{};
  std::memcpy(&v6, address.data(), std::min<std::size_t>(sizeof v6, address.size()));
  return IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr);
}

Address address_of(const in_addr& host) noexcept {
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_addr = host;
  return Address::from(reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
}
Address address_of(const in6_addr& host, unsigned interface) noexcept {
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_addr = host;
  if (IN6_IS_ADDR_LINKLOCAL(&host)) v6.sin6_scope_id = interface;
  return Address::from(reinterpret_cast<const sockaddr*>(&v6), sizeof v6);
}

bool read_piece(const ControlPiece& piece, DatagramDetails& details) {
  if (piece.is(SOL_SOCKET, SO_TIMESTAMPNS_NEW)) {
    __kernel_timespec time{};
    return piece.read(time) && to_ns(time.tv_sec, time.tv_nsec, details.received_ns);
  }
  if (piece.is(SOL_SOCKET, SO_RXQ_OVFL)) return piece.read(details.dropped);
  if (piece.is(IPPROTO_IP, IP_PKTINFO)) {
    in_pktinfo info{};
    if (!piece.read(info)) return false;
    details.to = address_of(info.ipi_addr);
    details.interface = static_cast<unsigned>(info.ipi_ifindex);
    return true;
  }
  if (piece.is(IPPROTO_IPV6, IPV6_PKTINFO)) {
    in6_pktinfo info{};
    if (!piece.read(info)) return false;
    details.to = address_of(info.ipi6_addr, info.ipi6_ifindex);
    details.interface = info.ipi6_ifindex;
    return true;
  }
  if (piece.is(IPPROTO_IP, IP_TOS) || piece.is(IPPROTO_IPV6, IPV6_TCLASS))
    return piece.read_number(details.traffic_class);
  if (piece.is(IPPROTO_IP, IP_TTL) || piece.is(IPPROTO_IPV6, IPV6_HOPLIMIT))
    return piece.read_number(details.ttl);
  return true;  // a socket from elsewhere asked for more
}

}  // namespace

bool read_details(const msghdr& message, DatagramDetails& details) {
  return each_control(message.msg_control, message.msg_controllen,
                      [&](const ControlPiece& piece) { return read_piece(piece, details); });
}

bool read_transmit_time(const msghdr& message, TransmitTime& time) {
  return each_control(message.msg_control, message.msg_controllen, [&](const ControlPiece& piece) {
    if (piece.is(SOL_SOCKET, SO_TIMESTAMPING_NEW)) {
      scm_timestamping64 times{};
      return piece.read(times) && to_ns(times.ts[0].tv_sec, times.ts[0].tv_nsec, time.at_ns);
    }
    if (piece.is(IPPROTO_IP, IP_RECVERR) || piece.is(IPPROTO_IPV6, IPV6_RECVERR)) {
      sock_extended_err about{};
      if (!piece.read(about)) return false;
      time.is_time = about.ee_origin == SO_EE_ORIGIN_TIMESTAMPING;
      time.error = time.is_time ? 0 : static_cast<int>(about.ee_errno);
      time.number = about.ee_data;
    }
    return true;
  });
}

Task<Result<DatagramDetails>> receive_detailed(int fd, MutableBytes buffer, std::size_t control_room) {
  constexpr const char* kOperation = "receive a datagram";
  DatagramDetails details;
  iovec vector{buffer.data(), buffer.size()};
  alignas(cmsghdr) ControlRoom control;
  msghdr message{};
  message.msg_name = details.from.room();
  message.msg_namelen = Address::capacity;
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = std::min(control_room, control.size());
  MessageTransfer receiving(fd, false, message, 0);
  const std::int32_t count = co_await receiving;
  if (count < 0) co_return Error(-count, kOperation, describe_datagram_socket(fd));
  if ((message.msg_flags & MSG_CTRUNC) != 0)
    co_return Error(EMSGSIZE, kOperation, describe_datagram_socket(fd))
        .with_detail("(its control data did not fit: the socket was asked for more than a UdpSocket knows)");
  if (!read_details(message, details))
    co_return Error(EIO, kOperation, describe_datagram_socket(fd))
        .with_detail("(its control data make no sense)");
  details.size = static_cast<std::size_t>(count);
  details.truncated = (message.msg_flags & MSG_TRUNC) != 0;
  details.from.set_size(message.msg_namelen);
  co_return details;
}

namespace {

// False: a number is out of range, or `from` is of the other IP version.
bool put_details(ControlWriter& control, const SendDetails& details, int family, bool v4) {
  const bool source = details.from.family() != AF_UNSPEC;
  if (source && details.from.family() != family) return false;
  if (details.traffic_class < -1 || details.traffic_class > 255) return false;
  if (details.ttl != -1 && (details.ttl < 1 || details.ttl > 255)) return false;
  bool fits = true;
  // To an IPv4 peer of an IPv6 socket an interface alone goes as IPv4 takes it.
  if ((source || details.interface != 0) && (family == AF_INET || (v4 && !source))) {
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(details.interface);
    if (source) info.ipi_spec_dst = reinterpret_cast<const sockaddr_in*>(details.from.data())->sin_addr;
    fits = control.put(IPPROTO_IP, IP_PKTINFO, info) && fits;
  } else if (source || details.interface != 0) {
    in6_pktinfo info{};
    info.ipi6_ifindex = details.interface;
    if (source) info.ipi6_addr = reinterpret_cast<const sockaddr_in6*>(details.from.data())->sin6_addr;
    fits = control.put(IPPROTO_IPV6, IPV6_PKTINFO, info) && fits;
  }
  if (details.traffic_class >= 0)
    fits =
        control.put(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TOS : IPV6_TCLASS, details.traffic_class) && fits;
  if (details.ttl >= 0)
    fits = control.put(v4 ? IPPROTO_IP : IPPROTO_IPV6, v4 ? IP_TTL : IPV6_HOPLIMIT, details.ttl) && fits;
  return fits;
}

Task<Result<std::size_t>> send_one(int fd, int family, Bytes bytes, Address to, SendDetails details,
                                   bool timed) {
  constexpr const char* kOperation = "send a datagram";
  const bool named = to.family() != AF_UNSPEC;
  const auto target = [&] { return named ? to.to_string() : describe_datagram_socket(fd); };
  Address peer = to;
  if (!named && family == AF_INET6 &&
      (details.traffic_class >= 0 || details.ttl >= 0 || details.interface != 0)) {
    socklen_t size = Address::capacity;
    if (System::here().peer_address(fd, peer.room(), &size) == 0) peer.set_size(size);
  }
  alignas(cmsghdr) ControlRoom room;
  ControlWriter control(room.data(), room.size());
  if (!put_details(control, details, family, family == AF_INET || is_v4_mapped(peer)))
    co_return Error(EINVAL, kOperation, target())
        .with_detail(
            "(traffic_class is 0 to 255, ttl is 1 to 255, and `from` is of the socket's IP version)");
  if (timed) control.put(SOL_SOCKET, SO_TIMESTAMPING_NEW, std::uint32_t{SOF_TIMESTAMPING_TX_SOFTWARE});
  iovec vector{const_cast<std::byte*>(bytes.data()), bytes.size()};
  msghdr message{};
  if (named) {
    message.msg_name = const_cast<sockaddr*>(to.data());
    message.msg_namelen = to.size();
  }
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (control.used() > 0) {
    message.msg_control = room.data();
    message.msg_controllen = control.used();
  }
  MessageTransfer sending(fd, true, message, MSG_NOSIGNAL);
  const std::int32_t count = co_await sending;
  if (count < 0) co_return Error(-count, kOperation, target());
  co_return static_cast<std::size_t>(count);
}

// The next thing in the error queue. EAGAIN: the queue is empty, although the socket said it was not.
Task<Result<TransmitTime>> read_error_queue(int fd) {
  alignas(cmsghdr) ControlRoom control;
  msghdr message{};
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  MessageTransfer receiving(fd, false, message, MSG_ERRQUEUE);
  const std::int32_t count = co_await receiving;
  if (count < 0) co_return Error(-count, "read a transmit time");
  TransmitTime time;
  if ((message.msg_flags & MSG_CTRUNC) != 0 || !read_transmit_time(message, time))
    co_return Error(EIO, "read a transmit time").with_detail("(its control data make no sense)");
  co_return time;
}

// The time of datagram `number`, or of a later one where the kernel has counted one that was never sent.
Task<Result<TransmitTime>> transmit_time_of(int fd, std::uint32_t number) {
  Duration rest = kShortestLook;
  int stale = 0;
  while (true) {
    auto reading = read_error_queue(fd);
    const auto time = co_await reading;
    if (!time && time.code() != EAGAIN) co_return time.error();
    if (!time) {
      try {
        co_await sleep(rest);
      } catch (const Error& error) {
        co_return Error(error.code(), "read a transmit time");
      }
      rest = std::min(2 * rest, kLongestLook);
      continue;
    }
    if (time->error != 0) co_return Error(time->error, "send a datagram");
    if (time->is_time && static_cast<std::int32_t>(time->number - number) >= 0) co_return *time;
    if (++stale > kMostStale)
      co_return Error(EIO, "read a transmit time").with_detail("(it tells of others alone)");
  }
}

}  // namespace
}  // namespace detail

struct UdpSocket::TransmitTimes {
  bool busy = false;
  bool asked = false;        // the socket numbers what is to have a time
  std::uint32_t number = 0;  // of the next one
};

Task<Result<DatagramDetails>> UdpSocket::recv_detailed(MutableBytes buffer) {
  owner_.check("UdpSocket");
  return detail::receive_detailed(descriptor_.get(), buffer);
}

Task<Result<std::size_t>> UdpSocket::send_detailed(Bytes bytes, Address to, SendDetails details) {
  owner_.check("UdpSocket");
  return detail::send_one(descriptor_.get(), family_, bytes, to, details, false);
}

Task<Result<std::int64_t>> UdpSocket::send_timed(Bytes bytes, Address to, SendDetails details) {
  owner_.check("UdpSocket");
  if (!transmit_times_) transmit_times_ = std::make_shared<TransmitTimes>();
  return send_with_time(transmit_times_, descriptor_.get(), family_, bytes, to, details);
}

Task<Result<std::int64_t>> UdpSocket::send_with_time(std::shared_ptr<TransmitTimes> times, int fd, int family,
                                                     Bytes bytes, Address to, SendDetails details) {
  constexpr const char* kOperation = "send a datagram";
  if (times->busy)
    co_return Error(EBUSY, kOperation, "(another task waits for a transmit time of this socket)");
  struct Turn {
    TransmitTimes& times;
    explicit Turn(TransmitTimes& all) noexcept : times(all) { times.busy = true; }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() { times.busy = false; }
  };
  const Turn turn(*times);
  if (!times->asked) {
    // Off before on: the numbers begin at 0.
    for (const int flags :
         {0, SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY}) {
      const int result = System::here().set_option(fd, SOL_SOCKET, SO_TIMESTAMPING_NEW, &flags, sizeof flags);
      if (result < 0)
        co_return Error(-result, "ask for transmit times", detail::describe_datagram_socket(fd));
    }
    times->asked = true;
  }
  auto sending = detail::send_one(fd, family, bytes, to, details, true);
  const auto sent = co_await sending;
  if (!sent) co_return sent.error();
  const std::uint32_t number = times->number++;
  auto waiting = with_timeout(kTransmitTimeLimit, detail::transmit_time_of(fd, number));
  const auto time = co_await waiting;
  if (!time && time.error().timed_out())
    co_return Error(ETIMEDOUT, "wait for a transmit time", detail::describe_datagram_socket(fd))
        .with_detail("(the datagram was sent; the driver tells no time, or a queue threw the datagram away)");
  if (!time) co_return time.error();
  times->number = time->number + 1;
  co_return time->at_ns;
}

}  // namespace horus::HORUS_ABI::io
