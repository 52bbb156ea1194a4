// SPDX-License-Identifier: Apache-2.0
// Who is bound to the ports of a simulated host, for one protocol, and who may be bound beside whom: the rules of
// SO_REUSEADDR and SO_REUSEPORT as Linux has them (socket(7), ip(7)). One thread, the world's.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include <horus/io/address.hpp>
#include <horus/sim/random.hpp>

namespace horus::HORUS_ABI::sim::detail {

class Object;

class Ports {
 public:
  enum class Protocol : std::uint8_t { tcp, udp };
  struct Binding {
    Object* socket = nullptr;
    io::Address address;
    bool only_v6 = false;
    bool reuse_address = false;
    bool reuse_port = false;
    bool listening = false;
  };

  explicit Ports(Protocol protocol) noexcept : protocol_(protocol) {}

  [[nodiscard]] bool taken(std::uint16_t port) const noexcept { return ports_.contains(port); }
  /// 0, or -EADDRINUSE.
  int bind(const Binding& binding);
  int listen(const Object* socket);
  void stop_listening(const Object* socket) noexcept;
  void release(const Object* socket) noexcept;
  /// Who hears what is sent to `to`: the closest binding; among several that share the port, the one that chance picks.
  /// Of TCP, listeners alone. Null: nobody.
  [[nodiscard]] Object* find(const io::Address& to, Random& random) const noexcept;
  /// All who could hear it.
  [[nodiscard]] std::vector<Object*> all(std::uint16_t port) const;

 private:
  Binding* find(const Object* socket) noexcept;

  const Protocol protocol_;
  std::map<std::uint16_t, std::vector<Binding>> ports_;
};

}  // namespace horus::HORUS_ABI::sim::detail
