// SPDX-License-Identifier: Apache-2.0
#include <horus/io/tls.hpp>

#include <array>
#include <cerrno>
#include <string>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/certificate.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/pipe.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/when_all.hpp>

#include "../support/through_backend.hpp"

using horus::Result;
using horus::Task;
using horus::io::Bytes;
using horus::io::ByteStream;
using horus::io::Certificate;
using horus::io::CertificateRequest;
using horus::io::make_certificate;
using horus::io::MutableBytes;
using horus::io::TcpListener;
using horus::io::TcpStream;
using horus::io::TlsContext;
using horus::io::TlsOptions;
using horus::io::TlsStream;
using horus::io::UnixStream;
using horus::testing::Folder;
using horus::testing::open_descriptors;
using namespace horus::literals;

namespace {

// Runs `body` on a reactor of its own and checks that nothing is left behind.
template <class Body>
void run(Body body) {
  // The engine is loaded once; what that opens is not the test's.
  static const bool loaded = make_certificate(CertificateRequest("first")).ok();
  REQUIRE(loaded);
  const int before = open_descriptors();
  horus::io::run(body());
  CHECK(open_descriptors() == before);
  CHECK(horus::live_frames() == 0);
}

// An authority, a server "base" and a client "rover" of it.
struct People {
  Certificate authority = make_certificate(CertificateRequest("our authority").as_authority()).or_throw();
  Certificate server =
      make_certificate(CertificateRequest("base").with_name("127.0.0.1"), authority).or_throw();
  Certificate client = make_certificate(CertificateRequest("rover-7"), authority).or_throw();

  People() = default;
  [[nodiscard]] TlsOptions at_server() const {
    return TlsOptions().with_certificate(server.certificate, server.private_key);
  }
  [[nodiscard]] TlsOptions at_client() const { return TlsOptions().with_authority(authority.certificate); }
};

CertificateRequest authority_request() { return CertificateRequest("our authority").as_authority(); }

struct Contexts {
  TlsContext server, client;
};
Task<Contexts> contexts(TlsOptions at_server, TlsOptions at_client) {
  auto making = TlsContext::server(std::move(at_server));
  auto server = (co_await making).or_throw();
  auto making_client = TlsContext::client(std::move(at_client));
  auto client = (co_await making_client).or_throw();
  co_return Contexts{std::move(server), std::move(client)};
}

struct Both {
  Result<TlsStream> server{TlsStream()};
  Result<TlsStream> client{TlsStream()};
};
// Shakes hands over two connected sockets.
Task<Both> meet(Contexts both, std::string name) {
  auto ends = horus::testing::socket_pair();
  auto accepting = TlsStream::accept(UnixStream(std::move(ends.first)), both.server);
  auto connecting = TlsStream::connect(UnixStream(std::move(ends.second)), both.client, std::move(name));
  auto meeting = horus::when_all(std::move(accepting), std::move(connecting));
  auto [server, client] = co_await meeting;
  co_return Both{std::move(server), std::move(client)};
}

Task<> close_both(Both& both) {
  auto closing = horus::when_all(both.server->close(), both.client->close());
  auto [server, client] = co_await closing;
  CHECK(server.ok());
  CHECK(client.ok());
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("an encrypted stream reads and writes as every stream does") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server(), people.at_client());
    auto meeting = meet(co_await making, "base");
    Both both = co_await meeting;
    REQUIRE(both.client.ok());
    REQUIRE(both.server.ok());
    CHECK(both.client->session().version == "TLSv1.3");
    CHECK(both.client->session().peer_names == std::vector<std::string>{"base", "127.0.0.1"});
    CHECK(both.server->session().server_name == "base");
    CHECK(both.server->session().peer_certificate.empty());
    CHECK(both.client->fd() == -1);

    auto sent = co_await both.client->write_all("one\ntwo\r\nrest");
    CHECK(sent.ok());
    auto line = co_await both.server->read_line();
    CHECK(*line == "one");
    auto other = co_await both.server->read_line();
    CHECK(*other == "two");
    std::array<char, 4> rest{};
    auto exact = co_await both.server->read_exact(rest);
    CHECK(exact.ok());
    CHECK(std::string_view(rest.data(), rest.size()) == "rest");

    // In parts, from the other side.
    const std::array<Bytes, 3> parts{Bytes("a"), Bytes(""), Bytes("bc\n")};
    auto gathered = co_await both.server->write_all(parts);
    CHECK(gathered.ok());
    std::string first(2, ' ');
    std::string second(8, ' ');
    const std::array<MutableBytes, 2> into{MutableBytes(first), MutableBytes(second)};
    auto scattered = co_await both.client->read(into);
    CHECK(*scattered == 2);
    CHECK(first == "ab");
    auto remaining = co_await both.client->read_until("\n");
    CHECK(*remaining == "c\n");

    // A ByteStream is what it is, also under that name.
    ByteStream plain = *std::move(both.client);
    auto written = co_await plain.write_all(std::string("as any stream\n"));
    CHECK(written.ok());
    auto read = co_await both.server->read_line();
    CHECK(*read == "as any stream");
    auto closing = horus::when_all(plain.close(), both.server->close());
    auto [one, two] = co_await closing;
    CHECK(one.ok());
    CHECK(two.ok());
  });
}

TEST_CASE("much data goes both ways at once, whole and in order") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server(), people.at_client());
    auto meeting = meet(co_await making, "base");
    Both both = co_await meeting;
    std::string long_text(1'000'003, 'x');
    for (std::size_t i = 0; i < long_text.size(); ++i) long_text[i] = static_cast<char>('a' + i * 7 % 23);
    const auto pass = [&](TlsStream& from, TlsStream& to) -> Task<std::string> {
      const auto send = [](TlsStream& stream, const std::string& text) -> Task<> {
        auto sent = co_await stream.write_all(Bytes(text));
        CHECK(sent.ok());
        auto shut = co_await stream.shutdown_write();
        CHECK(shut.ok());
      };
      auto passing = horus::when_all(send(from, long_text), to.read_all());
      auto received = std::get<1>(co_await passing);
      REQUIRE(received.ok());
      co_return *received;
    };
    auto passing = horus::when_all(pass(*both.client, *both.server), pass(*both.server, *both.client));
    auto [there, back] = co_await passing;
    CHECK(there == long_text);
    CHECK(back == long_text);
    // Who has said farewell cannot write.
    auto late = co_await both.client->write_all("x");
    CHECK(late.code() == EPIPE);
    auto closing = close_both(both);
    co_await closing;
  });
}

TEST_CASE("a farewell is an end of stream, a connection that was cut is not") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server(), people.at_client());
    const Contexts context = co_await making;
    {
      auto meeting = meet(context, "base");
      Both both = co_await meeting;
      auto sent = co_await both.server->write_all("last words");
      CHECK(sent.ok());
      auto shut = co_await both.server->shutdown_write();
      CHECK(shut.ok());
      auto all = co_await both.client->read_all();
      CHECK(*all == "last words");
      auto again = co_await both.client->read_line();
      CHECK(again.code() == horus::kEndOfStream);
      auto closing = close_both(both);
      co_await closing;
    }
    {
      auto meeting = meet(context, "base");
      Both both = co_await meeting;
      auto sent = co_await both.server->write_all("last words");
      CHECK(sent.ok());
      both.server->reset();
      auto all = co_await both.client->read_all();
      CHECK(all.code() == horus::kTruncated);
      CHECK(contains(all.error().message(), "bytes may be missing"));
      auto kept = co_await both.client->read_until("words");
      CHECK(*kept == "last words");
      both.client->reset();
    }
  });
}

TEST_CASE("a server that cannot prove who it is is refused, with the reason and what helps") {
  run([]() -> Task<> {
    const People people;
    const auto refused = [](TlsOptions at_server, TlsOptions at_client, std::string name) -> Task<Both> {
      auto making = contexts(std::move(at_server), std::move(at_client));
      auto meeting = meet(co_await making, std::move(name));
      Both both = co_await meeting;
      CHECK(both.client.code() == horus::kUntrusted);
      co_return both;
    };
    const auto of = [](const Certificate& own) {
      return TlsOptions().with_certificate(own.certificate, own.private_key);
    };
    {
      auto refusing = refused(people.at_server(), people.at_client(), "other-base");
      const Both both = co_await refusing;
      CHECK(contains(both.client.error().message(),
                     "not trusted (the certificate is for base, 127.0.0.1, not for other-base"));
      CHECK(both.server.code() == EACCES);
      CHECK(contains(both.server.error().message(), "the peer refused the server's certificate"));
    }
    {
      auto refusing = refused(people.at_server(), people.at_client(), "127.0.0.2");
      const Both both = co_await refusing;
      CHECK(contains(both.client.error().message(), "not for 127.0.0.2"));
    }
    {
      const Certificate stranger =
          make_certificate(CertificateRequest("a stranger").as_authority()).or_throw();
      const Certificate theirs = make_certificate(CertificateRequest("base"), stranger).or_throw();
      auto refusing = refused(of(theirs), people.at_client(), "base");
      const Both both = co_await refusing;
      CHECK(contains(both.client.error().message(), "issued by a stranger, which is not trusted here"));
      CHECK(contains(both.server.error().message(), "does not trust who issued"));
    }
    {
      // An authority of the same name, with another key.
      const Certificate forged = make_certificate(authority_request()).or_throw();
      const Certificate theirs = make_certificate(CertificateRequest("base"), forged).or_throw();
      auto refusing = refused(of(theirs), people.at_client(), "base");
      static_cast<void>(co_await refusing);
    }
    {
      const Certificate alone = make_certificate(CertificateRequest("base")).or_throw();
      auto refusing = refused(of(alone), people.at_client(), "base");
      const Both both = co_await refusing;
      CHECK(contains(both.client.error().message(), "signed by itself"));
    }
    {
      const auto request = CertificateRequest("base")
                               .with_begin(-std::chrono::hours(24 * 10))
                               .with_life(std::chrono::hours(24 * 7));
      const Certificate old = make_certificate(request, people.authority).or_throw();
      auto refusing = refused(of(old), people.at_client(), "base");
      const Both both = co_await refusing;
      CHECK(contains(both.client.error().message(), "3 days ago: renew it"));
    }
    {
      const auto request = CertificateRequest("base").with_begin(std::chrono::hours(24));
      const Certificate early = make_certificate(request, people.authority).or_throw();
      auto refusing = refused(of(early), people.at_client(), "base");
      const Both both = co_await refusing;
      CHECK(contains(both.client.error().message(), "set its clock"));
    }
    {
      auto making = contexts(of(make_certificate(CertificateRequest("nobody")).or_throw()),
                             TlsOptions().without_verification());
      auto meeting = meet(co_await making, "base");
      Both both = co_await meeting;
      CHECK(both.client.ok());
      auto closing = close_both(both);
      co_await closing;
    }
  });
}

TEST_CASE("a server asks its clients for certificates, and takes the names that it allows") {
  run([]() -> Task<> {
    const People people;
    const auto server =
        people.at_server().with_authority(people.authority.certificate).with_client_certificates();
    const auto client =
        people.at_client().with_certificate(people.client.certificate, people.client.private_key);
    {
      auto making = contexts(TlsOptions(server).with_allowed_name("rover-*"), client);
      auto meeting = meet(co_await making, "base");
      Both both = co_await meeting;
      REQUIRE(both.server.ok());
      CHECK(both.server->session().peer_names == std::vector<std::string>{"rover-7"});
      auto closing = close_both(both);
      co_await closing;
    }
    {
      auto making = contexts(TlsOptions(server).with_allowed_name("arm").with_allowed_name("base"), client);
      auto meeting = meet(co_await making, "base");
      Both both = co_await meeting;
      CHECK(both.server.code() == horus::kUntrusted);
      CHECK(contains(both.server.error().message(), "is for rover-7; allowed here: arm, base"));
      // Of TLS 1.3 a client learns it when it reads.
      REQUIRE(both.client.ok());
      auto heard = co_await both.client->read_line();
      CHECK(heard.code() == EACCES);
      CHECK(contains(heard.error().message(), "the peer refused our certificate"));
    }
    {
      auto making = contexts(server, people.at_client());
      auto meeting = meet(co_await making, "base");
      Both both = co_await meeting;
      CHECK(both.server.code() == EPROTO);
      CHECK(contains(both.server.error().message(), "the peer gave no certificate"));
      auto heard = co_await both.client->read_line();
      CHECK(contains(heard.error().message(), "the peer asks for a certificate"));
    }
  });
}

TEST_CASE("two ends with a shared key need no certificates") {
  run([]() -> Task<> {
    const std::string secret(32, 's');
    const auto server = TlsOptions().with_key("arm", std::string(32, 'a')).with_key("rover", secret);
    {
      auto making = contexts(server, TlsOptions().with_key("rover", secret));
      auto meeting = meet(co_await making, "");
      Both both = co_await meeting;
      REQUIRE(both.client.ok());
      CHECK(both.server->session().key_identity == "rover");
      CHECK(both.client->session().key_identity == "rover");
      CHECK_FALSE(both.client->session().resumed);
      auto sent = co_await both.client->write_all("hello\n");
      CHECK(sent.ok());
      auto line = co_await both.server->read_line();
      CHECK(*line == "hello");
      auto closing = close_both(both);
      co_await closing;
    }
    {
      auto making = contexts(server, TlsOptions().with_key("rover", std::string(32, 'x')));
      auto meeting = meet(co_await making, "");
      Both both = co_await meeting;
      CHECK_FALSE(both.client.ok());
      CHECK(contains(both.server.error().message(), "the peer's key of this identity is another one"));
      CHECK(contains(both.client.error().message(), "no key in common"));
    }
    {
      auto making = contexts(server, TlsOptions().with_key("drone", secret));
      auto meeting = meet(co_await making, "");
      Both both = co_await meeting;
      CHECK(both.server.code() == horus::kUntrusted);
      CHECK(contains(both.server.error().message(), "the peer's key drone is unknown here"));
      CHECK_FALSE(both.client.ok());
    }
    {
      // A server that has no key cannot take its place with a certificate.
      const People people;
      auto making = contexts(people.at_server(), TlsOptions().with_key("rover", secret));
      auto meeting = meet(co_await making, "base");
      Both both = co_await meeting;
      CHECK(both.client.code() == horus::kUntrusted);
      CHECK(contains(both.client.error().message(), "a certificate instead of the key rover"));
    }
  });
}

TEST_CASE("both ends agree on an application protocol, or do not meet") {
  run([]() -> Task<> {
    const People people;
    {
      auto making = contexts(people.at_server().with_protocols({"h2", "http/1.1"}),
                             people.at_client().with_protocols({"http/1.1", "h2"}));
      auto meeting = meet(co_await making, "base");
      Both both = co_await meeting;
      CHECK(both.client->session().protocol == "h2");
      CHECK(both.server->session().protocol == "h2");
      auto closing = close_both(both);
      co_await closing;
    }
    {
      auto making =
          contexts(people.at_server().with_protocols({"horus"}), people.at_client().with_protocols({"mqtt"}));
      auto meeting = meet(co_await making, "base");
      Both both = co_await meeting;
      CHECK(contains(both.client.error().message(), "speaks none of our protocols"));
      CHECK(contains(both.server.error().message(), "speaks none of our protocols"));
    }
  });
}

TEST_CASE("the next connection to a server skips the certificates") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server(), people.at_client());
    const Contexts context = co_await making;
    for (int i = 0; i < 3; ++i) {
      CAPTURE(i);
      auto meeting = meet(context, "base");
      Both both = co_await meeting;
      REQUIRE(both.client.ok());
      CHECK(both.client->session().resumed == (i > 0));
      CHECK(both.server->session().resumed == (i > 0));
      CHECK(both.client->session().peer_names.front() == "base");
      auto sent = co_await both.server->write_all("x\n");
      CHECK(sent.ok());
      auto line = co_await both.client->read_line();  // and the ticket in front of it
      CHECK(line.ok());
      // A connection that is dropped costs the ticket nothing.
      both.client->reset();
      both.server->reset();
    }
    auto elsewhere = meet(context, "127.0.0.1");
    Both other = co_await elsewhere;
    CHECK_FALSE(other.client->session().resumed);
    auto closing = close_both(other);
    co_await closing;
  });
}

TEST_CASE("settings that cannot work are refused with what is wrong") {
  run([]() -> Task<> {
    const People people;
    const auto refusal = [](TlsOptions options, bool server) -> Task<std::string> {
      auto making = server ? TlsContext::server(std::move(options)) : TlsContext::client(std::move(options));
      const auto made = co_await making;
      CHECK_FALSE(made.ok());
      co_return made.ok() ? std::string() : made.error().message();
    };
    const auto is = [&](TlsOptions options, bool server, std::string_view part) -> Task<> {
      auto refusing = refusal(std::move(options), server);
      const std::string text = co_await refusing;
      CAPTURE(text);
      CAPTURE(part);
      CHECK(contains(text, part));
    };
    std::vector<Task<>> all;
    all.push_back(is(TlsOptions(), true, "a server needs a certificate"));
    all.push_back(is(TlsOptions().with_certificate(people.server.certificate, people.client.private_key),
                     true, "the private key is not that of the certificate"));
    all.push_back(
        is(TlsOptions().with_certificate(people.server.certificate, ""), true, "without its private key"));
    all.push_back(is(TlsOptions().with_certificate("x", "y"), true, "not in PEM form"));
    all.push_back(is(TlsOptions().with_authority("nothing"), false, "no certificate in PEM form"));
    all.push_back(is(TlsOptions().with_key("rover", "short"), false, "has 5 bytes; 16 to 64"));
    all.push_back(is(people.at_server().with_client_certificates(), true, "has to know whose"));
    all.push_back(
        is(TlsOptions().with_certificate_file("/nowhere/a.pem", "/nowhere/a.key"), true, "/nowhere/a.pem"));
    all.push_back(
        is(TlsOptions().without_verification().with_allowed_name("x"), false, "without verification"));
    for (Task<>& one : all) co_await one;
    // A client that verifies has to know whom it expects.
    auto making = contexts(people.at_server(), people.at_client());
    const Contexts context = co_await making;
    auto ends = horus::testing::socket_pair();
    auto nameless = TlsStream::connect(UnixStream(std::move(ends.second)), context.client, "");
    const auto refused = co_await nameless;
    CHECK(contains(refused.error().message(), "whose certificate is expected?"));
  });
}

TEST_CASE("certificates and keys come from files") {
  const Folder folder;
  run([&]() -> Task<> {
    const People people;
    auto writing = horus::io::write_file(folder.path + "/base.pem", people.server.certificate);
    auto one = co_await writing;
    auto writing_key = horus::io::write_file(folder.path + "/base.key", people.server.private_key, 0600);
    auto two = co_await writing_key;
    auto writing_authority = horus::io::write_file(folder.path + "/ca.pem", people.authority.certificate);
    auto three = co_await writing_authority;
    REQUIRE((one.ok() && two.ok() && three.ok()));
    auto making =
        contexts(TlsOptions().with_certificate_file(folder.path + "/base.pem", folder.path + "/base.key"),
                 TlsOptions().with_authority_file(folder.path + "/ca.pem"));
    auto meeting = meet(co_await making, "base");
    Both both = co_await meeting;
    CHECK(both.client.ok());
    auto closing = close_both(both);
    co_await closing;
  });
}

TEST_CASE("a peer that says something else than TLS is told apart from one that says nothing") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server().with_handshake_limit(50ms),
                           people.at_client().with_handshake_limit(50ms));
    const Contexts context = co_await making;
    {
      auto ends = horus::testing::socket_pair();
      UnixStream peer(std::move(ends.second));
      auto sent = co_await peer.write_all("GET / HTTP/1.1\r\nHost: base\r\n\r\n");
      CHECK(sent.ok());
      auto accepting = TlsStream::accept(UnixStream(std::move(ends.first)), context.server);
      const auto accepted = co_await accepting;
      CHECK(accepted.code() == EPROTO);
      CHECK(contains(accepted.error().message(), "does not speak TLS here"));
    }
    {
      auto ends = horus::testing::socket_pair();
      const UnixStream peer(std::move(ends.second));
      auto accepting = TlsStream::accept(UnixStream(std::move(ends.first)), context.server);
      const auto accepted = co_await accepting;
      CHECK(accepted.code() == ETIMEDOUT);
      CHECK(contains(accepted.error().message(), "timed out after 50 ms"));
      CHECK(context.server.handshakes() == 0);
    }
    {
      auto ends = horus::testing::socket_pair();
      ends.second.reset();
      auto connecting = TlsStream::connect(UnixStream(std::move(ends.first)), context.client, "base");
      const auto connected = co_await connecting;
      CHECK_FALSE(connected.ok());
    }
  });
}

TEST_CASE("a cancelled read loses nothing, and a stream that is closed ends who waits for it") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server(), people.at_client());
    auto meeting = meet(co_await making, "base");
    Both both = co_await meeting;
    auto waiting = horus::with_timeout(1ms, both.client->read_line());
    const auto late = co_await waiting;
    CHECK(late.code() == ETIMEDOUT);
    auto sent = co_await both.server->write_all("still here\n");
    CHECK(sent.ok());
    auto line = co_await both.client->read_line();
    CHECK(*line == "still here");

    horus::Scope scope;
    auto reading = scope.spawn(both.client->read_line(), "reader");
    co_await horus::sleep(1ms);  // it waits now
    auto busy = both.client->read_line();
    const auto second = co_await busy;
    CHECK(second.code() == EBUSY);
    both.client->reset();
    const auto ended = co_await reading;
    CHECK(ended.code() == ECANCELED);
    both.server->reset();
    co_await scope.join();
  });
}

TEST_CASE("a write that was cancelled leaves the stream whole") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server(), people.at_client());
    auto meeting = meet(co_await making, "base");
    Both both = co_await meeting;
    // More than the sockets hold: the write waits, and is cut in the middle of a record.
    const std::string much(4'000'000, 'm');
    auto writing = horus::with_timeout(5ms, both.client->write_all(Bytes(much)));
    const auto cut = co_await writing;
    CHECK(cut.code() == ETIMEDOUT);
    const auto end = [](TlsStream& stream) -> Task<> {
      auto sent = co_await stream.write_all("the end");
      CHECK(sent.ok());
      auto shut = co_await stream.shutdown_write();
      CHECK(shut.ok());
    };
    auto both_ends = horus::when_all(end(*both.client), both.server->read_all());
    auto received = std::get<1>(co_await both_ends);
    REQUIRE(received.ok());
    CHECK(received->ends_with("mmmthe end"));
    CHECK(received->size() < much.size());
    auto closing = close_both(both);
    co_await closing;
  });
}

TEST_CASE("TLS runs over TCP by name, over pipes that are joined, and over TLS") {
  run([]() -> Task<> {
    const People people;
    auto making = contexts(people.at_server(), people.at_client());
    const Contexts context = co_await making;
    auto listener = TcpListener::listen("127.0.0.1:0").or_throw();
    const auto serve = [](TcpListener& at, TlsContext tls) -> Task<Result<TlsStream>> {
      auto accepting = at.accept();
      auto stream = (co_await accepting).or_throw();
      auto shaking = TlsStream::accept(std::move(stream), tls);
      auto shaken = co_await shaking;
      co_return shaken;
    };
    auto meeting = horus::when_all(serve(listener, context.server),
                                   TlsStream::connect(listener.local_address().to_string(), context.client));
    auto [server, client] = co_await meeting;
    REQUIRE(server.ok());
    REQUIRE(client.ok());
    CHECK(client->name() == listener.local_address().to_string());
    auto inner = horus::when_all(TlsStream::accept(*std::move(server), context.server),
                                 TlsStream::connect(*std::move(client), context.client, "base"));
    auto [inside, outside] = co_await inner;
    REQUIRE(inside.ok());
    REQUIRE(outside.ok());
    auto sent = co_await outside->write_all("twice\n");
    CHECK(sent.ok());
    auto line = co_await inside->read_line();
    CHECK(*line == "twice");
    auto closing = horus::when_all(inside->close(), outside->close());
    static_cast<void>(co_await closing);
    auto closed = co_await listener.close();
    CHECK(closed.ok());
  });
}

TEST_CASE("handshakes that go on slowly give their places up to those that wait") {
  run([]() -> Task<> {
    const People people;
    TlsOptions options = people.at_server().with_handshake_limit(60s);
    options.handshakes_at_once = 8;
    options.handshakes_waiting = 32;
    options.handshake_grace = 20ms;
    auto making = contexts(options, people.at_client());
    const Contexts context = co_await making;
    std::vector<UnixStream> loris;
    horus::Scope scope;
    std::vector<horus::Spawned<Result<TlsStream>>> slow;
    for (int i = 0; i < 24; ++i) {
      auto ends = horus::testing::socket_pair();
      loris.emplace_back(std::move(ends.second));
      auto sent = co_await loris.back().write_all("\x16");
      CHECK(sent.ok());
      slow.push_back(
          scope.spawn(TlsStream::accept(UnixStream(std::move(ends.first)), context.server), "slow"));
    }
    co_await horus::sleep(1ms);
    CHECK(context.server.handshakes() == 8);
    auto meeting = meet(context, "base");
    Both both = co_await meeting;
    CHECK(both.server.ok());
    int gave_way = 0;
    for (int i = 0; i < 16; ++i) {
      const auto ended = co_await slow[static_cast<std::size_t>(i)];
      CHECK(ended.code() == ETIMEDOUT);
      gave_way += contains(ended.error().message(), "gave its place") ? 1 : 0;
    }
    CHECK(gave_way == 16);
    CHECK(context.server.handshakes() <= 8);
    // Beyond those that may wait there is no waiting.
    for (int i = 0; i < 64; ++i) {
      auto ends = horus::testing::socket_pair();
      loris.emplace_back(std::move(ends.second));
      slow.push_back(
          scope.spawn(TlsStream::accept(UnixStream(std::move(ends.first)), context.server), "slow"));
    }
    const auto refused = co_await slow.back();
    CHECK(refused.code() == EBUSY);
    auto closing = close_both(both);
    co_await closing;
    for (auto& one : slow) one.cancel();
    slow.clear();
    co_await scope.join();
    CHECK(context.server.handshakes() == 0);
  });
}
