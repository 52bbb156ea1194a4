// SPDX-License-Identifier: Apache-2.0
// Addresses: any text, and any bytes that a kernel or a resolver could give. What parses is shown as what parses again.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <horus/io/address.hpp>

namespace {

using horus::io::Address;

void must(bool holds) {
  if (!holds) std::abort();
}

// Bytes of a Unix address that are not printable are shown as \xNN, which is for people.
bool is_shown_as_it_is(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x20 && byte != 0x7f;
  });
}

void must_be_sound(const Address& address) {
  must(address.size() <= Address::capacity);
  must(!address.to_string().empty() && !address.host().empty());
  must(address == address);
  const Address copy = Address::from(address.data(), address.size());
  must(copy == address && copy.to_string() == address.to_string());
  const Address moved = address.with_port(4711);
  must(moved.port() == (address.is_ip() ? 4711 : 0) && moved.with_port(address.port()) == address);
  static_cast<void>(address.is_loopback());
}

void must_explain(const horus::Error& error) {
  must(error.code() == EINVAL || error.code() == ENAMETOOLONG || error.code() == ENODEV);
  must(!error.message().empty());
}

void parse(std::string_view text) {
  const auto address = Address::parse(text);
  if (!address) return must_explain(address.error());
  must(address->is_ip() || address->is_unix());
  must_be_sound(*address);
  if (!is_shown_as_it_is(text)) return;
  const auto again = Address::parse(address->to_string());
  must(again && *again == *address && again->to_string() == address->to_string());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  parse(text);
  if (const auto host = Address::ip(text, 80)) {
    must(host->is_ip() && host->port() == 80);
    must_be_sound(*host);
  } else {
    must_explain(host.error());
  }
  for (const auto& unix_address : {Address::unix_path(text), Address::unix_abstract(text)}) {
    if (unix_address) {
      must_be_sound(*unix_address);
    } else {
      must_explain(unix_address.error());
    }
  }
  sockaddr_storage raw{};
  std::memcpy(&raw, data, std::min(size, sizeof raw));
  must_be_sound(Address::from(reinterpret_cast<const sockaddr*>(&raw), static_cast<socklen_t>(size)));
  return 0;
}
