// SPDX-License-Identifier: Apache-2.0
#include <horus/tls/context.hpp>

#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <horus/tls/chance.hpp>
#include <horus/tls/reasons.hpp>
#include <horus/tls/session.hpp>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

namespace horus::tls {
namespace {

using io::tls::ContextSettings;
using io::tls::Failure;

constexpr std::size_t kLeastSecret = 16;  // bytes of a shared key
constexpr std::size_t kMostSecret = 64;
constexpr std::size_t kMostIdentity = 128;       // OpenSSL's PSK_MAX_IDENTITY_LEN
constexpr std::size_t kMostCertificates = 4096;  // of one file
constexpr int kLongestChain = 8;
constexpr long kSessionLife_s = 7200;

// Small groups only: either takes well below a millisecond (a share of P-384 alone takes one).
constexpr const char* kGroups = "X25519:P-256";
constexpr const char* kCiphers = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";
constexpr const char* kKeyCiphers =
    "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";  // hash of a shared key
constexpr const char* kOldCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";

using Bio = Owned<BIO, &BIO_free>;
using Certificate = Owned<X509, &X509_free>;
using PrivateKey = Owned<EVP_PKEY, &EVP_PKEY_free>;

Bio memory_of(const std::string& text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

// A key that is encrypted is refused, never asked for on the terminal.
int no_passphrase(char*, int, int, void* asked) {
  *static_cast<bool*>(asked) = true;
  return -1;
}

Certificate next_certificate(BIO* bio, OSSL_LIB_CTX* library) {
  Certificate certificate(X509_new_ex(library, nullptr));
  if (certificate == nullptr) return nullptr;
  // Whether it frees what it was given depends on where it fails; it sets it to null then.
  X509* read = certificate.release();
  const bool is_read = PEM_read_bio_X509_AUX(bio, &read, nullptr, nullptr) != nullptr;
  certificate.reset(read);
  return is_read ? std::move(certificate) : nullptr;
}

// Signing with it takes tens of microseconds.
bool is_small(const EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "ED25519") != 0) return true;
  return EVP_PKEY_is_a(key, "EC") != 0 && EVP_PKEY_get_bits(key) <= 256;
}
// Verifying with it.
bool is_quick_to_verify(const EVP_PKEY* key) {
  return is_small(key) || (EVP_PKEY_is_a(key, "RSA") != 0 && EVP_PKEY_get_bits(key) <= 4096);
}

}  // namespace

std::shared_ptr<Context> Context::make(const ContextSettings& settings, Failure& failure) {
  ERR_clear_error();
  auto context = std::make_shared<Context>();
  context->settings_ = settings;
  failure = context->prepare();
  ERR_clear_error();
  return failure.kind == Failure::Kind::none ? context : nullptr;
}

Failure Context::prepare() {
  if (settings_.chance != nullptr) {
    library_ = library_with(settings_.chance);
    if (library_ == nullptr) return unusable("OpenSSL takes no chance from outside");
  }
  context_.reset(SSL_CTX_new_ex(library_, nullptr, TLS_method()));
  SSL_CTX* context = context_.get();
  if (context == nullptr) return unusable("OpenSSL gives no context");
  const bool with_keys = !settings_.keys.empty();
  const int oldest = settings_.tls12 && !settings_.server ? TLS1_2_VERSION : TLS1_3_VERSION;
  if (SSL_CTX_set_min_proto_version(context, oldest) == 0 ||
      SSL_CTX_set_ciphersuites(context, with_keys ? kKeyCiphers : kCiphers) == 0 ||
      SSL_CTX_set_cipher_list(context, kOldCiphers) == 0 || SSL_CTX_set1_groups_list(context, kGroups) == 0)
    return unusable("OpenSSL refuses our versions or ciphers");
  SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_verify_depth(context, kLongestChain);
  SSL_CTX_set_max_early_data(context, 0);
  SSL_CTX_set_timeout(context, kSessionLife_s);
  // A server keeps nothing: what it needs is in the client's ticket.
  SSL_CTX_set_session_cache_mode(
      context, (settings_.server ? SSL_SESS_CACHE_OFF : SSL_SESS_CACHE_CLIENT) | SSL_SESS_CACHE_NO_INTERNAL);
  SSL_CTX_set_num_tickets(context, with_keys ? 0 : 1);
  if (settings_.server) {
    static constexpr std::string_view kOwn = "horus";
    SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char*>(kOwn.data()),
                                   static_cast<unsigned>(kOwn.size()));
  } else {
    SSL_CTX_sess_set_new_cb(context, &Session::new_ticket);
  }
  // A client always asks who the server is: where the two share a key, that is the proof, and no certificate is.
  const bool asks =
      settings_.server ? settings_.verify_peer && !with_keys : settings_.verify_peer || with_keys;
  SSL_CTX_set_verify(context, asks ? SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT : SSL_VERIFY_NONE,
                     &Session::verified);
  for (const auto step :
       {&Context::use_certificate, &Context::use_authorities, &Context::use_protocols, &Context::use_keys}) {
    if (Failure failure = (this->*step)(); failure.kind != Failure::Kind::none) return failure;
  }
  return {};
}

Failure Context::use_certificate() {
  if (settings_.certificate.empty() && settings_.private_key.empty()) {
    if (settings_.server && settings_.keys.empty())
      return unusable("a server needs a certificate with its key, or a shared key");
    return {};
  }
  if (settings_.certificate.empty()) return unusable("a private key without its certificate");
  if (settings_.private_key.empty()) return unusable("a certificate without its private key");
  const Bio bio = memory_of(settings_.certificate);
  const Certificate own = next_certificate(bio.get(), library_);
  if (own == nullptr) return unusable("the certificate is not in PEM form");
  if (SSL_CTX_use_certificate(context_.get(), own.get()) == 0)
    return unusable("the certificate is not usable");
  for (std::size_t count = 0; count < kMostCertificates; ++count) {
    Certificate between = next_certificate(bio.get(), library_);
    if (between == nullptr) break;
    if (SSL_CTX_add1_chain_cert(context_.get(), between.get()) == 0)
      return unusable("the certificates behind ours are not usable");
  }
  ERR_clear_error();  // the end of the text is one
  bool encrypted = false;
  const Bio text = memory_of(settings_.private_key);
  const PrivateKey key(
      PEM_read_bio_PrivateKey_ex(text.get(), nullptr, &no_passphrase, &encrypted, library_, nullptr));
  if (encrypted) {
    ERR_clear_error();
    return unusable("the private key has a passphrase: give it without one, in a file of mode 0600");
  }
  if (key == nullptr) return unusable("the private key is not in PEM form");
  if (SSL_CTX_use_PrivateKey(context_.get(), key.get()) == 0) {
    ERR_clear_error();
    return unusable("the private key is not that of the certificate");
  }
  slow_ = slow_ || !is_small(key.get());
  return {};
}

Failure Context::use_authorities() {
  X509_STORE* store = SSL_CTX_get_cert_store(context_.get());
  // An intermediate or a single certificate may be trusted by itself.
  X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
  if (settings_.system_authorities) {
    slow_ = true;
    if (SSL_CTX_set_default_verify_paths(context_.get()) == 0)
      return unusable("the system's authorities cannot be read: install ca-certificates");
  }
  if (settings_.authorities.empty()) return {};
  const Bio bio = memory_of(settings_.authorities);
  std::size_t count = 0;
  for (; count < kMostCertificates; ++count) {
    const Certificate authority = next_certificate(bio.get(), library_);
    if (authority == nullptr) break;
    if (X509_STORE_add_cert(store, authority.get()) == 0) return unusable("an authority is not usable");
    // A server names them to its clients.
    if (settings_.server && SSL_CTX_add_client_CA(context_.get(), authority.get()) == 0)
      return unusable("an authority is not usable");
    slow_ = slow_ || !is_quick_to_verify(X509_get0_pubkey(authority.get()));
  }
  if (count == 0) return unusable("the authorities hold no certificate in PEM form");
  ERR_clear_error();
  return {};
}

Failure Context::use_protocols() {
  for (const std::string& name : settings_.protocols) {
    if (name.empty() || name.size() > 255) return unusable("a protocol's name has 1 to 255 bytes");
    protocols_ += static_cast<char>(name.size());
    protocols_ += name;
  }
  if (protocols_.size() > 65535) return unusable("too many protocols");
  if (protocols_.empty()) return {};
  if (settings_.server) {
    SSL_CTX_set_alpn_select_cb(context_.get(), &Session::choose_protocol, this);
  } else if (SSL_CTX_set_alpn_protos(context_.get(),
                                     reinterpret_cast<const unsigned char*>(protocols_.data()),
                                     static_cast<unsigned>(protocols_.size())) != 0) {
    return unusable("OpenSSL refuses the protocols");
  }
  return {};
}

Failure Context::use_keys() {
  for (const io::tls::SharedKey& key : settings_.keys) {
    if (key.identity.empty() || key.identity.size() > kMostIdentity)
      return unusable(fmt::format("a shared key's identity has 1 to {} bytes", kMostIdentity));
    if (key.secret.size() < kLeastSecret || key.secret.size() > kMostSecret) {
      return unusable(fmt::format("the shared key {} has {} bytes; {} to {}", key.identity, key.secret.size(),
                                  kLeastSecret, kMostSecret));
    }
  }
  if (settings_.keys.empty()) return {};
  if (!settings_.certificate.empty())
    return unusable("a certificate and a shared key at once: each connection is proved by one of the two");
  if (settings_.server) {
    SSL_CTX_set_psk_find_session_callback(context_.get(), &Session::find_key);
  } else {
    if (settings_.keys.size() != 1) return unusable("a client has one shared key");
    SSL_CTX_set_psk_use_session_callback(context_.get(), &Session::use_key);
  }
  return {};
}

std::unique_ptr<io::tls::EngineSession> Context::session(const io::tls::SessionSettings& settings) {
  return std::make_unique<Session>(shared_from_this(), settings);
}

}  // namespace horus::tls
