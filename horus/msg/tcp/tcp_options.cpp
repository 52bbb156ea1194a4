// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp_options.hpp>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <string_view>
#include <type_traits>

#include <fmt/format.h>

#include <horus/msg/tcp/tcp_limits.hpp>

namespace horus::HORUS_ABI {

namespace {

constexpr std::size_t kLargestFile = std::size_t{1} << 20;  // bytes of keys or certificates

// When a hub is made, as its configuration is read: from the real disk, in a simulated world too.
Result<std::string> contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Error(errno != 0 ? errno : ENOENT, "open", path);
  std::string text(kLargestFile + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kLargestFile) return Error(EFBIG, "read", path);
  return text;
}

int digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// "rover 00ff…": false when it is no such line.
bool take_key(std::string_view line, HubTls& tls) {
  const std::size_t space = line.find(' ');
  if (space == 0 || space == std::string_view::npos) return false;
  const std::string_view digits = line.substr(space + 1);
  if (digits.size() < 32 || digits.size() > 128 || digits.size() % 2 != 0) return false;
  std::string secret;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    const int high = digit(digits[i]);
    const int low = digit(digits[i + 1]);
    if (high < 0 || low < 0) return false;
    secret += static_cast<char>(high * 16 + low);
  }
  tls.keys.emplace_back(std::string(line.substr(0, space)), std::move(secret));
  return true;
}

}  // namespace

Result<HubTls> HubTls::key_file(const std::string& path) {
  const auto text = contents_of(path);
  if (!text) return text.error();
  HubTls tls;
  std::size_t number = 0;
  for (std::size_t at = 0; at < text->size();) {
    const std::size_t end = std::min(text->find('\n', at), text->size());
    const std::string_view line = std::string_view(*text).substr(at, end - at);
    at = end + 1;
    ++number;
    if (line.empty() || line.front() == '#') continue;
    if (!take_key(line, tls)) {
      return Error(EINVAL, "read", fmt::format("{}:{}", path, number))
          .with_detail(
              "(expected an identity, a space, and 32 to 128 hexadecimal digits: horus key new makes it)");
    }
  }
  if (tls.keys.empty())
    return Error(EINVAL, "read", path).with_detail("(there is no key in it: horus key new makes one)");
  return tls;
}

HubTls HubTls::key(std::string identity, std::string secret) {
  HubTls tls;
  tls.keys.emplace_back(std::move(identity), std::move(secret));
  return tls;
}

Result<HubTls> HubTls::certificate_files(const std::string& certificate, const std::string& private_key,
                                         const std::string& authority) {
  auto own = contents_of(certificate);
  if (!own) return own.error();
  auto key = contents_of(private_key);
  if (!key) return key.error();
  auto trusted = contents_of(authority);
  if (!trusted) return trusted.error();
  return certificates(*std::move(own), *std::move(key), *std::move(trusted));
}

HubTls HubTls::certificates(std::string certificate, std::string private_key, std::string authority) {
  HubTls tls;
  tls.certificate = std::move(certificate);
  tls.private_key = std::move(private_key);
  tls.authority = std::move(authority);
  return tls;
}

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
  if (wrong.empty() && tls && tls->keys.empty() && (tls->certificate.empty() || tls->authority.empty()))
    wrong = "tls has neither a shared key nor a certificate with its authority";
  if (!wrong.empty()) return Error(EINVAL, "make a TCP hub", "(TcpHubOptions: " + wrong + ")");
  return {};
}

}  // namespace horus::HORUS_ABI
