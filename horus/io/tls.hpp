// SPDX-License-Identifier: Apache-2.0
// TLS over any byte stream: TcpStream, UnixStream, a pipe's end, another TlsStream. TLS 1.3 on OpenSSL, which is loaded when a
// program makes its first TlsContext (libhorus_tls.so). Contexts and streams belong to one thread.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/io/tcp.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

namespace detail {
struct TlsContextState;
class TlsFilter;
}  // namespace detail

/// Who we are, and whom we trust. `TlsOptions().with_certificate_file("rover.pem", "rover.key").with_authority_file("ca.pem")`
///
/// All text is PEM. Files are read when the context is made; the later of two calls wins, except where it says "adds".
struct TlsOptions {
  TlsOptions() {}

  std::string certificate;  ///< PEM: ours, then those between it and the authority
  std::string private_key;  ///< PEM, without a passphrase
  std::string certificate_file;
  std::string private_key_file;
  std::string authority;  ///< PEM: whose certificates are trusted; may be several
  std::string authority_file;
  std::vector<std::string>
      protocols;  ///< ALPN, the dearest first; with a list at both ends, they must share one
  /// Names of peers, one of which the peer's certificate must have; "rover-*". Empty: a client expects the name that it
  /// connects to, a server any name.
  std::vector<std::string> allowed_names;
  std::vector<std::pair<std::string, std::string>>
      keys;  ///< shared keys: identity and secret, 16 to 64 bytes
  bool ask_clients =
      false;  ///< a server asks its clients for a certificate of `authority`, and refuses those without
  bool verify = true;  ///< false: a client believes any server; for tests alone
  bool tls12 = false;  ///< a client also speaks TLS 1.2, with forward secrecy and AEAD ciphers alone
  bool resume =
      true;  ///< a client's next connection to a server skips the certificates, while the context lives

  Duration handshake_limit{std::chrono::seconds(10)};
  std::size_t handshakes_at_once = 256;   ///< of a server; more wait for a place
  std::size_t handshakes_waiting = 1024;  ///< more are refused with EBUSY
  /// A handshake older than this gives its place up when others wait for one.
  Duration handshake_grace{std::chrono::seconds(1)};
  Duration close_limit{std::chrono::seconds(1)};  ///< how long close() waits for the peer

  TlsOptions& with_certificate(std::string pem, std::string key_pem) & {
    return certificate = std::move(pem), private_key = std::move(key_pem), *this;
  }
  TlsOptions& with_certificate_file(std::string path, std::string key_path) & {
    return certificate_file = std::move(path), private_key_file = std::move(key_path), *this;
  }
  TlsOptions& with_authority(std::string pem) & { return authority = std::move(pem), *this; }
  TlsOptions& with_authority_file(std::string path) & { return authority_file = std::move(path), *this; }
  TlsOptions& with_protocols(std::vector<std::string> names) & { return protocols = std::move(names), *this; }
  /// Adds one.
  TlsOptions& with_allowed_name(std::string name) & {
    return allowed_names.push_back(std::move(name)), *this;
  }
  /// Adds one; a client has one. Both ends prove that they have it, and need no certificate.
  TlsOptions& with_key(std::string identity, std::string secret) & {
    return keys.emplace_back(std::move(identity), std::move(secret)), *this;
  }
  TlsOptions& with_client_certificates() & { return ask_clients = true, *this; }
  TlsOptions& with_tls12() & { return tls12 = true, *this; }
  TlsOptions& with_handshake_limit(Duration limit) & { return handshake_limit = limit, *this; }
  TlsOptions& without_verification() & { return verify = false, *this; }
  TlsOptions& without_resumption() & { return resume = false, *this; }

  [[nodiscard]] TlsOptions with_certificate(std::string pem, std::string key_pem) && {
    return std::move(with_certificate(std::move(pem), std::move(key_pem)));
  }
  [[nodiscard]] TlsOptions with_certificate_file(std::string path, std::string key_path) && {
    return std::move(with_certificate_file(std::move(path), std::move(key_path)));
  }
  [[nodiscard]] TlsOptions with_authority(std::string pem) && {
    return std::move(with_authority(std::move(pem)));
  }
  [[nodiscard]] TlsOptions with_authority_file(std::string path) && {
    return std::move(with_authority_file(std::move(path)));
  }
  [[nodiscard]] TlsOptions with_protocols(std::vector<std::string> names) && {
    return std::move(with_protocols(std::move(names)));
  }
  [[nodiscard]] TlsOptions with_allowed_name(std::string name) && {
    return std::move(with_allowed_name(std::move(name)));
  }
  [[nodiscard]] TlsOptions with_key(std::string identity, std::string secret) && {
    return std::move(with_key(std::move(identity), std::move(secret)));
  }
  [[nodiscard]] TlsOptions with_client_certificates() && { return std::move(with_client_certificates()); }
  [[nodiscard]] TlsOptions with_tls12() && { return std::move(with_tls12()); }
  [[nodiscard]] TlsOptions with_handshake_limit(Duration limit) && {
    return std::move(with_handshake_limit(limit));
  }
  [[nodiscard]] TlsOptions without_verification() && { return std::move(without_verification()); }
  [[nodiscard]] TlsOptions without_resumption() && { return std::move(without_resumption()); }
};

/// Settings that many connections share, checked once. A handle: copies mean the same context.
///
/// Semantics: a client trusts the system's authorities unless it is given others or a key. A server shows a certificate, or
/// has shared keys.
/// Errors: EINVAL says what is wrong with a certificate or key; ENOENT, EACCES and the like of a file; ENOPKG when Horus was
/// built without TLS, or libhorus_tls.so or OpenSSL is missing.
/// Thread safety: one thread; give each its own.
/// Example: `auto tls = (co_await horus::io::TlsContext::client()).or_throw();`
class HORUS_API TlsContext {
 public:
  /// No context: every handshake fails with EINVAL.
  TlsContext() noexcept = default;
  static Task<Result<TlsContext>> client(TlsOptions options = {});
  static Task<Result<TlsContext>> server(TlsOptions options);
  /// The same without waiting, of text alone: EINVAL for options that name files. The loop stands still while OpenSSL is loaded,
  /// and the system's authorities with it where they are trusted.
  static Result<TlsContext> client_at_once(TlsOptions options);
  static Result<TlsContext> server_at_once(TlsOptions options);

  explicit operator bool() const noexcept { return static_cast<bool>(state_); }
  /// Handshakes of a server that run now.
  [[nodiscard]] std::size_t handshakes() const noexcept;

 private:
  friend class TlsStream;
  static Task<Result<TlsContext>> make(TlsOptions options, bool server);
  static Result<TlsContext> make_at_once(TlsOptions options, bool server);
  std::shared_ptr<detail::TlsContextState> state_;
};

/// What two ends have agreed on. Plain data.
struct TlsSession {
  std::string version;       ///< "TLSv1.3"
  std::string cipher;        ///< "TLS_AES_128_GCM_SHA256"
  std::string protocol;      ///< of ALPN; empty: none
  std::string server_name;   ///< what the client asked for (SNI); empty: nothing, or an address
  std::string key_identity;  ///< of the shared key; empty: certificates
  std::vector<std::string>
      peer_names;                ///< of the peer's certificate: DNS names and addresses, else its common name
  std::string peer_certificate;  ///< PEM; empty: it showed none
  bool resumed = false;          ///< certificates were left out: those of the connection before hold
};

/// An encrypted connection: a ByteStream whose peer has proved who it is.
///
/// Semantics: those of ByteStream. `read` gives kEndOfStream after the peer's farewell (close_notify), and kTruncated when the
/// connection ended without one: whoever cuts the wire cannot pass for the end of the data. `shutdown_write` says farewell, and
/// reading goes on. `close` says farewell, waits for the peer at most `close_limit`, and closes what is below; destroying the
/// stream or `reset` closes it at once, and the peer sees kTruncated. A cancelled or timed-out write may leave a part of its
/// last record (16 KiB) behind, which the next write sends first. Renegotiation is refused. At most 128 KiB are held for each
/// direction, apart from the buffer of ByteStream.
/// Errors: kUntrusted with the reason and what helps (an unknown authority, expired, another name, signed by itself); EACCES
/// when the peer refused us; EPROTO when the peer breaks TLS or shares nothing with us; EBUSY when too many handshakes wait;
/// ETIMEDOUT; those of the stream below.
/// Thread safety: one thread. A step of a handshake with large keys or the system's authorities runs on the offload pool, so
/// that no handshake holds the loop up.
/// Example:
/// ```
/// auto tls = (co_await horus::io::TlsContext::client()).or_throw();
/// auto stream = (co_await horus::io::TlsStream::connect("example.org:443", tls)).or_throw();
/// auto sent = co_await stream.write_all("GET / HTTP/1.0\r\nHost: example.org\r\n\r\n");
/// ```
/// Source: RFC 8446, RFC 6125, ssl(7).
class HORUS_API TlsStream : public ByteStream {
 public:
  TlsStream() noexcept = default;

  /// Connects to "host:port" and shakes hands with it by that name.
  static Task<Result<TlsStream>> connect(std::string host_and_port, TlsContext context,
                                         ConnectOptions options = {});
  /// Shakes hands over `stream`, as the client of the server `name` (a host name or an address). Bytes that `stream` has read
  /// ahead count.
  static Task<Result<TlsStream>> connect(ByteStream stream, TlsContext context, std::string name);
  /// The same as the server.
  static Task<Result<TlsStream>> accept(ByteStream stream, TlsContext context);

  /// What the two ends agreed on; empty when there is no connection.
  [[nodiscard]] TlsSession session() const;

 private:
  static Task<Result<TlsStream>> shake_hands(ByteStream stream, TlsContext context, std::string name);
  explicit TlsStream(std::unique_ptr<detail::StreamFilter> filter, std::string label)
      : ByteStream(std::move(filter), std::move(label)) {}
};

}  // namespace horus::HORUS_ABI::io
