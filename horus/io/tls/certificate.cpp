// SPDX-License-Identifier: Apache-2.0
#include <horus/io/certificate.hpp>

#include <cerrno>

#include <horus/io/seam/clock.hpp>
#include <horus/io/tls/load_engine.hpp>
#include <horus/io/tls/seam_chance.hpp>

namespace horus::HORUS_ABI::io {

Result<Certificate> make_certificate(const CertificateRequest& request, const Certificate& authority) {
  const auto engine = tls::load_engine();
  if (!engine) return engine.error();
  tls::CertificateOrder order;
  order.names = request.names;
  const std::int64_t begin_ns = saturating_add(wall_clock_ns(), request.begin.count());
  order.begin_s = begin_ns / 1'000'000'000;
  order.end_s = saturating_add(begin_ns, request.life.count()) / 1'000'000'000;
  order.authority = request.authority;
  order.signer = authority.certificate;
  order.signer_key = authority.private_key;
  order.chance = tls::seam_chance();
  tls::MadeCertificate made;
  const tls::Failure failure = (*engine)->make_certificate(order, made);
  if (failure.kind != tls::Failure::Kind::none)
    return Error(EINVAL, "make a certificate").with_detail(failure.text);
  return Certificate{std::move(made.certificate), std::move(made.private_key)};
}

Result<CertificateDescription> describe_certificate(const std::string& pem) {
  const auto engine = tls::load_engine();
  if (!engine) return engine.error();
  tls::CertificateFacts facts;
  const tls::Failure failure = (*engine)->describe_certificate(pem, facts);
  if (failure.kind != tls::Failure::Kind::none)
    return Error(EINVAL, "read a certificate").with_detail(failure.text);
  CertificateDescription description;
  description.names = std::move(facts.names);
  description.issuer = std::move(facts.issuer);
  description.begin_s = facts.begin_s;
  description.end_s = facts.end_s;
  description.authority = facts.authority;
  return description;
}

}  // namespace horus::HORUS_ABI::io
