// SPDX-License-Identifier: Apache-2.0
// One connection: an SSL between two memory BIOs. One thread at a time.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include <horus/io/tls/engine.hpp>
#include <horus/tls/context.hpp>

#include <openssl/ssl.h>

namespace horus::tls {

class Session final : public io::tls::EngineSession {
 public:
  Session(std::shared_ptr<Context> context, const io::tls::SessionSettings& settings);
  ~Session() override;

  void received(const std::byte* data, std::size_t size) override;
  std::size_t take(std::byte* into, std::size_t room) noexcept override;
  [[nodiscard]] std::size_t outgoing() const noexcept override;
  io::tls::Outcome handshake() override;
  io::tls::Outcome read(std::byte* into, std::size_t room, std::size_t& count) override;
  io::tls::Outcome write(const std::byte* data, std::size_t size, std::size_t& count) override;
  void end_writing() override;
  [[nodiscard]] const io::tls::Failure& failure() const noexcept override { return failure_; }
  [[nodiscard]] io::tls::Facts facts() const override;
  std::shared_ptr<void> take_ticket() noexcept override { return std::move(ticket_); }

  // OpenSSL's calls back.
  static int new_ticket(SSL* ssl, SSL_SESSION* ticket);
  static int verified(int fine, X509_STORE_CTX* store);
  static int choose_protocol(SSL* ssl, const unsigned char** out, unsigned char* out_size,
                             const unsigned char* offered, unsigned offered_size, void* context);
  static int find_key(SSL* ssl, const unsigned char* identity, std::size_t size, SSL_SESSION** found);
  static int use_key(SSL* ssl, const EVP_MD* hash, const unsigned char** identity, std::size_t* size,
                     SSL_SESSION** found);

 private:
  static Session& of(const SSL* ssl) noexcept;
  io::tls::Outcome outcome(int result);
  io::tls::Outcome fail(io::tls::Failure failure);

  std::shared_ptr<Context> context_;
  io::tls::SessionSettings settings_;
  Owned<SSL, &SSL_free> ssl_;
  BIO* in_ = nullptr;  // both are the SSL's
  BIO* out_ = nullptr;
  io::tls::Failure failure_;
  std::string untrusted_;     // why the peer's certificate was not accepted
  std::string key_identity_;  // of the key that the two share
  std::string unknown_key_;   // that the peer offered
  std::shared_ptr<void> ticket_;
  bool failed_ = false;
  bool said_end_ = false;
};

}  // namespace horus::tls
