// SPDX-License-Identifier: Apache-2.0
// The ranges of TcpHubOptions' limits, once: they are checked and read from configurations. Any thread. Internal.
#pragma once

#include <cstddef>
#include <utility>

#include <horus/base/clock.hpp>
#include <horus/msg/options.hpp>
#include <horus/msg/tcp_options.hpp>

namespace horus::HORUS_ABI::msg {

/// Calls `visit(name, limit, least, most)` for each, in an order in which a range may depend on limits before.
template <class Options, class Visit>
void visit_limits(Options& options, Visit visit) {
  using std::chrono::milliseconds;
  using std::chrono::minutes;
  const auto number = [&](const char* name, auto& limit, std::size_t least, std::size_t most) {
    visit(name, limit, least, most);
  };
  const auto time = [&](const char* name, auto& limit, Duration least, Duration most) {
    visit(name, limit, least, most);
  };
  number("max_message_bytes", options.max_message_bytes, 1, AdvertiseOptions::kLargestMessage);
  number("max_greeting_bytes", options.max_greeting_bytes, 512, 65536);
  number("max_outbound_bytes", options.max_outbound_bytes, 65536, std::size_t{1} << 30);
  number("max_inbound_bytes", options.max_inbound_bytes, 65536, std::size_t{1} << 36);
  number("max_connections", options.max_connections, 1, 65536);
  number("max_connections_per_address", options.max_connections_per_address, 1, 65536);
  number("max_ports", options.max_ports, 1, 1 << 20);
  time("handshake_limit", options.handshake_limit, milliseconds(1), minutes(10));
  time("idle_limit", options.idle_limit, milliseconds(30), minutes(60));
  time("retry_first", options.retry_first, milliseconds(1), minutes(10));
  time("retry_most", options.retry_most, options.retry_first, minutes(60));
  time("linger", options.linger, Duration::zero(), minutes(1));
}

}  // namespace horus::HORUS_ABI::msg
