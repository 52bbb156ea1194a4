// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/base/socket_options.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <netinet/in.h>
#include <netinet/tcp.h>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr int kSmallestBuffer = 2304;  // SOCK_MIN_RCVBUF
constexpr int kLargestBuffer = 2 * 212992;

struct Default {
  int level;
  int option;
  int value;
};
// What they are when nobody has set them; all others are 0.
constexpr Default kDefaults[] = {
    {SOL_SOCKET, SO_RCVBUF, 131072},
    {SOL_SOCKET, SO_SNDBUF, 87040},
    {IPPROTO_TCP, TCP_KEEPIDLE, 7200},
    {IPPROTO_TCP, TCP_KEEPINTVL, 75},
    {IPPROTO_TCP, TCP_KEEPCNT, 9},
    {IPPROTO_TCP, TCP_MAXSEG, 1448},
    {IPPROTO_IP, IP_MULTICAST_LOOP, 1},
    {IPPROTO_IP, IP_MULTICAST_TTL, 1},
    {IPPROTO_IP, IP_TTL, 64},
    {IPPROTO_IPV6, IPV6_MULTICAST_LOOP, 1},
    {IPPROTO_IPV6, IPV6_UNICAST_HOPS, 64},
    {IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 1},
};

}  // namespace

int SocketOptions::set(int level, int option, const void* value, socklen_t size) {
  if (level == SOL_SOCKET && option == SO_LINGER) {
    if (size < sizeof(linger)) return -EINVAL;
    linger wanted{};
    std::memcpy(&wanted, value, sizeof wanted);
    lingers_ = wanted.l_onoff != 0;
    linger_s_ = wanted.l_linger;
    return 0;
  }
  if (size < sizeof(int)) return -EINVAL;
  int number = 0;
  std::memcpy(&number, value, sizeof number);
  // The kernel doubles it, for its own bookkeeping.
  if (level == SOL_SOCKET && (option == SO_RCVBUF || option == SO_SNDBUF))
    number = std::clamp(number, kSmallestBuffer / 2, kLargestBuffer / 2) * 2;
  values_[{level, option}] = number;
  return 0;
}

int SocketOptions::value(int level, int option) const {
  const auto known = values_.find({level, option});
  if (known != values_.end()) return known->second;
  for (const Default& one : kDefaults) {
    if (one.level == level && one.option == option) return one.value;
  }
  return 0;
}

int SocketOptions::get(int level, int option, void* value, socklen_t* size) const {
  if (level == SOL_SOCKET && option == SO_LINGER) {
    const linger now{lingers_ ? 1 : 0, linger_s_};
    *size = std::min<socklen_t>(*size, sizeof now);
    std::memcpy(value, &now, *size);
    return 0;
  }
  const int number = this->value(level, option);
  *size = std::min<socklen_t>(*size, sizeof number);
  std::memcpy(value, &number, *size);
  return 0;
}

}  // namespace horus::HORUS_ABI::sim::detail
