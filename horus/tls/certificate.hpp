// SPDX-License-Identifier: Apache-2.0
// Making and describing certificates. Any thread.
#pragma once

#include <string>

#include <horus/io/tls/engine.hpp>

namespace horus::tls {

io::tls::Failure make_certificate(const io::tls::CertificateOrder& order, io::tls::MadeCertificate& made);
io::tls::Failure describe_certificate(const std::string& pem, io::tls::CertificateFacts& facts);

}  // namespace horus::tls
