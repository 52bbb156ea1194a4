// SPDX-License-Identifier: Apache-2.0
// Settings that many connections share, as an SSL_CTX. Any thread.
#pragma once

#include <memory>
#include <string>

#include <horus/io/tls/engine.hpp>

#include <openssl/ssl.h>

namespace horus::tls {

/// Owns what OpenSSL has made.
template <auto Free>
struct Freed {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
template <class T, auto Free>
using Owned = std::unique_ptr<T, Freed<Free>>;

class Context final : public io::tls::EngineContext, public std::enable_shared_from_this<Context> {
 public:
  /// Null when the settings are wrong.
  static std::shared_ptr<Context> make(const io::tls::ContextSettings& settings, io::tls::Failure& failure);

  [[nodiscard]] bool is_slow() const noexcept override { return slow_; }
  std::unique_ptr<io::tls::EngineSession> session(const io::tls::SessionSettings& settings) override;

  [[nodiscard]] SSL_CTX* get() const noexcept { return context_.get(); }
  [[nodiscard]] const io::tls::ContextSettings& settings() const noexcept { return settings_; }
  /// ALPN as it goes over the wire.
  [[nodiscard]] const std::string& protocols() const noexcept { return protocols_; }

 private:
  io::tls::Failure prepare();
  io::tls::Failure use_certificate();
  io::tls::Failure use_authorities();
  io::tls::Failure use_protocols();
  io::tls::Failure use_keys();

  io::tls::ContextSettings settings_;
  OSSL_LIB_CTX* library_ = nullptr;  // null: the process's own
  Owned<SSL_CTX, &SSL_CTX_free> context_;
  std::string protocols_;
  bool slow_ = false;
};

}  // namespace horus::tls
