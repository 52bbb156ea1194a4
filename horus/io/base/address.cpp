// SPDX-License-Identifier: Apache-2.0
#include <horus/io/address.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <fmt/format.h>

namespace horus::HORUS_ABI::io {
namespace {

constexpr std::size_t kPathRoom =
    sizeof(sockaddr_un::sun_path) - 1;  // the terminating zero, or the leading one

Error not_an_address(std::string_view text) {
  return Error(EINVAL, "address",
               fmt::format("\"{}\" (expected IPv4:port, [IPv6]:port, unix:/path or unix:@name)", text));
}

Result<std::uint16_t> parse_port(std::string_view digits, std::string_view whole) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (digits.empty() || error != std::errc{} || end != digits.data() + digits.size() || port > 65535) {
    return Error(EINVAL, "address", fmt::format("\"{}\" (the port must be a number from 0 to 65535)", whole));
  }
  return static_cast<std::uint16_t>(port);
}

template <class T>
Address from_typed(const T& address) noexcept {
  return Address::from(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

sockaddr_in v4(in_addr_t host, std::uint16_t port) noexcept {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(host);
  return address;
}

sockaddr_in6 v6(const in6_addr& host, std::uint16_t port) noexcept {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_addr = host;
  return address;
}

// "eth0" or "2" after the % of a link-local address.
Result<std::uint32_t> parse_scope(const std::string& scope) {
  std::uint32_t index = 0;
  const auto [end, error] = std::from_chars(scope.data(), scope.data() + scope.size(), index);
  if (error == std::errc{} && end == scope.data() + scope.size()) return index;
  index = ::if_nametoindex(scope.c_str());
  if (index == 0)
    return Error(ENODEV, "address", fmt::format("scope \"{}\" (no such network interface)", scope));
  return index;
}

}  // namespace

Result<Address> Address::parse(std::string_view text) {
  if (text.starts_with("unix:@")) return unix_abstract(text.substr(6));
  if (text.starts_with("unix:")) return unix_path(text.substr(5));
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return not_an_address(text);
  const std::string_view host = text.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  // Without brackets nobody can tell where an IPv6 address ends and its port begins.
  if (!bracketed && host.find(':') != std::string_view::npos) return not_an_address(text);
  auto port = parse_port(text.substr(colon + 1), text);
  if (!port) return port.error();
  auto address = ip(host, *port);
  if (!address && address.code() == EINVAL) return not_an_address(text);
  return address;
}

Result<Address> Address::ip(std::string_view host, std::uint16_t port) {
  std::string_view bare = host;
  const bool bracketed = bare.size() >= 2 && bare.front() == '[' && bare.back() == ']';
  if (bracketed) bare = bare.substr(1, bare.size() - 2);
  if (bare.find('\0') != std::string_view::npos) bare = {};  // inet_pton would read up to the zero
  const std::size_t percent = bare.find('%');
  const std::string numeric(bare.substr(0, percent));
  in_addr host_v4{};
  if (!bracketed && ::inet_pton(AF_INET, numeric.c_str(), &host_v4) == 1 &&
      percent == std::string_view::npos) {
    return from_typed(v4(ntohl(host_v4.s_addr), port));
  }
  in6_addr host_v6{};
  if (::inet_pton(AF_INET6, numeric.c_str(), &host_v6) != 1) {
    return Error(EINVAL, "address", fmt::format("\"{}\" (expected a numeric IPv4 or IPv6 host)", host));
  }
  sockaddr_in6 address = v6(host_v6, port);
  if (percent != std::string_view::npos) {
    auto scope = parse_scope(std::string(bare.substr(percent + 1)));
    if (!scope) return scope.error();
    address.sin6_scope_id = *scope;
  }
  return from_typed(address);
}

Result<Address> Address::unix_path(std::string_view path) {
  if (path.empty() || path.find('\0') != std::string_view::npos)
    return not_an_address(fmt::format("unix:{}", path));
  if (path.size() > kPathRoom)
    return Error(ENAMETOOLONG, "address", fmt::format("unix:{} (at most {} bytes)", path, kPathRoom));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto size = offsetof(sockaddr_un, sun_path) + path.size() + 1;
  return from(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size));
}

Result<Address> Address::unix_abstract(std::string_view name) {
  if (name.empty()) return not_an_address("unix:@");
  if (name.size() > kPathRoom)
    return Error(ENAMETOOLONG, "address", fmt::format("unix:@{} (at most {} bytes)", name, kPathRoom));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path + 1, name.data(), name.size());
  const auto size = offsetof(sockaddr_un, sun_path) + 1 + name.size();
  return from(reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(size));
}

Address Address::any_v4(std::uint16_t port) noexcept { return from_typed(v4(INADDR_ANY, port)); }
Address Address::any_v6(std::uint16_t port) noexcept { return from_typed(v6(in6addr_any, port)); }
bool Address::is_loopback() const noexcept {
  if (family() == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage_);
    return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
  }
  if (family() != AF_INET6) return false;
  const in6_addr& v6 = reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr;
  return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

Address Address::loopback_v4(std::uint16_t port) noexcept { return from_typed(v4(INADDR_LOOPBACK, port)); }
Address Address::loopback_v6(std::uint16_t port) noexcept { return from_typed(v6(in6addr_loopback, port)); }

Address Address::from(const sockaddr* address, socklen_t size) noexcept {
  Address copy;
  copy.set_size(size);
  if (copy.size_ > 0) std::memcpy(&copy.storage_, address, copy.size_);
  return copy;
}

std::uint16_t Address::port() const noexcept {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in&>(storage_).sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(storage_).sin6_port);
  return 0;
}

Address Address::with_port(std::uint16_t port) const noexcept {
  Address other = *this;
  if (family() == AF_INET) reinterpret_cast<sockaddr_in&>(other.storage_).sin_port = htons(port);
  if (family() == AF_INET6) reinterpret_cast<sockaddr_in6&>(other.storage_).sin6_port = htons(port);
  return other;
}

// The path without its terminating zero, or the abstract name with its leading one; empty for an unnamed socket.
std::string_view Address::unix_name() const noexcept {
  constexpr std::size_t kOffset = offsetof(sockaddr_un, sun_path);
  if (size_ <= kOffset) return {};
  const char* path = reinterpret_cast<const sockaddr_un&>(storage_).sun_path;
  const std::size_t size = std::min<std::size_t>(size_ - kOffset, sizeof(sockaddr_un::sun_path));
  if (path[0] == '\0') return {path, size};
  return {path, ::strnlen(path, size)};
}

std::string Address::host() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (family() == AF_INET) {
    ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage_).sin_addr, text, sizeof text);
    return text;
  }
  if (family() == AF_INET6) {
    const auto& address = reinterpret_cast<const sockaddr_in6&>(storage_);
    ::inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof text);
    if (address.sin6_scope_id == 0) return text;
    char name[IF_NAMESIZE];
    if (::if_indextoname(address.sin6_scope_id, name) != nullptr) return fmt::format("{}%{}", text, name);
    return fmt::format("{}%{}", text, address.sin6_scope_id);
  }
  if (family() == AF_UNIX) {
    const std::string_view name = unix_name();
    if (name.empty()) return "(unnamed)";
    std::string shown;
    for (std::size_t i = 0; i < name.size(); ++i) {
      const auto byte = static_cast<unsigned char>(name[i]);
      if (i == 0 && byte == 0) {
        shown += '@';
      } else if (byte < 0x20 || byte == 0x7f) {
        shown += fmt::format("\\x{:02x}", byte);
      } else {
        shown += name[i];
      }
    }
    return shown;
  }
  return "(none)";
}

std::string Address::to_string() const {
  if (family() == AF_INET) return fmt::format("{}:{}", host(), port());
  if (family() == AF_INET6) return fmt::format("[{}]:{}", host(), port());
  if (family() == AF_UNIX) return "unix:" + host();
  return host();
}

bool operator==(const Address& one, const Address& other) noexcept {
  if (one.family() != other.family()) return false;
  if (one.family() == AF_INET) {
    const auto& a = reinterpret_cast<const sockaddr_in&>(one.storage_);
    const auto& b = reinterpret_cast<const sockaddr_in&>(other.storage_);
    return a.sin_port == b.sin_port && a.sin_addr.s_addr == b.sin_addr.s_addr;
  }
  if (one.family() == AF_INET6) {
    const auto& a = reinterpret_cast<const sockaddr_in6&>(one.storage_);
    const auto& b = reinterpret_cast<const sockaddr_in6&>(other.storage_);
    return a.sin6_port == b.sin6_port && a.sin6_scope_id == b.sin6_scope_id &&
           std::memcmp(&a.sin6_addr, &b.sin6_addr, sizeof a.sin6_addr) == 0;
  }
  return one.unix_name() == other.unix_name();
}

}  // namespace horus::HORUS_ABI::io
