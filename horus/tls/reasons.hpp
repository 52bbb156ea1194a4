// SPDX-License-Identifier: Apache-2.0
// OpenSSL's failures in words: what went wrong, and what a person can do about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <horus/io/tls/engine.hpp>

#include <openssl/types.h>

namespace horus::tls {

using io::tls::Failure;

/// The names that a certificate is for: DNS names and addresses; the common name where there is none of those.
std::vector<std::string> names_of(const X509& certificate);

/// The issuer's common name, or its whole name.
std::string issuer_of(const X509& certificate);
/// UTC since 1970, in seconds.
std::int64_t seconds_of(const ASN1_TIME* time);

/// Why `certificate` of the chain is not trusted. `expected`: the name that it should be for.
std::string untrusted(int verify_error, const X509* certificate, const std::string& expected,
                      std::int64_t wall_clock_ns);

/// Whether one of `names` is one of `allowed`, in which * stands for any number of characters.
bool one_is_allowed(const std::vector<std::string>& names, const std::vector<std::string>& allowed) noexcept;
/// In words.
std::string not_allowed(const std::vector<std::string>& names, const std::vector<std::string>& allowed);

/// What OpenSSL has put on this thread's queue of errors, which is empty then.
Failure take_failure(bool server);

/// The same, of settings: `what` could not be used.
Failure unusable(const std::string& what);

/// Somebody else's text in one line of ours, at most 80 bytes of it.
std::string shown(std::string_view text);
/// An IPv4 or IPv6 address, and no name.
bool is_address(const std::string& name);

}  // namespace horus::tls
