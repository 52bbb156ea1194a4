// SPDX-License-Identifier: Apache-2.0
// What may be chosen about a hub on TCP, and the bounds of everything. Plain values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus {

/// Who waits for whom at a hub's address.
enum class TcpRole : std::uint8_t {
  automatic,  ///< listens when the address is free here, and connects to it when it is not
  listen,     ///< listens, or fails
  connect,    ///< connects
};

/// Settings of Hub::tcp. `TcpHubOptions().with_role(TcpRole::connect).with_idle_limit(5s)`
struct HORUS_API TcpHubOptions {
  TcpHubOptions() {}

  TcpRole role = TcpRole::automatic;
  std::vector<std::string> peers;  ///< further addresses to connect to, "10.0.0.2:8080"
  bool insecure = false;           ///< listen where other machines reach it, although nothing is encrypted

  /// Of one message, as its publisher announces it: AdvertiseOptions::max_bytes, 1 MiB unless it says more.
  std::size_t max_message_bytes = std::size_t{64} << 20;
  std::size_t max_greeting_bytes = 4096;                  ///< taken from a peer before it has said who it is
  std::size_t max_outbound_bytes = std::size_t{4} << 20;  ///< that wait to be sent, messages' queues apart
  /// Memory that messages of one peer may take before they are taken from their queues; all peers together four times
  /// as much. What comes beyond it is dropped.
  std::size_t max_inbound_bytes = std::size_t{256} << 20;
  std::uint32_t max_connections = 256;
  std::uint32_t max_connections_per_address = 32;
  std::uint32_t max_ports = 4096;  ///< publishers that a peer may announce, and channels it may open

  Duration handshake_limit = std::chrono::seconds(2);
  Duration idle_limit =
      std::chrono::seconds(15);  ///< without a byte, either way; heartbeats at a third of it
  Duration retry_first = std::chrono::milliseconds(100);  ///< before the second attempt to connect; doubles
  Duration retry_most = std::chrono::seconds(5);          ///< between two attempts, give or take a tenth
  Duration linger = std::chrono::milliseconds(500);       ///< for what is queued when the hub ends

  [[nodiscard]] TcpHubOptions with_role(TcpRole value) const { return changed(&TcpHubOptions::role, value); }
  [[nodiscard]] TcpHubOptions with_peer(std::string address) const {
    TcpHubOptions other = *this;
    other.peers.push_back(std::move(address));
    return other;
  }
  [[nodiscard]] TcpHubOptions with_insecure(bool value = true) const {
    return changed(&TcpHubOptions::insecure, value);
  }
  [[nodiscard]] TcpHubOptions with_max_message_bytes(std::size_t bytes) const {
    return changed(&TcpHubOptions::max_message_bytes, bytes);
  }
  [[nodiscard]] TcpHubOptions with_max_connections(std::uint32_t count, std::uint32_t per_address) const {
    TcpHubOptions other = *this;
    other.max_connections = count;
    other.max_connections_per_address = per_address;
    return other;
  }
  [[nodiscard]] TcpHubOptions with_handshake_limit(Duration limit) const {
    return changed(&TcpHubOptions::handshake_limit, limit);
  }
  [[nodiscard]] TcpHubOptions with_idle_limit(Duration limit) const {
    return changed(&TcpHubOptions::idle_limit, limit);
  }
  [[nodiscard]] TcpHubOptions with_retry(Duration first, Duration most) const {
    TcpHubOptions other = *this;
    other.retry_first = first;
    other.retry_most = most;
    return other;
  }
  [[nodiscard]] TcpHubOptions with_linger(Duration limit) const {
    return changed(&TcpHubOptions::linger, limit);
  }

  /// Errors: EINVAL with the setting, its value and its range.
  [[nodiscard]] Result<> check() const;

 private:
  template <class T>
  [[nodiscard]] TcpHubOptions changed(T TcpHubOptions::* member, T value) const {
    TcpHubOptions other = *this;
    other.*member = std::move(value);
    return other;
  }
};

}  // namespace horus
