// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/engine/datagram.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <sys/epoll.h>

#include <horus/io/stream/control_data.hpp>
#include <horus/sim/engine/engine.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::size_t kDatagramBytes = 65507;
constexpr std::size_t kDatagramRoom = 212992;  // net.core.rmem_default
constexpr std::int64_t kLate = 100;
constexpr std::size_t kMostTimes = 256;  // that nobody has read; Linux counts them to the receive buffer
constexpr std::int64_t kSecond_ns = 1'000'000'000;
// Interfaces of a host, by their index.
constexpr unsigned kLoopback = 1;
constexpr unsigned kNetwork = 2;

void give_address(msghdr& message, const io::Address& address) noexcept {
  if (message.msg_name == nullptr) return;
  std::memcpy(message.msg_name, address.data(), std::min(message.msg_namelen, address.size()));
  message.msg_namelen = address.size();
}

bool is_multicast(const io::Address& address) {
  if (address.family() == AF_INET6) return address.host().starts_with("ff");
  const int first = std::atoi(address.host().c_str());
  return address.family() == AF_INET && first >= 224 && first < 240;
}

// To all of a network: those of the simulated world end in 255.
bool is_broadcast(const io::Address& address) {
  return address.family() == AF_INET && address.host().ends_with(".255");
}

bool is_loopback(const io::Address& address) {
  return address.host().starts_with("127.") || address.host() == "::1";
}

io::Address any_of(int family, std::uint16_t port) {
  return io::Address::ip(family == AF_INET6 ? "::" : "0.0.0.0", port).value_or(io::Address());
}

}  // namespace

std::uint32_t DatagramSocket::ready() const noexcept {
  return EPOLLOUT | (queue_.empty() ? 0U : EPOLLIN) | (times_.empty() ? 0U : EPOLLERR) |
         (error_ != 0 ? EPOLLERR | EPOLLIN : 0U);
}

ssize_t DatagramSocket::receive(msghdr& message, int flags) {
  if ((flags & MSG_ERRQUEUE) != 0) return receive_error(message);
  if (error_ != 0) return -std::exchange(error_, 0);
  if (queue_.empty()) return -EAGAIN;
  const Datagram& first = queue_.front();
  const std::size_t copied = scatter(first.data, message);
  give_address(message, first.from);
  message.msg_flags = copied < first.data.size() ? MSG_TRUNC : 0;
  give_details(message, first);
  const std::size_t whole = first.data.size();
  if ((flags & MSG_PEEK) == 0) {
    queued_bytes_ -= whole;
    queue_.pop_front();
  }
  return static_cast<ssize_t>((flags & MSG_TRUNC) != 0 ? whole : copied);
}

ssize_t DatagramSocket::send(const msghdr& message, int) {
  if (error_ != 0) return -std::exchange(error_, 0);
  const std::size_t size = size_of(message);
  if (size > kDatagramBytes) return -EMSGSIZE;
  io::Address to = peer_;
  if (message.msg_name != nullptr) {
    to = io::Address::from(static_cast<const sockaddr*>(message.msg_name), message.msg_namelen);
  } else if (!connected_) {
    return -EDESTADDRREQ;
  }
  if (to.family() != family_) return -EAFNOSUPPORT;
  Sending sending;
  if (const int result = read_control(message, to, sending); result < 0) return result;
  if (const int result = check_route(to, sending); result < 0) return result;
  const bool everybody = is_broadcast(to);
  if (everybody && options_.value(SOL_SOCKET, SO_BROADCAST) == 0) return -EACCES;
  if (!bound_) {
    const std::uint16_t port = engine().free_port(host_, false);
    if (port == 0) return -EAGAIN;
    if (const int result = bind(host_, any_of(family_, port)); result < 0) return result;
  }
  io::Address from = local_;
  if (is_any(from)) from = address_on(host_, to).with_port(local_.port());
  if (sending.from.family() != AF_UNSPEC) from = sending.from.with_port(local_.port());
  const Datagram datagram{.data = gather(message, size),
                          .from = from,
                          .to = to,
                          .traffic_class = sending.traffic_class,
                          .ttl = sending.ttl};
  if (sending.timed) keep_transmit_time();
  if (!everybody && !is_multicast(to)) {
    if (Host* target = engine().host_of(host_, to)) dispatch(*target, datagram);
    return static_cast<ssize_t>(size);
  }
  const bool v6 = family_ == AF_INET6;
  const int hops = v6 ? 1 : options_.value(IPPROTO_IP, IP_MULTICAST_TTL);
  const bool inside =
      is_loopback(to) || on_loopback() || sending.interface == kLoopback || (!everybody && hops == 0);
  const bool heard_here = everybody || options_.value(v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                                                      v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP) != 0;
  for (Host* target : engine().hosts()) {
    if (target == &host_ ? heard_here : !inside) dispatch(*target, datagram);
  }
  return static_cast<ssize_t>(size);
}

// One datagram on its way to one host.
void DatagramSocket::dispatch(Host& target, const Datagram& datagram) {
  const bool away = &target != &host_;
  if (engine().partitioned(host_, target)) return;
  const Faults& faults = engine().faults();
  Random& chance = engine().fault_random();
  int copies = 1;
  std::int64_t stretch = 1;
  if (away) {
    if (faults.datagram_loss > 0 && chance.chance(faults.datagram_loss, 1000)) copies = 0;
    if (faults.datagram_duplicate > 0 && chance.chance(faults.datagram_duplicate, 1000)) ++copies;
    if (faults.datagram_late > 0 && chance.chance(faults.datagram_late, 1000)) stretch = kLate;
  }
  for (int i = 0; i < copies; ++i) {
    const std::int64_t usual = engine().arrival(host_, target, away ? 0 : last_local_arrival_);
    const std::int64_t when = engine().now() + (usual - engine().now()) * stretch;
    if (!away) last_local_arrival_ = when;
    std::weak_ptr<Object> sender = weak_from_this();
    engine().at(when, [this, &engine = engine(), sender, &target, piece = datagram]() mutable {
      const io::Address to = piece.to;
      const auto alive = sender.lock();
      if (is_multicast(to) || is_broadcast(to)) {
        for (Object* object : target.udp.all(to.port())) {
          auto& socket = static_cast<DatagramSocket&>(*object);
          if (socket.family_ != to.family() || (is_multicast(to) && !socket.is_member(to.host()))) continue;
          socket.deliver(piece);
        }
        return;
      }
      if (Object* object = target.udp.find(to, engine.random()))
        return static_cast<DatagramSocket*>(object)->deliver(std::move(piece));
      if (alive && connected_) refused(target);
    });
  }
}

// Nobody is at the port: its host says so.
void DatagramSocket::refused(Host& from) noexcept {
  std::weak_ptr<Object> self = weak_from_this();
  engine().at(engine().arrival(from, host_, 0), [this, self] {
    if (self.expired()) return;
    error_ = ECONNREFUSED;
    changed();
  });
}

void DatagramSocket::deliver(Datagram datagram) noexcept {
  engine().trace(Trace::arrival, datagram.data.size(), 2);
  if (connected_ && !(datagram.from == peer_)) return;         // it hears its peer alone
  if (queued_bytes_ + datagram.data.size() > kDatagramRoom) {  // as the kernel: dropped without a word
    ++dropped_;
    return;
  }
  queued_bytes_ += datagram.data.size();
  datagram.arrived_ns = kWorldBegins_ns + engine().now();
  datagram.dropped = dropped_;
  queue_.push_back(std::move(datagram));
  changed();
}

int DatagramSocket::shutdown(int) { return connected_ ? 0 : -ENOTCONN; }

void DatagramSocket::closed() {
  if (!bound_) return;
  host_.udp.release(this);
}

int DatagramSocket::bind(Host& host, const io::Address& address) {
  if (bound_) return -EINVAL;
  if (address.family() != family_) return -EAFNOSUPPORT;
  if (!is_of(host, address)) return -EADDRNOTAVAIL;
  std::uint16_t port = address.port();
  if (port == 0) port = engine().free_port(host, false);
  if (port == 0) return -EADDRINUSE;
  Ports::Binding binding{.socket = this, .address = address.with_port(port)};
  binding.only_v6 = options_.value(IPPROTO_IPV6, IPV6_V6ONLY) != 0;
  binding.reuse_address = options_.value(SOL_SOCKET, SO_REUSEADDR) != 0;
  binding.reuse_port = options_.value(SOL_SOCKET, SO_REUSEPORT) != 0;
  if (const int result = host.udp.bind(binding); result < 0) return result;
  local_ = binding.address;
  bound_ = true;
  return 0;
}

int DatagramSocket::connect(Host& host, const io::Address& address) {
  if (address.family() == AF_UNSPEC) {
    connected_ = false;
    return 0;
  }
  if (address.family() != family_) return -EAFNOSUPPORT;
  if (!bound_) {
    const int result = bind(host, address_on(host, address).with_port(0));
    if (result < 0) return result;
  }
  peer_ = address;
  connected_ = true;
  return 0;
}

// --- Control data -----------------------------------------------------------------------------------------------------

// What a message says about how it is to be sent. What this kernel does not know is refused, as Linux refuses it.
int DatagramSocket::read_control(const msghdr& message, const io::Address& to, Sending& sending) const {
  const bool v6 = family_ == AF_INET6;
  sending.traffic_class = options_.value(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_TCLASS : IP_TOS);
  const int hops = v6 ? (is_multicast(to) ? IPV6_MULTICAST_HOPS : IPV6_UNICAST_HOPS)
                      : (is_multicast(to) ? IP_MULTICAST_TTL : IP_TTL);
  sending.ttl = options_.value(v6 ? IPPROTO_IPV6 : IPPROTO_IP, hops);
  const bool numbers_times = (options_.value(SOL_SOCKET, SO_TIMESTAMPING_NEW) & SOF_TIMESTAMPING_OPT_ID) != 0;
  const auto in_range = [](int value) { return value >= 0 && value <= 255; };
  const bool known = io::detail::each_control(
      message.msg_control, message.msg_controllen, [&](const io::detail::ControlPiece& piece) {
        if (piece.is(IPPROTO_IP, IP_PKTINFO)) {
          in_pktinfo info{};
          if (v6 || !piece.read(info)) return false;
          sockaddr_in from{};
          from.sin_family = AF_INET;
          from.sin_addr = info.ipi_spec_dst;
          sending.from = io::Address::from(reinterpret_cast<const sockaddr*>(&from), sizeof from);
          sending.interface = static_cast<unsigned>(info.ipi_ifindex);
        } else if (piece.is(IPPROTO_IPV6, IPV6_PKTINFO)) {
          in6_pktinfo info{};
          if (!v6 || !piece.read(info)) return false;
          sockaddr_in6 from{};
          from.sin6_family = AF_INET6;
          from.sin6_addr = info.ipi6_addr;
          sending.from = io::Address::from(reinterpret_cast<const sockaddr*>(&from), sizeof from);
          sending.interface = info.ipi6_ifindex;
        } else if (piece.is(IPPROTO_IP, IP_TOS) || piece.is(IPPROTO_IPV6, IPV6_TCLASS)) {
          return piece.read_number(sending.traffic_class) && in_range(sending.traffic_class);
        } else if (piece.is(IPPROTO_IP, IP_TTL) || piece.is(IPPROTO_IPV6, IPV6_HOPLIMIT)) {
          return piece.read_number(sending.ttl) && in_range(sending.ttl) && (v6 || sending.ttl > 0);
        } else if (piece.is(SOL_SOCKET, SO_TIMESTAMPING_NEW)) {
          std::uint32_t flags = 0;
          if (!piece.read(flags)) return false;
          sending.timed = (flags & SOF_TIMESTAMPING_TX_SOFTWARE) != 0 && numbers_times;
        } else {
          return piece.is(SOL_SOCKET, SCM_RIGHTS);
        }
        return true;
      });
  if (sending.from.family() != AF_UNSPEC && is_any(sending.from)) sending.from = io::Address();
  return known ? 0 : -EINVAL;
}

// A host has two interfaces: the loopback one, and the one to its network.
int DatagramSocket::check_route(const io::Address& to, const Sending& sending) const {
  if (sending.from.family() != AF_UNSPEC && !is_of(host_, sending.from)) return -EINVAL;
  if (sending.interface > kNetwork) return -ENODEV;
  const bool out = !is_multicast(to) && !is_loopback(to);
  return sending.interface == kLoopback && out ? -ENETUNREACH : 0;
}

// What somebody who reads errors finds: transmit times, in the form that Linux gives them.
ssize_t DatagramSocket::receive_error(msghdr& message) {
  if (times_.empty()) return -EAGAIN;
  const TransmitTime first = times_.front();
  times_.pop_front();
  io::detail::ControlWriter control(message.msg_control, message.msg_controllen);
  scm_timestamping64 times{};
  times.ts[0].tv_sec = first.at_ns / kSecond_ns;
  times.ts[0].tv_nsec = first.at_ns % kSecond_ns;
  sock_extended_err about{};
  about.ee_errno = ENOMSG;
  about.ee_origin = SO_EE_ORIGIN_TIMESTAMPING;
  about.ee_info = SCM_TSTAMP_SND;
  about.ee_data = first.number;
  const bool v6 = family_ == AF_INET6;
  bool fits = control.put(SOL_SOCKET, SO_TIMESTAMPING_NEW, times);
  fits = control.put(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, about) && fits;
  message.msg_controllen = control.used();
  message.msg_flags = fits ? MSG_ERRQUEUE : MSG_ERRQUEUE | MSG_CTRUNC;
  message.msg_namelen = 0;
  return 0;
}

void DatagramSocket::keep_transmit_time() {
  if (times_.size() >= kMostTimes) return;
  times_.push_back({timed_++, kWorldBegins_ns + engine().now()});
  changed();
}

void DatagramSocket::give_details(msghdr& message, const Datagram& datagram) const {
  io::detail::ControlWriter control(message.msg_control, message.msg_controllen);
  bool fits = true;
  if (options_.value(SOL_SOCKET, SO_TIMESTAMPNS_NEW) != 0) {
    const __kernel_timespec time{datagram.arrived_ns / kSecond_ns, datagram.arrived_ns % kSecond_ns};
    fits = control.put(SOL_SOCKET, SO_TIMESTAMPNS_NEW, time) && fits;
  }
  if (options_.value(SOL_SOCKET, SO_RXQ_OVFL) != 0 && datagram.dropped > 0)
    fits = control.put(SOL_SOCKET, SO_RXQ_OVFL, datagram.dropped) && fits;
  const unsigned interface = is_loopback(datagram.from) ? kLoopback : kNetwork;
  if (family_ == AF_INET && options_.value(IPPROTO_IP, IP_PKTINFO) != 0) {
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(interface);
    info.ipi_addr = reinterpret_cast<const sockaddr_in*>(datagram.to.data())->sin_addr;
    info.ipi_spec_dst = info.ipi_addr;
    fits = control.put(IPPROTO_IP, IP_PKTINFO, info) && fits;
  }
  if (family_ == AF_INET6 && options_.value(IPPROTO_IPV6, IPV6_RECVPKTINFO) != 0) {
    in6_pktinfo info{};
    info.ipi6_ifindex = interface;
    info.ipi6_addr = reinterpret_cast<const sockaddr_in6*>(datagram.to.data())->sin6_addr;
    fits = control.put(IPPROTO_IPV6, IPV6_PKTINFO, info) && fits;
  }
  const int level = family_ == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const bool v6 = family_ == AF_INET6;
  if (options_.value(level, v6 ? IPV6_RECVTCLASS : IP_RECVTOS) != 0) {
    const auto byte = static_cast<unsigned char>(datagram.traffic_class);
    fits =
        (v6 ? control.put(level, IPV6_TCLASS, datagram.traffic_class) : control.put(level, IP_TOS, byte)) &&
        fits;
  }
  if (options_.value(level, v6 ? IPV6_RECVHOPLIMIT : IP_RECVTTL) != 0)
    fits = control.put(level, v6 ? IPV6_HOPLIMIT : IP_TTL, datagram.ttl) && fits;
  message.msg_controllen = control.used();
  if (!fits) message.msg_flags |= MSG_CTRUNC;
}

// --- Options ----------------------------------------------------------------------------------------------------------

int DatagramSocket::set_option(int level, int option, const void* value, socklen_t size) {
  const bool multicast = level == IPPROTO_IP || level == IPPROTO_IPV6;
  if (multicast && option == MCAST_JOIN_GROUP) return change_membership(true, value, size);
  if (multicast && option == MCAST_LEAVE_GROUP) return change_membership(false, value, size);
  if (level == IPPROTO_IP && option == IP_MULTICAST_IF) {
    ip_mreqn request{};
    if (size < sizeof request) return -EINVAL;
    std::memcpy(&request, value, sizeof request);
    return options_.set(level, option, &request.imr_ifindex, sizeof request.imr_ifindex);
  }
  return options_.set(level, option, value, size);
}

int DatagramSocket::get_option(int level, int option, void* value, socklen_t* size) {
  if (level != SOL_SOCKET) return options_.get(level, option, value, size);
  int answer = 0;
  switch (option) {
    case SO_ERROR: answer = std::exchange(error_, 0); break;
    case SO_TYPE: answer = SOCK_DGRAM; break;
    case SO_DOMAIN: answer = family_; break;
    case SO_PROTOCOL: answer = IPPROTO_UDP; break;
    default: return options_.get(level, option, value, size);
  }
  *size = std::min<socklen_t>(*size, sizeof answer);
  std::memcpy(value, &answer, *size);
  return 0;
}

int DatagramSocket::change_membership(bool join, const void* value, socklen_t size) {
  group_req request{};
  if (size < sizeof request) return -EINVAL;
  std::memcpy(&request, value, sizeof request);
  const auto* name = reinterpret_cast<const sockaddr*>(&request.gr_group);
  const io::Address group = io::Address::from(name, sizeof request.gr_group);
  if (!is_multicast(group)) return -EINVAL;
  const Membership membership{group.host(), request.gr_interface};
  const auto known = std::find(memberships_.begin(), memberships_.end(), membership);
  if (join) {
    if (known != memberships_.end()) return -EADDRINUSE;
    memberships_.push_back(membership);
    return 0;
  }
  if (known == memberships_.end()) return -EADDRNOTAVAIL;
  memberships_.erase(known);
  return 0;
}

bool DatagramSocket::is_member(const std::string& group) const {
  return std::any_of(memberships_.begin(), memberships_.end(),
                     [&](const Membership& one) { return one.group == group; });
}

// What it sends to a group stays on its host. The loopback interface has number 1 on every Linux.
bool DatagramSocket::on_loopback() const {
  const bool v6 = family_ == AF_INET6;
  return options_.value(v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MULTICAST_IF : IP_MULTICAST_IF) == 1;
}

}  // namespace horus::HORUS_ABI::sim::detail
