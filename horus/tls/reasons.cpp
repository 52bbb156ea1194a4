// SPDX-License-Identifier: Apache-2.0
#include <horus/tls/reasons.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <string_view>

#include <arpa/inet.h>

#include <fmt/format.h>

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace horus::tls {
namespace {

constexpr std::size_t kNamesShown = 4;
constexpr std::size_t kLongestName = 80;  // bytes; it is a peer's
constexpr std::int64_t kDay_s = 86400;

std::string common_name(const X509_NAME* name) {
  if (name == nullptr) return {};
  const int place = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (place < 0) return {};
  const ASN1_STRING* text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, place));
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, text);
  if (size < 0) return {};
  std::string found(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  return found;
}

std::string whole_name(const X509_NAME* name) {
  if (const std::string common = common_name(name); !common.empty()) return shown(common);
  std::array<char, 256> line{};
  if (name != nullptr) X509_NAME_oneline(name, line.data(), static_cast<int>(line.size()));
  return shown(line.data());
}

std::string day(std::int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts{};
  if (::gmtime_r(&time, &parts) == nullptr) return "?";
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

std::string days(std::int64_t seconds) {
  const std::int64_t count = seconds / kDay_s;
  if (count == 0) return "less than a day";
  return count == 1 ? std::string("1 day") : fmt::format("{} days", count);
}

std::string joined(const std::vector<std::string>& names) {
  std::string list;
  for (std::size_t i = 0; i < names.size() && i < kNamesShown; ++i)
    list += (i == 0 ? "" : ", ") + shown(names[i]);
  if (names.size() > kNamesShown) list += fmt::format(" and {} more", names.size() - kNamesShown);
  return list.empty() ? "nobody" : list;
}

// One * in `pattern` stands for any number of characters.
bool matches(std::string_view name, std::string_view pattern) noexcept {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  const std::string_view begin = pattern.substr(0, star);
  const std::string_view end = pattern.substr(star + 1);
  return name.size() >= begin.size() + end.size() && name.starts_with(begin) && name.ends_with(end);
}

// What an alert of the peer means to us, who are `server`.
std::string alert_text(int reason, bool server) {
  const std::string_view ours = server ? "the server's certificate" : "our certificate";
  switch (reason) {
    case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
      return fmt::format("(the peer does not trust who issued {}: give it our authority)", ours);
    case SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED:
      return fmt::format("(the peer says that {} has expired: renew it, or set the peer's clock)", ours);
    case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    case SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED:
    case SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE:
    case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
      return fmt::format("(the peer refused {}: is it for the name that the peer expects?)", ours);
    case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
      return "(the peer asks for a certificate, and we have none: give one with with_certificate())";
    case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
      return "(the peer does not speak our version of TLS; TLS 1.3 is needed)";
    case SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL:
      return "(the peer speaks none of our protocols: compare both ends' with_protocols())";
    case SSL_R_TLSV1_UNRECOGNIZED_NAME: return "(the peer serves no host of that name)";
    case SSL_R_TLSV1_ALERT_UNKNOWN_PSK_IDENTITY:
      return "(no key in common: the peer does not know our key's identity)";
    case SSL_R_TLSV1_ALERT_DECRYPT_ERROR:
      return "(the peer could not verify what we sent: is the key the same at both ends?)";
    case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
      return "(the peer and we have nothing in common: key, certificate, cipher or version)";
    default: return {};
  }
}

std::string protocol_text(int reason, bool server) {
  switch (reason) {
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_BAD_RECORD_TYPE: return "(the peer does not speak TLS here: check the port)";
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
      return server ? "(the peer speaks only older versions; TLS 1.3 is needed)"
                    : "(the peer does not speak TLS 1.3; with_tls12() allows 1.2)";
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
      return "(nothing in common with the peer: cipher, group, or kind of key)";
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
      return "(a record was changed on its way, or made with another key)";
    case SSL_R_BINDER_DOES_NOT_VERIFY: return "(the peer's key of this identity is another one)";
    case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
      return "(the peer gave no certificate: with_certificate() at the client)";
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return "(the peer speaks none of our protocols: compare both ends' with_protocols())";
    default: return {};
  }
}

}  // namespace

std::string shown(std::string_view text) {
  std::string clean(text.substr(0, kLongestName));
  for (char& c : clean) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return clean;
}

bool is_address(const std::string& name) {
  unsigned char bytes[sizeof(in6_addr)];
  return ::inet_pton(AF_INET, name.c_str(), bytes) == 1 || ::inet_pton(AF_INET6, name.c_str(), bytes) == 1;
}

std::int64_t seconds_of(const ASN1_TIME* time) {
  std::tm parts{};
  return time != nullptr && ASN1_TIME_to_tm(time, &parts) != 0 ? static_cast<std::int64_t>(::timegm(&parts))
                                                               : 0;
}

std::string issuer_of(const X509& certificate) { return whole_name(X509_get_issuer_name(&certificate)); }

std::vector<std::string> names_of(const X509& certificate) {
  std::vector<std::string> names;
  auto* all =
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; all != nullptr && i < sk_GENERAL_NAME_num(all); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(all, i);
    if (name->type == GEN_DNS) {
      names.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(name->d.dNSName)),
                         static_cast<std::size_t>(ASN1_STRING_length(name->d.dNSName)));
    } else if (name->type == GEN_IPADD) {
      std::array<char, INET6_ADDRSTRLEN> text{};
      const int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
      const int size = ASN1_STRING_length(name->d.iPAddress);
      if (size != 4 && size != 16) continue;
      ::inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), text.data(), text.size());
      names.emplace_back(text.data());
    }
  }
  GENERAL_NAMES_free(all);
  if (names.empty()) {
    if (std::string common = common_name(X509_get_subject_name(&certificate)); !common.empty())
      names.push_back(std::move(common));
  }
  return names;
}

std::string untrusted(int verify_error, const X509* certificate, const std::string& expected,
                      std::int64_t wall_clock_ns) {
  const std::string whose = certificate == nullptr ? "?" : whole_name(X509_get_subject_name(certificate));
  const std::string issuer = certificate == nullptr ? "?" : whole_name(X509_get_issuer_name(certificate));
  const std::int64_t now = wall_clock_ns / 1'000'000'000;
  switch (verify_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED: {
      const std::int64_t end = seconds_of(certificate == nullptr ? nullptr : X509_get0_notAfter(certificate));
      return fmt::format("(the certificate of {} expired on {}, {} ago: renew it; this machine's date is {})",
                         whose, day(end), days(now - end), day(now));
    }
    case X509_V_ERR_CERT_NOT_YET_VALID: {
      const std::int64_t begin =
          seconds_of(certificate == nullptr ? nullptr : X509_get0_notBefore(certificate));
      return fmt::format(
          "(the certificate of {} is valid from {}, and this machine's date is {}: set its clock)", whose,
          day(begin), day(now));
    }
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
      return fmt::format(
          "(the certificate of {} is signed by itself: if it is the right one, trust it with "
          "with_authority())",
          whose);
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return fmt::format(
          "(the certificate of {} was issued by {}, which is not trusted here: add it with with_authority())",
          whose, issuer);
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return fmt::format("(the certificate of {} says that {} issued it, and that is not true)", whose,
                         issuer);
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fmt::format(
          "(the certificate is for {}, not for {}: connect by one of its names, or have one made for this)",
          certificate == nullptr ? "?" : joined(names_of(*certificate)), shown(expected));
    case X509_V_ERR_INVALID_PURPOSE:
      return fmt::format("(the certificate of {} is not made for this use)", whose);
    default:
      return fmt::format("(the certificate of {}: {})", whose, X509_verify_cert_error_string(verify_error));
  }
}

bool one_is_allowed(const std::vector<std::string>& names, const std::vector<std::string>& allowed) noexcept {
  return std::any_of(allowed.begin(), allowed.end(), [&](const std::string& pattern) {
    return std::any_of(names.begin(), names.end(),
                       [&](const std::string& name) { return matches(name, pattern); });
  });
}

std::string not_allowed(const std::vector<std::string>& names, const std::vector<std::string>& allowed) {
  return fmt::format("(the certificate is for {}; allowed here: {})", joined(names), joined(allowed));
}

Failure take_failure(bool server) {
  Failure failure{Failure::Kind::protocol, {}};
  // The first one is the cause.
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return {Failure::Kind::protocol, "(no reason given)"};
  const int reason = ERR_GET_REASON(code);
  if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET) {
    failure.kind = Failure::Kind::refused;
    failure.text = alert_text(reason, server);
    if (failure.text.empty())
      failure.text = fmt::format("(the peer ended the connection: {})", ERR_reason_error_string(code));
    return failure;
  }
  if (ERR_GET_LIB(code) == ERR_LIB_SSL) failure.text = protocol_text(reason, server);
  if (failure.text.empty()) {
    const char* words = ERR_reason_error_string(code);
    failure.text = fmt::format("({})", words != nullptr ? words : "unknown reason");
  }
  return failure;
}

Failure unusable(const std::string& what) {
  const unsigned long code = ERR_get_error();
  ERR_clear_error();
  const char* words = code == 0 ? nullptr : ERR_reason_error_string(code);
  return {Failure::Kind::settings,
          words == nullptr ? fmt::format("({})", what) : fmt::format("({}: {})", what, words)};
}

}  // namespace horus::tls
