// SPDX-License-Identifier: Apache-2.0
#include <horus/tls/session.hpp>

#include <algorithm>
#include <ctime>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include <horus/tls/reasons.hpp>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

namespace horus::tls {

using io::tls::Facts;
using io::tls::Failure;
using io::tls::Outcome;

namespace {

// How many records without a byte of content one look takes: a peer may send them for ever.
constexpr int kMostIdleReads = 32;

// A shared key as a session that was there before (RFC 8446, section 4.2.11); both suites that we offer then hash alike.
SSL_SESSION* session_of(SSL* ssl, const io::tls::SharedKey& key) {
  static constexpr unsigned char kAes128GcmSha256[] = {0x13, 0x01};
  const SSL_CIPHER* cipher = SSL_CIPHER_find(ssl, kAes128GcmSha256);
  Owned<SSL_SESSION, &SSL_SESSION_free> session(SSL_SESSION_new());
  if (cipher == nullptr || session == nullptr ||
      SSL_SESSION_set1_master_key(session.get(), reinterpret_cast<const unsigned char*>(key.secret.data()),
                                  key.secret.size()) == 0 ||
      SSL_SESSION_set_cipher(session.get(), cipher) == 0 ||
      SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) == 0)
    return nullptr;
  return session.release();
}

}  // namespace

Session::Session(std::shared_ptr<Context> context, const io::tls::SessionSettings& settings)
    : context_(std::move(context)), settings_(settings), ssl_(SSL_new(context_->get())) {
  ERR_clear_error();
  in_ = BIO_new(BIO_s_mem());
  out_ = BIO_new(BIO_s_mem());
  SSL* ssl = ssl_.get();
  if (ssl == nullptr || in_ == nullptr || out_ == nullptr) {
    BIO_free(in_);
    BIO_free(out_);
    in_ = out_ = nullptr;
    fail(unusable("OpenSSL gives no connection"));
    return;
  }
  BIO_set_mem_eof_return(in_, -1);
  BIO_set_mem_eof_return(out_, -1);
  SSL_set_bio(ssl, in_, out_);
  SSL_set_app_data(ssl, this);
  X509_VERIFY_PARAM* checks = SSL_get0_param(ssl);
  X509_VERIFY_PARAM_set_time(checks, static_cast<std::time_t>(settings_.wall_clock_ns / 1'000'000'000));
  if (context_->settings().server) {
    SSL_set_accept_state(ssl);
    return;
  }
  SSL_set_connect_state(ssl);
  const std::string& name = settings_.peer_name;
  const bool address = is_address(name);
  if (!name.empty() && !address) SSL_set_tlsext_host_name(ssl, name.c_str());
  const auto& shared = context_->settings();
  if (shared.verify_peer && shared.keys.empty() && shared.allowed.empty()) {
    X509_VERIFY_PARAM_set_hostflags(checks, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(checks, name.c_str())
                            : X509_VERIFY_PARAM_set1_host(checks, name.data(), name.size());
    if (set == 0)
      fail(unusable(fmt::format("\"{}\" is no name that a certificate could be for", shown(name))));
  }
  if (settings_.ticket != nullptr) {
    auto* ticket = static_cast<SSL_SESSION*>(settings_.ticket.get());
    // Its age is only told to a server that takes data early, which nobody does here; no other clock comes in.
    if (context_->settings().chance != nullptr)
      SSL_SESSION_set_time(ticket, static_cast<long>(std::time(nullptr)));
    SSL_set_session(ssl, ticket);
  }
}

Session::~Session() {
  if (ssl_ == nullptr) return;
  // A connection that was cut says nothing against its ticket, except to OpenSSL.
  if (!failed_ && SSL_is_init_finished(ssl_.get()) != 0)
    SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  ssl_.reset();
  ERR_clear_error();
}

Session& Session::of(const SSL* ssl) noexcept { return *static_cast<Session*>(SSL_get_app_data(ssl)); }

void Session::received(const std::byte* data, std::size_t size) {
  if (in_ != nullptr) BIO_write(in_, data, static_cast<int>(size));
}

std::size_t Session::take(std::byte* into, std::size_t room) noexcept {
  if (out_ == nullptr || room == 0) return 0;
  const int count = BIO_read(out_, into, static_cast<int>(std::min(room, std::size_t{1} << 20)));
  return count > 0 ? static_cast<std::size_t>(count) : 0;
}

std::size_t Session::outgoing() const noexcept { return out_ == nullptr ? 0 : BIO_ctrl_pending(out_); }

Outcome Session::fail(Failure failure) {
  if (!failed_) failure_ = std::move(failure);
  failed_ = true;
  return Outcome::failed;
}

Outcome Session::outcome(int result) {
  if (result > 0) return Outcome::done;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return Outcome::wants_bytes;
    case SSL_ERROR_ZERO_RETURN: return Outcome::ended;
    default: break;
  }
  const bool server = context_->settings().server;
  Failure failure = take_failure(server);
  if (!untrusted_.empty()) {
    failure = {Failure::Kind::untrusted, untrusted_};
  } else if (!unknown_key_.empty() && failure.kind == Failure::Kind::protocol) {
    failure = {Failure::Kind::untrusted,
               fmt::format("(no key in common: the peer's key {} is unknown here)", unknown_key_)};
  } else if (!server && !context_->settings().keys.empty() && failure.kind == Failure::Kind::refused) {
    failure.text =
        fmt::format("(no key in common: does the server have the key {}, and is it the same there?)",
                    context_->settings().keys.front().identity);
  }
  return fail(std::move(failure));
}

Outcome Session::handshake() {
  if (failed_) return Outcome::failed;
  ERR_clear_error();
  const Outcome now = outcome(SSL_do_handshake(ssl_.get()));
  return now == Outcome::ended
             ? fail({Failure::Kind::protocol, "(the peer closed the connection during the handshake)"})
             : now;
}

Outcome Session::read(std::byte* into, std::size_t room, std::size_t& count) {
  count = 0;
  if (failed_) return Outcome::failed;
  ERR_clear_error();
  Outcome now = outcome(SSL_read_ex(ssl_.get(), into, room, &count));
  // Bytes that are there already: what was no content (a ticket, a new key) is behind us.
  for (int idle = 0; now == Outcome::wants_bytes && BIO_ctrl_pending(in_) > 0 && idle < kMostIdleReads;
       ++idle)
    now = outcome(SSL_read_ex(ssl_.get(), into, room, &count));
  return now;
}

Outcome Session::write(const std::byte* data, std::size_t size, std::size_t& count) {
  count = 0;
  if (failed_) return Outcome::failed;
  ERR_clear_error();
  return outcome(SSL_write_ex(ssl_.get(), data, std::min(size, io::tls::kRecordBytes), &count));
}

void Session::end_writing() {
  if (failed_ || said_end_) return;
  said_end_ = true;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

Facts Session::facts() const {
  Facts facts;
  SSL* ssl = ssl_.get();
  if (ssl == nullptr) return facts;
  facts.version = SSL_get_version(ssl);
  facts.cipher = SSL_get_cipher_name(ssl);
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  if (size > 0) facts.protocol.assign(reinterpret_cast<const char*>(protocol), size);
  if (const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name)) facts.server_name = name;
  facts.key_identity = key_identity_;
  facts.resumed = SSL_session_reused(ssl) != 0 && key_identity_.empty();
  if (X509* peer = SSL_get0_peer_certificate(ssl)) {
    facts.peer_names = names_of(*peer);
    Owned<BIO, &BIO_free> text(BIO_new(BIO_s_mem()));
    char* pem = nullptr;
    if (text != nullptr && PEM_write_bio_X509(text.get(), peer) != 0) {
      const long length = BIO_get_mem_data(text.get(), &pem);
      if (length > 0) facts.peer_certificate.assign(pem, static_cast<std::size_t>(length));
    }
  }
  return facts;
}

// --- OpenSSL's calls back ---------------------------------------------------------------------------------------------

int Session::new_ticket(SSL* ssl, SSL_SESSION* ticket) {
  of(ssl).ticket_ =
      std::shared_ptr<void>(ticket, [](void* kept) { SSL_SESSION_free(static_cast<SSL_SESSION*>(kept)); });
  return 1;  // it is ours now
}

int Session::verified(int fine, X509_STORE_CTX* store) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  Session& self = of(ssl);
  const auto& settings = self.context_->settings();
  if (fine != 0 && X509_STORE_CTX_get_error_depth(store) == 0 && !settings.allowed.empty()) {
    const X509* peer = X509_STORE_CTX_get_current_cert(store);
    const std::vector<std::string> names = peer == nullptr ? std::vector<std::string>() : names_of(*peer);
    if (!one_is_allowed(names, settings.allowed)) {
      self.untrusted_ = not_allowed(names, settings.allowed);
      X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
      return 0;
    }
  }
  if (fine == 0 && self.untrusted_.empty()) {
    self.untrusted_ =
        !settings.keys.empty()
            ? fmt::format("(the server shows a certificate instead of the key {}: is it the right server?)",
                          settings.keys.front().identity)
            : untrusted(X509_STORE_CTX_get_error(store), X509_STORE_CTX_get_current_cert(store),
                        self.settings_.peer_name, self.settings_.wall_clock_ns);
  }
  return fine;
}

int Session::choose_protocol(SSL*, const unsigned char** out, unsigned char* out_size,
                             const unsigned char* offered, unsigned offered_size, void* context) {
  const std::string& ours = static_cast<const Context*>(context)->protocols();
  unsigned char* chosen = nullptr;
  const int found =
      SSL_select_next_proto(&chosen, out_size, reinterpret_cast<const unsigned char*>(ours.data()),
                            static_cast<unsigned>(ours.size()), offered, offered_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int Session::find_key(SSL* ssl, const unsigned char* identity, std::size_t size, SSL_SESSION** found) {
  Session& self = of(ssl);
  *found = nullptr;
  const std::string_view asked(reinterpret_cast<const char*>(identity), size);
  for (const io::tls::SharedKey& key : self.context_->settings().keys) {
    if (key.identity != asked) continue;
    *found = session_of(ssl, key);
    self.key_identity_ = key.identity;
    return *found != nullptr ? 1 : 0;
  }
  self.unknown_key_ = shown(asked);
  return 1;
}

int Session::use_key(SSL* ssl, const EVP_MD* hash, const unsigned char** identity, std::size_t* size,
                     SSL_SESSION** found) {
  Session& self = of(ssl);
  const io::tls::SharedKey& key = self.context_->settings().keys.front();
  *found = nullptr;
  *identity = nullptr;
  *size = 0;
  if (hash != nullptr && EVP_MD_is_a(hash, "SHA256") == 0) return 1;  // after a HelloRetryRequest
  *found = session_of(ssl, key);
  if (*found == nullptr) return 0;
  *identity = reinterpret_cast<const unsigned char*>(key.identity.data());
  *size = key.identity.size();
  self.key_identity_ = key.identity;
  return 1;
}

}  // namespace horus::tls
