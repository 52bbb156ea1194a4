// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/base/ports.hpp>

#include <algorithm>
#include <cerrno>

#include <horus/sim/base/objects.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

using Binding = Ports::Binding;

// An IPv6 socket that hears IPv4 too.
bool is_dual(const Binding& binding) {
  return binding.address.family() == AF_INET6 && !binding.only_v6 && is_any(binding.address);
}

bool overlap(const Binding& one, const Binding& other) {
  if (one.address.family() != other.address.family()) return is_dual(one) || is_dual(other);
  return is_any(one.address) || is_any(other.address) || one.address.host() == other.address.host();
}

// How closely it names what is sent to `to`; 0: not at all.
int closeness(const Binding& binding, const io::Address& to) {
  if (binding.address.family() != to.family()) return is_dual(binding) ? 1 : 0;
  if (is_any(binding.address) || is_any(to)) return 2;
  return binding.address.host() == to.host() ? 3 : 0;
}

}  // namespace

int Ports::bind(const Binding& binding) {
  auto& same_port = ports_[binding.address.port()];
  for (const Binding& other : same_port) {
    if (!overlap(binding, other)) continue;
    const bool both_address = binding.reuse_address && other.reuse_address;
    const bool both_port = binding.reuse_port && other.reuse_port;
    if (!both_port && (!both_address || (protocol_ == Protocol::tcp && other.listening))) return -EADDRINUSE;
  }
  same_port.push_back(binding);
  return 0;
}

Ports::Binding* Ports::find(const Object* socket) noexcept {
  for (auto& [port, bindings] : ports_) {
    for (Binding& binding : bindings) {
      if (binding.socket == socket) return &binding;
    }
  }
  return nullptr;
}

int Ports::listen(const Object* socket) {
  Binding* own = find(socket);
  if (own == nullptr) return -EINVAL;
  for (const Binding& other : ports_[own->address.port()]) {
    if (other.socket == socket || !other.listening || !overlap(*own, other)) continue;
    if (!own->reuse_port || !other.reuse_port) return -EADDRINUSE;
  }
  own->listening = true;
  return 0;
}

void Ports::stop_listening(const Object* socket) noexcept {
  if (Binding* own = find(socket)) own->listening = false;
}

void Ports::release(const Object* socket) noexcept {
  const Binding* own = find(socket);
  if (own == nullptr) return;
  const std::uint16_t port = own->address.port();
  auto& bindings = ports_[port];
  std::erase_if(bindings, [socket](const Binding& binding) { return binding.socket == socket; });
  if (bindings.empty()) ports_.erase(port);
}

Object* Ports::find(const io::Address& to, Random& random) const noexcept {
  const auto found = ports_.find(to.port());
  if (found == ports_.end()) return nullptr;
  int best = 0;
  std::vector<Object*> closest;
  for (const Binding& binding : found->second) {
    const int near = protocol_ == Protocol::tcp && !binding.listening ? 0 : closeness(binding, to);
    if (near == 0 || near < best) continue;
    if (near > best) closest.clear();
    best = near;
    closest.push_back(binding.socket);
  }
  if (closest.empty()) return nullptr;
  return closest.size() == 1 ? closest.front()
                             : closest[static_cast<std::size_t>(random.below(closest.size()))];
}

std::vector<Object*> Ports::all(std::uint16_t port) const {
  std::vector<Object*> sockets;
  const auto found = ports_.find(port);
  if (found == ports_.end()) return sockets;
  for (const Binding& binding : found->second) sockets.push_back(binding.socket);
  return sockets;
}

}  // namespace horus::HORUS_ABI::sim::detail
