// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp_options.hpp>

#include <cerrno>
#include <type_traits>

#include <fmt/format.h>

#include <horus/msg/tcp/tcp_limits.hpp>

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
  msg::visit_limits(*this, [&](const char* name, const auto& limit, auto least, auto most) {
    if constexpr (std::is_same_v<decltype(least), Duration>) {
      time(name, limit, least, most);
    } else {
      number(name, limit, least, most);
    }
  });
  number("peers", peers.size(), 0, max_connections);
  if (!wrong.empty()) return Error(EINVAL, "make a TCP hub", "(TcpHubOptions: " + wrong + ")");
  return {};
}

}  // namespace horus
