// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp_options.hpp>

#include <cerrno>

#include <fmt/format.h>

#include <horus/msg/options.hpp>

namespace horus {

Result<> TcpHubOptions::check() const {
  std::string wrong;
  const auto number = [&](const char* name, std::size_t value, std::size_t least, std::size_t most) {
    if ((value < least || value > most) && wrong.empty())
      wrong = fmt::format("{} is {}; {} to {}", name, value, least, most);
  };
  const auto time = [&](const char* name, Duration value, Duration least, Duration most) {
    if ((value < least || value > most) && wrong.empty()) {
      wrong = fmt::format("{} is {} ms; {} to {} ms", name, value.count() / 1'000'000,
                          least.count() / 1'000'000, most.count() / 1'000'000);
    }
  };
  using std::chrono::milliseconds;
  using std::chrono::minutes;
  number("max_message_bytes", max_message_bytes, 1, AdvertiseOptions::kLargestMessage);
  number("max_greeting_bytes", max_greeting_bytes, 512, 65536);
  number("max_outbound_bytes", max_outbound_bytes, 65536, std::size_t{1} << 30);
  number("max_connections", max_connections, 1, 65536);
  number("max_connections_per_address", max_connections_per_address, 1, 65536);
  number("max_ports", max_ports, 1, 1 << 20);
  number("peers", peers.size(), 0, max_connections);
  time("handshake_limit", handshake_limit, milliseconds(1), minutes(10));
  time("idle_limit", idle_limit, milliseconds(10), minutes(60));
  time("retry_first", retry_first, milliseconds(1), minutes(10));
  time("retry_most", retry_most, retry_first, minutes(60));
  time("linger", linger, Duration::zero(), minutes(1));
  if (!wrong.empty()) return Error(EINVAL, "make a TCP hub", "(TcpHubOptions: " + wrong + ")");
  return {};
}

}  // namespace horus
