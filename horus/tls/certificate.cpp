// SPDX-License-Identifier: Apache-2.0
#include <horus/tls/certificate.hpp>

#include <ctime>
#include <utility>

#include <fmt/format.h>

#include <horus/tls/chance.hpp>
#include <horus/tls/context.hpp>
#include <horus/tls/reasons.hpp>

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace horus::tls {
namespace {

using io::tls::CertificateOrder;
using io::tls::Failure;

using Bio = Owned<BIO, &BIO_free>;
using Certificate = Owned<X509, &X509_free>;
using PrivateKey = Owned<EVP_PKEY, &EVP_PKEY_free>;
using Extension = Owned<X509_EXTENSION, &X509_EXTENSION_free>;

constexpr std::size_t kMostNames = 64;
constexpr std::size_t kLongestCommonName = 64;  // bytes; ub-common-name of RFC 5280
constexpr std::size_t kLongestHostName = 253;   // bytes; a DNS name

// Letters, digits and what stands between them: nothing that the syntax of an extension would take for its own.
bool is_name(const std::string& name) {
  if (name.empty() || name.size() > kLongestHostName) return false;
  for (const char c : name) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '.' || c == '_' || c == '*';
    if (!fine) return false;
  }
  return true;
}

// An authority is called as people like.
bool is_text(const std::string& name) {
  if (name.empty() || name.size() > kLongestHostName) return false;
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return true;
}

Certificate certificate_of(const std::string& pem, OSSL_LIB_CTX* library) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  X509* read = X509_new_ex(library, nullptr);
  if (bio == nullptr || read == nullptr) return nullptr;
  if (PEM_read_bio_X509(bio.get(), &read, nullptr, nullptr) == nullptr) return nullptr;  // it frees it
  return Certificate(read);
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

bool add_extension(X509& certificate, const X509& signer, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, const_cast<X509*>(&signer), &certificate, nullptr, nullptr, 0);
  const Extension extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
  return extension != nullptr && X509_add_ext(&certificate, extension.get(), -1) != 0;
}

bool set_serial(X509& certificate, OSSL_LIB_CTX* library) {
  unsigned char bytes[16];
  if (RAND_bytes_ex(library, bytes, sizeof bytes, 0) != 1) return false;
  bytes[0] &= 0x7f;  // a positive number
  const Owned<BIGNUM, &BN_free> number(BN_bin2bn(bytes, sizeof bytes, nullptr));
  return number != nullptr &&
         BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(&certificate)) != nullptr;
}

bool set_times(X509& certificate, const CertificateOrder& order) {
  return ASN1_TIME_set(X509_getm_notBefore(&certificate), static_cast<std::time_t>(order.begin_s)) !=
             nullptr &&
         ASN1_TIME_set(X509_getm_notAfter(&certificate), static_cast<std::time_t>(order.end_s)) != nullptr;
}

bool set_extensions(X509& certificate, const X509& signer, const CertificateOrder& order) {
  std::string names;
  for (const std::string& name : order.names)
    names += fmt::format("{}{}:{}", names.empty() ? "" : ",", is_address(name) ? "IP" : "DNS", name);
  const bool basics =
      add_extension(certificate, signer, NID_basic_constraints,
                    order.authority ? "critical,CA:TRUE" : "critical,CA:FALSE") &&
      add_extension(certificate, signer, NID_key_usage,
                    order.authority ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature") &&
      add_extension(certificate, signer, NID_subject_key_identifier, "hash") &&
      add_extension(certificate, signer, NID_authority_key_identifier, "keyid");
  if (!basics || order.authority) return basics;
  return add_extension(certificate, signer, NID_ext_key_usage, "serverAuth,clientAuth") &&
         add_extension(certificate, signer, NID_subject_alt_name, names);
}

Failure check(const CertificateOrder& order) {
  if (order.names.empty() || order.names.size() > kMostNames)
    return unusable(fmt::format("a certificate has 1 to {} names", kMostNames));
  for (const std::string& name : order.names) {
    if (order.authority && is_text(name)) continue;
    if (!is_name(name) && !is_address(name))
      return unusable(fmt::format("\"{}\" is no host name and no address", name.substr(0, kLongestHostName)));
  }
  if (order.names.front().size() > kLongestCommonName)
    return unusable(fmt::format("the first name has more than {} characters", kLongestCommonName));
  if (order.end_s <= order.begin_s) return unusable("the certificate would end before it begins");
  if (order.signer.empty() != order.signer_key.empty())
    return unusable("an authority signs with its certificate and its key: both are needed");
  return {};
}

}  // namespace

Failure make_certificate(const CertificateOrder& order, io::tls::MadeCertificate& made) {
  ERR_clear_error();
  if (Failure wrong = check(order); wrong.kind != Failure::Kind::none) return wrong;
  OSSL_LIB_CTX* library = order.chance == nullptr ? nullptr : library_with(order.chance);
  const PrivateKey key(EVP_PKEY_Q_keygen(library, nullptr, "EC", "P-256"));
  const Certificate certificate(X509_new_ex(library, nullptr));
  if (key == nullptr || certificate == nullptr) return unusable("OpenSSL makes no key");

  Certificate signer;
  PrivateKey signer_key;
  if (!order.signer.empty()) {
    signer = certificate_of(order.signer, library);
    const Bio text(BIO_new_mem_buf(order.signer_key.data(), static_cast<int>(order.signer_key.size())));
    static const auto no_passphrase = [](char*, int, int, void*) { return -1; };
    signer_key.reset(
        PEM_read_bio_PrivateKey_ex(text.get(), nullptr, no_passphrase, nullptr, library, nullptr));
    if (signer == nullptr) return unusable("the authority's certificate is not in PEM form");
    if (signer_key == nullptr) return unusable("the authority's key is not in PEM form, or has a passphrase");
    if (X509_check_private_key(signer.get(), signer_key.get()) == 0) {
      ERR_clear_error();
      return unusable("the authority's key is not that of its certificate");
    }
    if (X509_check_ca(signer.get()) == 0)
      return unusable("the authority's certificate is that of no authority");
  }
  const X509& by = signer != nullptr ? *signer : *certificate;
  X509_NAME* subject = X509_get_subject_name(certificate.get());
  const auto* name = reinterpret_cast<const unsigned char*>(order.names.front().c_str());
  const bool built =
      X509_set_version(certificate.get(), X509_VERSION_3) != 0 && set_serial(*certificate, library) &&
      set_times(*certificate, order) && X509_set_pubkey(certificate.get(), key.get()) != 0 &&
      X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, name, -1, -1, 0) != 0 &&
      X509_set_issuer_name(certificate.get(), X509_get_subject_name(&by)) != 0 &&
      set_extensions(*certificate, by, order) &&
      X509_sign(certificate.get(), signer_key != nullptr ? signer_key.get() : key.get(), EVP_sha256()) != 0;
  if (!built) return unusable("the certificate cannot be made");
  const Bio out(BIO_new(BIO_s_mem()));
  const Bio key_out(BIO_new(BIO_s_mem()));
  if (out == nullptr || key_out == nullptr || PEM_write_bio_X509(out.get(), certificate.get()) == 0 ||
      PEM_write_bio_PrivateKey(key_out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 0)
    return unusable("the certificate cannot be written");
  made.certificate = text_of(out.get());
  made.private_key = text_of(key_out.get());
  return {};
}

Failure describe_certificate(const std::string& pem, io::tls::CertificateFacts& facts) {
  ERR_clear_error();
  const Certificate certificate = certificate_of(pem, nullptr);
  if (certificate == nullptr) return unusable("it is no certificate in PEM form");
  facts.names = names_of(*certificate);
  facts.issuer = issuer_of(*certificate);
  facts.begin_s = seconds_of(X509_get0_notBefore(certificate.get()));
  facts.end_s = seconds_of(X509_get0_notAfter(certificate.get()));
  facts.authority = X509_check_ca(certificate.get()) != 0;
  return {};
}

}  // namespace horus::tls
