// SPDX-License-Identifier: Apache-2.0
// Options of a hub on TCP, and its limits. Plain values; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI {

/// Whether a hub listens at its address or connects to it.
enum class TcpRole : std::uint8_t {
  automatic,  ///< listens when the address is free on this machine, otherwise connects to it
  listen,     ///< listens, or fails
  connect,    ///< connects
};

/// How hubs on TCP encrypt, and whom they take: both ends prove themselves, by a secret that they share or by certificates of one
/// authority (docs/tls.md). `HubTls::key_file("fleet.key")`, `HubTls::certificate_files("rover.pem", "rover.key", "ca.pem")`
struct HORUS_API HubTls {
  /// Shared keys from a file as `horus key new` writes it: lines of an identity and 32 to 128 hexadecimal digits. A hub takes
  /// every one of them, and connects with the first. Errors: those of open(2); EINVAL with the line.
  static Result<HubTls> key_file(const std::string& path);
  static HubTls key(std::string identity, std::string secret);
  /// PEM files. Errors: those of open(2).
  static Result<HubTls> certificate_files(const std::string& certificate, const std::string& private_key,
                                          const std::string& authority);
  /// The same as text.
  static HubTls certificates(std::string certificate, std::string private_key, std::string authority);

  std::string certificate;                                ///< PEM
  std::string private_key;                                ///< PEM
  std::string authority;                                  ///< PEM: whose certificates are taken
  std::vector<std::pair<std::string, std::string>> keys;  ///< identity and secret
  std::vector<std::string>
      allowed;  ///< names of certificates that are taken, "rover-*"; empty: all of the authority's

  HubTls& allow(std::string name) & { return allowed.push_back(std::move(name)), *this; }
  [[nodiscard]] HubTls allow(std::string name) && { return std::move(allow(std::move(name))); }
};

/// Settings of Hub::tcp. `TcpHubOptions().with_role(TcpRole::connect).with_idle_limit(5s)`
struct HORUS_API TcpHubOptions {
  TcpHubOptions() {}

  TcpRole role = TcpRole::automatic;
  std::vector<std::string> peers;  ///< further addresses to connect to, "10.0.0.2:8080"
  std::optional<HubTls> tls;       ///< connections are encrypted; the hubs at the other ends have it too
  bool insecure = false;  ///< allow an address that other machines can reach, although nothing is encrypted

  /// The limit for one message, in bytes, as its publisher announces it: AdvertiseOptions::max_bytes, by default 1
  /// MiB.
  std::size_t max_message_bytes = std::size_t{64} << 20;
  /// How many bytes a peer may send before it has identified itself.
  std::size_t max_greeting_bytes = 4096;
  /// How many bytes may wait to be sent, in addition to the messages' queues.
  std::size_t max_outbound_bytes = std::size_t{4} << 20;
  /// How much memory one peer's messages may use between arrival and the take from their queues, in bytes; all peers
  /// together may use four times as much. Messages beyond the limit are dropped.
  std::size_t max_inbound_bytes = std::size_t{256} << 20;
  std::uint32_t max_connections = 256;
  std::uint32_t max_connections_per_address = 32;
  /// How many publishers a peer may announce, and how many channels it may open.
  std::uint32_t max_ports = 4096;

  Duration handshake_limit = std::chrono::seconds(2);
  /// A connection is closed when the peer sends or reads nothing for this long; heartbeats are sent at a third of it.
  Duration idle_limit = std::chrono::seconds(15);
  /// The wait before the second attempt to connect; it doubles each time.
  Duration retry_first = std::chrono::milliseconds(100);
  /// The longest wait between two attempts, give or take a tenth.
  Duration retry_most = std::chrono::seconds(5);
  /// How long queued messages may take to leave when the hub ends.
  Duration linger = std::chrono::milliseconds(500);

  TcpHubOptions& with_role(TcpRole value) & { return role = value, *this; }
  TcpHubOptions& with_peer(std::string address) & { return peers.push_back(std::move(address)), *this; }
  TcpHubOptions& with_insecure(bool value = true) & { return insecure = value, *this; }
  TcpHubOptions& with_tls(HubTls value) & { return tls = std::move(value), *this; }
  TcpHubOptions& with_max_message_bytes(std::size_t bytes) & { return max_message_bytes = bytes, *this; }
  TcpHubOptions& with_max_connections(std::uint32_t count, std::uint32_t per_address) & {
    return max_connections = count, max_connections_per_address = per_address, *this;
  }
  TcpHubOptions& with_handshake_limit(Duration limit) & { return handshake_limit = limit, *this; }
  TcpHubOptions& with_idle_limit(Duration limit) & { return idle_limit = limit, *this; }
  TcpHubOptions& with_retry(Duration first, Duration most) & {
    return retry_first = first, retry_most = most, *this;
  }
  TcpHubOptions& with_linger(Duration limit) & { return linger = limit, *this; }
  [[nodiscard]] TcpHubOptions with_role(TcpRole value) && { return std::move(with_role(value)); }
  [[nodiscard]] TcpHubOptions with_peer(std::string address) && {
    return std::move(with_peer(std::move(address)));
  }
  [[nodiscard]] TcpHubOptions with_insecure(bool value = true) && { return std::move(with_insecure(value)); }
  [[nodiscard]] TcpHubOptions with_tls(HubTls value) && { return std::move(with_tls(std::move(value))); }
  [[nodiscard]] TcpHubOptions with_max_message_bytes(std::size_t bytes) && {
    return std::move(with_max_message_bytes(bytes));
  }
  [[nodiscard]] TcpHubOptions with_max_connections(std::uint32_t count, std::uint32_t per_address) && {
    return std::move(with_max_connections(count, per_address));
  }
  [[nodiscard]] TcpHubOptions with_handshake_limit(Duration limit) && {
    return std::move(with_handshake_limit(limit));
  }
  [[nodiscard]] TcpHubOptions with_idle_limit(Duration limit) && { return std::move(with_idle_limit(limit)); }
  [[nodiscard]] TcpHubOptions with_retry(Duration first, Duration most) && {
    return std::move(with_retry(first, most));
  }
  [[nodiscard]] TcpHubOptions with_linger(Duration limit) && { return std::move(with_linger(limit)); }

  /// Errors: EINVAL with the setting, its value and its range.
  [[nodiscard]] Result<> check() const;
};

}  // namespace horus::HORUS_ABI
