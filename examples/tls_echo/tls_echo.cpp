// SPDX-License-Identifier: Apache-2.0
// An encrypted echo server and a client that tries it, both with certificates of a small authority of one's own. An encrypted
// stream is a ByteStream: `echo` serves plain ones just as well.
#include <horus/horus.hpp>

using namespace horus::io;

horus::Task<> echo(ByteStream stream) {
  while (true) {
    auto line = co_await stream.read_line();
    if (!line) break;  // kEndOfStream after a farewell, kTruncated when the connection was cut
    auto sent = co_await stream.write_all(*line + "\n");
    if (!sent) break;
  }
  static_cast<void>(co_await stream.close());
}

horus::Task<> serve(TcpListener& listener, TlsContext tls) {
  // One task per connection, from the handshake on: a client that is slow holds up nobody else.
  horus::Scope connections("connection", horus::Failures::log);
  const auto serve_one = [](TcpStream stream, TlsContext with) -> horus::Task<> {
    auto encrypted = co_await TlsStream::accept(std::move(stream), with);
    if (!encrypted) {
      fmt::print("refused: {}\n", encrypted.error().message());
      co_return;
    }
    co_await echo(*std::move(encrypted));
  };
  while (true) {
    auto stream = co_await listener.accept();
    if (!stream) break;  // asked to stop
    connections.spawn(serve_one(*std::move(stream), tls));
  }
  co_await connections.join();
}

horus::Task<> run() {
  // `horus key certificate` makes the same as files.
  const Certificate authority =
      make_certificate(CertificateRequest("our authority").as_authority()).or_throw();
  const Certificate base = make_certificate(CertificateRequest("base"), authority).or_throw();

  const auto at_server = TlsOptions().with_certificate(base.certificate, base.private_key);
  auto server_tls = (co_await TlsContext::server(at_server)).or_throw();
  auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
  horus::Scope scope;
  auto server = scope.spawn(serve(listener, server_tls), "server");

  auto client_tls =
      (co_await TlsContext::client(TlsOptions().with_authority(authority.certificate))).or_throw();
  auto tcp = (co_await TcpStream::connect(listener.local_address())).or_throw();
  auto stream = (co_await TlsStream::connect(std::move(tcp), client_tls, "base")).or_throw();
  const TlsSession session = stream.session();
  fmt::print("{}, {}, with {}\n", session.version, session.cipher, session.peer_names.front());
  (co_await stream.write_all("hello\n")).or_throw();
  fmt::print("echo: {}\n", (co_await stream.read_line()).or_throw());
  (co_await stream.close()).or_throw();

  // Whoever expects somebody else does not talk to it.
  auto other = (co_await TcpStream::connect(listener.local_address())).or_throw();
  const auto refused = co_await TlsStream::connect(std::move(other), client_tls, "charger");
  fmt::print("{}\n", refused.ok() ? "accepted, which is wrong" : refused.error().message());

  server.cancel();
  co_await scope.join();
}

int main() { horus::io::run(run()); }
