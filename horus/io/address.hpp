// SPDX-License-Identifier: Apache-2.0
// The address of a socket as a value: IPv4, IPv6, Unix or abstract Unix. Any thread; copies share nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <sys/socket.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::io {

/// The numeric address of a socket. Nothing here ever asks a name server; `resolve()` does.
///
/// Semantics: a plain value. `parse()` accepts the text that `to_string()` produces. A default address has no family.
/// Errors: EINVAL with the expected form; ENAMETOOLONG for a Unix path that sockaddr_un cannot hold; ENODEV for an
/// unknown interface after `%`.
/// Thread safety: as a plain value.
/// Example: `auto where = horus::io::Address::parse("[::1]:9000").or_throw();`
/// Source: ip(7), ipv6(7), unix(7).
class HORUS_API Address {
 public:
  Address() noexcept = default;

  /// `127.0.0.1:80` · `[::1]:80` · `[fe80::1%eth0]:80` · `unix:/run/x.sock` · `unix:@abstract-name`.
  static Result<Address> parse(std::string_view text);
  /// A numeric host, IPv4 or IPv6 (with or without brackets), and a port.
  static Result<Address> ip(std::string_view host, std::uint16_t port);
  /// A socket in the file system. The path has at most 107 bytes.
  static Result<Address> unix_path(std::string_view path);
  /// A socket in Linux' abstract namespace, which disappears with its last descriptor. The name has at most 107
  /// bytes, not counting the @.
  static Result<Address> unix_abstract(std::string_view name);
  static Address any_v4(std::uint16_t port) noexcept;
  static Address any_v6(std::uint16_t port) noexcept;
  static Address loopback_v4(std::uint16_t port) noexcept;
  static Address loopback_v6(std::uint16_t port) noexcept;
  /// A copy of an address from the kernel or the resolver; at most sizeof(sockaddr_storage) bytes are copied.
  static Address from(const sockaddr* address, socklen_t size) noexcept;

  /// AF_INET, AF_INET6 or AF_UNIX; AF_UNSPEC for a default address.
  [[nodiscard]] int family() const noexcept {
    return size_ < sizeof(sa_family_t) ? AF_UNSPEC : storage_.ss_family;
  }
  [[nodiscard]] bool is_ip() const noexcept { return family() == AF_INET || family() == AF_INET6; }
  [[nodiscard]] bool is_unix() const noexcept { return family() == AF_UNIX; }
  /// True for 127.0.0.0/8, ::1 and ::ffff:127.0.0.0/104, which no other machine can reach.
  [[nodiscard]] bool is_loopback() const noexcept;
  /// In host byte order; 0 for Unix addresses.
  [[nodiscard]] std::uint16_t port() const noexcept;
  /// The same address with another port; Unix addresses are unchanged.
  [[nodiscard]] Address with_port(std::uint16_t port) const noexcept;
  /// The numeric host without port and brackets; the path of a Unix address.
  [[nodiscard]] std::string host() const;
  /// The address as text for people; `parse()` accepts it.
  [[nodiscard]] std::string to_string() const;

  // For system calls.
  [[nodiscard]] const sockaddr* data() const noexcept { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const noexcept { return size_; }
  /// `capacity` bytes for the kernel to fill; then pass the number of filled bytes to `set_size`.
  [[nodiscard]] sockaddr* room() noexcept { return reinterpret_cast<sockaddr*>(&storage_); }
  static constexpr socklen_t capacity = sizeof(sockaddr_storage);
  void set_size(socklen_t size) noexcept { size_ = size < capacity ? size : capacity; }

  /// Same family, host, port and scope; for Unix addresses the same path or name.
  friend HORUS_API bool operator==(const Address& one, const Address& other) noexcept;

 private:
  [[nodiscard]] std::string_view unix_name() const noexcept;

  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

}  // namespace horus::HORUS_ABI::io
