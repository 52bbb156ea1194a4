// SPDX-License-Identifier: Apache-2.0
// What Horus asks of a TLS library: bytes in, bytes out, no I/O. The one that there is stands on OpenSSL and is a shared object
// of its own (horus/tls), which is loaded when a program makes its first TlsContext. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace horus::HORUS_ABI::io::tls {

/// What loader and engine agree on: raised with every change of this header.
inline constexpr std::uint32_t kEngineVersion = 1;
/// The symbol of an Engine.
inline constexpr const char* kEngineSymbol = "horus_tls_engine";

/// The most plain bytes of one record (RFC 8446, section 5.1), and what sealing adds at most.
inline constexpr std::size_t kRecordBytes = std::size_t{16} << 10;
inline constexpr std::size_t kRecordOverhead = 512;

/// Why something failed.
struct Failure {
  enum class Kind : std::uint8_t {
    none,
    protocol,   ///< the peer broke TLS, or the two have nothing in common
    untrusted,  ///< the peer did not prove who it is
    refused,    ///< the peer does not trust us
    settings,   ///< what we were given is no certificate, no key
  };
  Kind kind = Kind::none;
  std::string text;  ///< for a person, with what to do
};

enum class Outcome : std::uint8_t {
  done,
  wants_bytes,  ///< more from the peer
  ended,        ///< the peer said that it sends no more
  failed,       ///< and every later call fails alike
};

/// A secret that both ends have.
struct SharedKey {
  std::string identity;
  std::string secret;
};

/// Fills `out` with chance. The engine's own thread of the moment.
using Chance = void (*)(void* out, std::size_t size) noexcept;

struct ContextSettings {
  bool server = false;
  std::string certificate;  ///< PEM: ours, then those in between
  std::string private_key;  ///< PEM
  std::string authorities;  ///< PEM: whom we trust
  bool system_authorities = false;
  bool verify_peer = true;
  bool tls12 = false;
  std::vector<std::string> protocols;  ///< ALPN, the dearest first
  std::vector<SharedKey> keys;
  /// One name of the peer's certificate has to be one of these, "rover-*"; empty: any. A client's peer_name counts for nothing
  /// then.
  std::vector<std::string> allowed;
  Chance chance = nullptr;  ///< null: the library's own
};

/// One connection's.
struct SessionSettings {
  std::string peer_name;  ///< of a client: whose certificate we expect, and SNI; an IP address is one too
  std::int64_t wall_clock_ns = 0;
  std::shared_ptr<void> ticket;  ///< of an earlier connection with that peer
};

/// What is known after the handshake.
struct Facts {
  std::string version;   ///< "TLSv1.3"
  std::string cipher;    ///< "TLS_AES_128_GCM_SHA256"
  std::string protocol;  ///< ALPN; empty: none
  std::string server_name;
  std::string key_identity;
  std::vector<std::string> peer_names;  ///< of its certificate: DNS names and addresses, then the common name
  std::string peer_certificate;         ///< PEM
  bool resumed = false;
};

/// One connection. Used by one thread at a time.
class EngineSession {
 public:
  EngineSession() = default;
  EngineSession(const EngineSession&) = delete;
  EngineSession& operator=(const EngineSession&) = delete;
  virtual ~EngineSession() = default;

  /// Bytes came from the peer. To be called after wants_bytes only, so that what is kept here stays bounded.
  virtual void received(const std::byte* data, std::size_t size) = 0;
  /// Takes up to `room` of the bytes that are to be sent.
  virtual std::size_t take(std::byte* into, std::size_t room) noexcept = 0;
  /// Bytes that are to be sent.
  [[nodiscard]] virtual std::size_t outgoing() const noexcept = 0;

  virtual Outcome handshake() = 0;
  /// Plain bytes of the peer: at least one when done.
  virtual Outcome read(std::byte* into, std::size_t room, std::size_t& count) = 0;
  /// Seals the first `count` of `size` bytes, at most one record.
  virtual Outcome write(const std::byte* data, std::size_t size, std::size_t& count) = 0;
  /// Says that no more bytes will come.
  virtual void end_writing() = 0;

  [[nodiscard]] virtual const Failure& failure() const noexcept = 0;
  [[nodiscard]] virtual Facts facts() const = 0;
  /// What lets the next connection skip a part of the handshake, once; null: the peer gave nothing since.
  virtual std::shared_ptr<void> take_ticket() noexcept = 0;
};

/// Settings that many connections share. Any thread; sessions keep what they need of it.
class EngineContext {
 public:
  EngineContext() = default;
  EngineContext(const EngineContext&) = delete;
  EngineContext& operator=(const EngineContext&) = delete;
  virtual ~EngineContext() = default;
  /// A step of a handshake may take longer than a loop can wait: large keys of ours, or authorities that we do not know.
  [[nodiscard]] virtual bool is_slow() const noexcept = 0;
  virtual std::unique_ptr<EngineSession> session(const SessionSettings& settings) = 0;
};

/// A certificate that is to be made, with a new key of P-256.
struct CertificateOrder {
  std::vector<std::string> names;  ///< DNS names and addresses; the first is the common name as well
  std::int64_t begin_s = 0;        ///< UTC since 1970
  std::int64_t end_s = 0;
  bool authority = false;   ///< it may sign others
  std::string signer;       ///< PEM; empty: it signs itself
  std::string signer_key;   ///< PEM
  Chance chance = nullptr;  ///< null: the library's own
};
struct MadeCertificate {
  std::string certificate;  ///< PEM
  std::string private_key;  ///< PEM
};

/// What is known of a certificate.
struct CertificateFacts {
  std::vector<std::string> names;
  std::string issuer;
  std::int64_t begin_s = 0;
  std::int64_t end_s = 0;
  bool authority = false;
};

/// What the shared object offers.
struct Engine {
  std::uint32_t version = kEngineVersion;
  /// Null when the settings are wrong; `failure` says why. May read the system's authorities from disk.
  std::shared_ptr<EngineContext> (*context)(const ContextSettings& settings, Failure& failure) = nullptr;
  Failure (*make_certificate)(const CertificateOrder& order, MadeCertificate& made) = nullptr;
  /// Of the first certificate in `pem`.
  Failure (*describe_certificate)(const std::string& pem, CertificateFacts& facts) = nullptr;
};

}  // namespace horus::HORUS_ABI::io::tls
