// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/datagram.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <sys/epoll.h>

#include <horus/sim/engine.hpp>

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
  Host* target = engine().host_of(host_, to);
  if (!bound_) {
    const std::uint16_t port = engine().free_port(host_, false);
    if (port == 0) return -EAGAIN;
    local_ = address_on(host_, to).with_port(port);
    bound_ = true;
    host_.datagram_sockets[port] = this;
  }
  if (target == nullptr || engine().partitioned(host_, *target)) return static_cast<ssize_t>(size);
  io::Address from = local_;
  if (is_any(from)) from = address_on(host_, to).with_port(local_.port());
  const Faults& faults = engine().faults();
  Random& chance = engine().fault_random();
  int copies = 1;
  std::int64_t stretch = 1;
  if (target != &host_) {
    if (faults.datagram_loss > 0 && chance.chance(faults.datagram_loss, 1000)) copies = 0;
    if (faults.datagram_duplicate > 0 && chance.chance(faults.datagram_duplicate, 1000)) ++copies;
    if (faults.datagram_late > 0 && chance.chance(faults.datagram_late, 1000)) stretch = kLate;
  }
  for (int i = 0; i < copies; ++i) {
    const std::int64_t usual = engine().arrival(host_, *target, target == &host_ ? last_local_arrival_ : 0);
    const std::int64_t when = engine().now() + (usual - engine().now()) * stretch;
    if (target == &host_) last_local_arrival_ = when;
    Datagram datagram{gather(message, size), from};
    std::weak_ptr<Object> sender = weak_from_this();
    engine().at(when, [this, sender, target, port = to.port(), piece = std::move(datagram)]() mutable {
      const auto found = target->datagram_sockets.find(port);
      if (found != target->datagram_sockets.end()) return found->second->deliver(std::move(piece));
      if (const auto alive = sender.lock(); alive && connected_) refused(*target);
    });
  }
  return static_cast<ssize_t>(size);
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
  if (connected_ && !(datagram.from == peer_)) return;
  if (queued_bytes_ + datagram.data.size() > kDatagramRoom) return;  // as the kernel: dropped without a word
  queued_bytes_ += datagram.data.size();
  queue_.push_back(std::move(datagram));
  changed();
}

int DatagramSocket::shutdown(int) { return connected_ ? 0 : -ENOTCONN; }

void DatagramSocket::closed() {
  if (!bound_) return;
  const auto found = host_.datagram_sockets.find(local_.port());
  if (found != host_.datagram_sockets.end() && found->second == this) host_.datagram_sockets.erase(found);
}

int DatagramSocket::bind(Host& host, const io::Address& address) {
  if (bound_) return -EINVAL;
  if (address.family() != family_) return -EAFNOSUPPORT;
  if (!is_of(host, address)) return -EADDRNOTAVAIL;
  std::uint16_t port = address.port();
  if (port == 0) port = engine().free_port(host, false);
  if (port == 0 || host.datagram_sockets.contains(port)) return -EADDRINUSE;
  local_ = address.with_port(port);
  bound_ = true;
  host.datagram_sockets[port] = this;
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

}  // namespace horus::sim::detail
