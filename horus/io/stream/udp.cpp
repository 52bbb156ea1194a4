// SPDX-License-Identifier: Apache-2.0
#include <horus/io/udp.hpp>

#include <cerrno>
#include <cstring>

#include <net/if.h>
#include <netinet/in.h>

#include <fmt/format.h>

#include <horus/io/loop/awaiter.hpp>

namespace horus::HORUS_ABI::io {
namespace {

System& system() {
  Reactor* reactor = Reactor::current();
  HORUS_ASSERT(reactor != nullptr,
               "a socket was used on a thread that runs no reactor (do it inside a task, or make a "
               "horus::io::Reactor first)");
  return reactor->system();
}

struct ConnectDatagram : OperationAwaiter<ConnectDatagram> {
  static constexpr const char* kName = "connect";
  ConnectDatagram(int descriptor, const Address& peer) noexcept : OperationAwaiter(descriptor), peer_(peer) {}
  void prepare(io_uring_sqe& entry) const noexcept { fill::connect(entry, fd, peer_.data(), peer_.size()); }
  [[nodiscard]] Result<> await_resume() const {
    if (result < 0) return failure(peer_.to_string());
    return {};
  }

 private:
  const Address& peer_;  // the caller's, in its frame
};

Result<Address> address_of(int fd, int (System::*ask)(int, sockaddr*, socklen_t*) noexcept,
                           const char* operation) {
  Address address;
  socklen_t size = Address::capacity;
  const int result = (system().*ask)(fd, address.room(), &size);
  if (result < 0) return Error(-result, operation);
  address.set_size(size);
  return address;
}

// 0 for no name.
Result<unsigned> interface_or_any(const std::string& interface, const char* operation) {
  if (interface.empty()) return 0U;
  const unsigned index = ::if_nametoindex(interface.c_str());
  if (index == 0) return Error(ENODEV, operation, fmt::format("interface \"{}\"", interface));
  return index;
}

bool is_option(int value, int least, int most) noexcept {
  return value == -1 || (value >= least && value <= most);
}

}  // namespace

Result<unsigned> interface_index(const std::string& name) {
  if (name.empty()) return Error(ENODEV, "if_nametoindex", "interface \"\"");
  return interface_or_any(name, "if_nametoindex");
}

Result<std::string> interface_name(unsigned index) {
  char name[IF_NAMESIZE];
  if (::if_indextoname(index, name) == nullptr)
    return Error(errno, "if_indextoname", fmt::format("interface {}", index));
  return std::string(name);
}

std::string detail::describe_datagram_socket(int fd) {
  auto where = address_of(fd, &System::peer_address, "");
  if (!where) where = address_of(fd, &System::local_address, "");
  return where ? where->to_string() : fmt::format("fd {}", fd);
}

UdpSocket::UdpSocket(Descriptor descriptor) : descriptor_(std::move(descriptor)) {
  if (!descriptor_) return;
  const auto local = local_address();
  if (local) family_ = local->family();
}

Result<UdpSocket> UdpSocket::open(int family, const UdpOptions& options) {
  if (family != AF_INET && family != AF_INET6) {
    return Error(EAFNOSUPPORT, "open a UDP socket", "(an IPv4 or IPv6 address was expected)");
  }
  const int fd = system().socket(family, SOCK_DGRAM, 0);
  if (fd < 0) return Error(-fd, "open a UDP socket");
  UdpSocket socket(Descriptor(fd), family);
  if (!is_option(options.traffic_class, 0, 255) || !is_option(options.ttl, 1, 255) || options.priority < -1)
    return Error(EINVAL, "open a UDP socket",
                 "(traffic_class is 0 to 255, ttl is 1 to 255, priority is 0 or more)");
  struct Option {
    bool wanted;
    int level;
    int name;
    int value;
  };
  const bool v6 = family == AF_INET6;
  const bool v4 = !v6 || !options.only_v6;  // what comes from, and goes to, IPv4-mapped addresses
  // The priority behind the traffic class, which sets one too.
  for (const Option& option :
       {Option{options.reuse_address, SOL_SOCKET, SO_REUSEADDR, 1},
        Option{options.reuse_port, SOL_SOCKET, SO_REUSEPORT, 1},
        Option{options.broadcast, SOL_SOCKET, SO_BROADCAST, 1},
        Option{v6, IPPROTO_IPV6, IPV6_V6ONLY, options.only_v6 ? 1 : 0},
        Option{options.receive_buffer > 0, SOL_SOCKET, SO_RCVBUF, options.receive_buffer},
        Option{options.timestamps, SOL_SOCKET, SO_TIMESTAMPNS_NEW, 1},
        Option{options.count_drops, SOL_SOCKET, SO_RXQ_OVFL, 1},
        Option{options.packet_info && !v6, IPPROTO_IP, IP_PKTINFO, 1},
        Option{options.packet_info && v6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1},
        Option{options.header_fields && v4, IPPROTO_IP, IP_RECVTOS, 1},
        Option{options.header_fields && v4, IPPROTO_IP, IP_RECVTTL, 1},
        Option{options.header_fields && v6, IPPROTO_IPV6, IPV6_RECVTCLASS, 1},
        Option{options.header_fields && v6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1},
        Option{options.traffic_class >= 0 && v4, IPPROTO_IP, IP_TOS, options.traffic_class},
        Option{options.traffic_class >= 0 && v6, IPPROTO_IPV6, IPV6_TCLASS, options.traffic_class},
        Option{options.ttl > 0 && v4, IPPROTO_IP, IP_TTL, options.ttl},
        Option{options.ttl > 0 && v6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, options.ttl},
        Option{options.priority >= 0, SOL_SOCKET, SO_PRIORITY, options.priority}}) {
    if (!option.wanted) continue;
    auto set = socket.set(option.level, option.name, &option.value, sizeof option.value, "open a UDP socket");
    if (!set) return set.error();
  }
  return socket;
}

Result<UdpSocket> UdpSocket::bind(const Address& local, const UdpOptions& options) {
  auto socket = open(local.family(), options);
  if (!socket) return socket.error().on("bind", local.to_string());
  const int result = system().bind(socket->fd(), local.data(), local.size());
  if (result < 0) return Error(-result, "bind", local.to_string());
  return socket;
}

Result<UdpSocket> UdpSocket::bind(std::string_view local, const UdpOptions& options) {
  auto address = Address::parse(local);
  if (!address) return address.error();
  return bind(*address, options);
}

Task<Result<UdpSocket>> UdpSocket::connect(Address peer, UdpOptions options) {
  auto socket = open(peer.family(), options);
  if (!socket) co_return socket.error().on("connect", peer.to_string());
  auto connected = co_await ConnectDatagram(socket->fd(), peer);
  if (!connected) co_return connected.error();
  co_return std::move(socket);
}

Task<Result<UdpSocket>> UdpSocket::connect(std::string_view peer, UdpOptions options) {
  // Not a coroutine yet: the text need not outlive this call.
  auto address = Address::parse(peer);
  if (address) return connect(*address, options);
  return [](Error error) -> Task<Result<UdpSocket>> { co_return error; }(address.error());
}

Task<Result<>> UdpSocket::connect_to(Address peer) {
  owner_.check("UdpSocket");
  const int fd = descriptor_.get();
  auto connected = co_await ConnectDatagram(fd, peer);
  co_return connected;
}

Result<> UdpSocket::set(int level, int option, const void* value, socklen_t size, const char* operation) {
  const int result = system().set_option(descriptor_.get(), level, option, value, size);
  if (result < 0) return Error(-result, operation);
  return {};
}

// MCAST_JOIN_GROUP and MCAST_LEAVE_GROUP (RFC 3678) take IPv4 and IPv6 groups alike.
Result<> UdpSocket::membership(int option, const Address& group, const std::string& interface,
                               const char* operation) {
  if (group.family() != family_) {
    return Error(EAFNOSUPPORT, operation,
                 fmt::format("{} (the socket is of the other IP version)", group.to_string()));
  }
  auto index = interface_or_any(interface, operation);
  if (!index) return index.error();
  group_req request{};
  request.gr_interface = *index;
  std::memcpy(&request.gr_group, group.data(), group.size());
  const int level = family_ == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  auto done = set(level, option, &request, sizeof request, operation);
  if (!done) return done.error().on(operation, group.to_string());
  return {};
}

Result<> UdpSocket::join(const Address& group, const std::string& interface) {
  return membership(MCAST_JOIN_GROUP, group, interface, "join the multicast group");
}
Result<> UdpSocket::leave(const Address& group, const std::string& interface) {
  return membership(MCAST_LEAVE_GROUP, group, interface, "leave the multicast group");
}

Result<> UdpSocket::set_multicast_interface(const std::string& interface) {
  constexpr const char* kOperation = "set the multicast interface";
  auto index = interface_or_any(interface, kOperation);
  if (!index) return index.error();
  if (family_ == AF_INET6) return set(IPPROTO_IPV6, IPV6_MULTICAST_IF, &*index, sizeof *index, kOperation);
  ip_mreqn request{};
  request.imr_ifindex = static_cast<int>(*index);
  return set(IPPROTO_IP, IP_MULTICAST_IF, &request, sizeof request, kOperation);
}

Result<> UdpSocket::set_multicast_hops(int hops) {
  constexpr const char* kOperation = "set the multicast hops";
  if (family_ == AF_INET6) return set(IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops, kOperation);
  return set(IPPROTO_IP, IP_MULTICAST_TTL, &hops, sizeof hops, kOperation);
}

Result<> UdpSocket::set_multicast_loopback(bool on) {
  constexpr const char* kOperation = "set the multicast loopback";
  const int value = on ? 1 : 0;
  if (family_ == AF_INET6) return set(IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &value, sizeof value, kOperation);
  return set(IPPROTO_IP, IP_MULTICAST_LOOP, &value, sizeof value, kOperation);
}

Result<> UdpSocket::set_broadcast(bool on) {
  const int value = on ? 1 : 0;
  return set(SOL_SOCKET, SO_BROADCAST, &value, sizeof value, "allow broadcasts");
}

Result<Address> UdpSocket::local_address() const {
  return address_of(descriptor_.get(), &System::local_address, "getsockname");
}
Result<Address> UdpSocket::peer_address() const {
  return address_of(descriptor_.get(), &System::peer_address, "getpeername");
}

Task<Result<>> UdpSocket::close() { return io::close(std::move(descriptor_)); }

}  // namespace horus::HORUS_ABI::io
