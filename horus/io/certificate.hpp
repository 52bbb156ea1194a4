// SPDX-License-Identifier: Apache-2.0
// Certificates for TLS: making them with a small authority of one's own, and reading what is in them. Any thread.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>

namespace horus::HORUS_ABI::io {

/// A certificate and its private key, both PEM. The key is a secret: keep it in a file of mode 0600.
struct Certificate {
  std::string certificate;
  std::string private_key;
};

/// For whom a certificate is made, and until when. `CertificateRequest("rover").with_name("10.0.0.7")`
struct CertificateRequest {
  explicit CertificateRequest(std::string name) { names.push_back(std::move(name)); }

  std::vector<std::string> names;  ///< host names and addresses; the first is the common name, too
  Duration life{std::chrono::hours(24 * 365 * 2)};  ///< from `begin` on
  Duration begin{-std::chrono::minutes(5)};  ///< from now; a little back, for peers whose clocks are slow
  bool authority = false;                    ///< it signs other certificates, and is no peer's own

  CertificateRequest& with_name(std::string name) & { return names.push_back(std::move(name)), *this; }
  CertificateRequest& with_life(Duration value) & { return life = value, *this; }
  CertificateRequest& with_begin(Duration value) & { return begin = value, *this; }
  CertificateRequest& as_authority() & { return authority = true, *this; }
  [[nodiscard]] CertificateRequest with_name(std::string name) && { return with_name(std::move(name)); }
  [[nodiscard]] CertificateRequest with_life(Duration value) && { return with_life(value); }
  [[nodiscard]] CertificateRequest with_begin(Duration value) && { return with_begin(value); }
  [[nodiscard]] CertificateRequest as_authority() && { return as_authority(); }
};

/// What a certificate says of itself.
struct CertificateDescription {
  std::vector<std::string> names;
  std::string issuer;        ///< its common name
  std::int64_t begin_s = 0;  ///< UTC since 1970
  std::int64_t end_s = 0;    ///< UTC since 1970
  bool authority = false;
};

/// Makes a key (P-256) and its certificate, signed by `authority`, or by itself. Takes well below a millisecond, except for the
/// first call, which loads OpenSSL.
/// Errors: EINVAL says what is wrong; ENOPKG without TLS (TlsContext).
/// Example: `auto own = horus::io::make_certificate(horus::io::CertificateRequest("rover"), authority).or_throw();`
HORUS_API Result<Certificate> make_certificate(const CertificateRequest& request,
                                               const Certificate& authority = {});

/// Describes the first certificate of a text in PEM form. Errors: as make_certificate.
HORUS_API Result<CertificateDescription> describe_certificate(const std::string& pem);

}  // namespace horus::HORUS_ABI::io
