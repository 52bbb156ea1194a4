// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/engine/datagram.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <netinet/in.h>
#include <sys/epoll.h>

#include <horus/sim/engine/engine.hpp>

namespace horus::sim::detail {
namespace {

constexpr std::size_t kDatagramBytes = 65507;
constexpr std::size_t kDatagramRoom = 212992;  // net.core.rmem_default
constexpr std::int64_t kLate = 100;

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
  return EPOLLOUT | (queue_.empty() ? 0U : EPOLLIN) | (error_ != 0 ? EPOLLERR | EPOLLIN : 0U);
}

ssize_t DatagramSocket::receive(msghdr& message, int flags) {
  if (error_ != 0) return -std::exchange(error_, 0);
  if (queue_.empty()) return -EAGAIN;
  const Datagram& first = queue_.front();
  const std::size_t copied = scatter(first.data, message);
  give_address(message, first.from);
  message.msg_controllen = 0;
  message.msg_flags = copied < first.data.size() ? MSG_TRUNC : 0;
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
  const bool everybody = is_broadcast(to);
  if (everybody && options_.value(SOL_SOCKET, SO_BROADCAST) == 0) return -EACCES;
  if (!bound_) {
    const std::uint16_t port = engine().free_port(host_, false);
    if (port == 0) return -EAGAIN;
    if (const int result = bind(host_, any_of(family_, port)); result < 0) return result;
  }
  io::Address from = local_;
  if (is_any(from)) from = address_on(host_, to).with_port(local_.port());
  const std::string data = gather(message, size);
  if (!everybody && !is_multicast(to)) {
    if (Host* target = engine().host_of(host_, to)) dispatch(*target, to, data, from);
    return static_cast<ssize_t>(size);
  }
  const bool v6 = family_ == AF_INET6;
  const int hops = v6 ? 1 : options_.value(IPPROTO_IP, IP_MULTICAST_TTL);
  const bool inside = is_loopback(to) || on_loopback() || (!everybody && hops == 0);
  const bool heard_here = everybody || options_.value(v6 ? IPPROTO_IPV6 : IPPROTO_IP,
                                                      v6 ? IPV6_MULTICAST_LOOP : IP_MULTICAST_LOOP) != 0;
  for (Host* target : engine().hosts()) {
    if (target == &host_ ? heard_here : !inside) dispatch(*target, to, data, from);
  }
  return static_cast<ssize_t>(size);
}

// One datagram on its way to one host.
void DatagramSocket::dispatch(Host& target, const io::Address& to, const std::string& data,
                              const io::Address& from) {
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
    engine().at(when,
                [this, &engine = engine(), sender, &target, to, piece = Datagram{data, from}]() mutable {
                  const auto alive = sender.lock();
                  if (is_multicast(to) || is_broadcast(to)) {
                    for (Object* object : target.udp.all(to.port())) {
                      auto& socket = static_cast<DatagramSocket&>(*object);
                      if (socket.family_ != to.family() || (is_multicast(to) && !socket.is_member(to.host())))
                        continue;
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
  if (connected_ && !(datagram.from == peer_)) return;               // it hears its peer alone
  if (queued_bytes_ + datagram.data.size() > kDatagramRoom) return;  // as the kernel: dropped without a word
  queued_bytes_ += datagram.data.size();
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

}  // namespace horus::sim::detail
