// SPDX-License-Identifier: Apache-2.0
// A wire between two encrypted ends that is cut, or changes a byte, at every place: what is read whole is what was sent.
#include <algorithm>
#include <array>
#include <cstddef>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <horus/io/certificate.hpp>
#include <horus/io/time.hpp>
#include <horus/io/tls.hpp>
#include <horus/io/unix.hpp>
#include <horus/task/scope.hpp>
#include <horus/task/when_all.hpp>

#include "../support/through_backend.hpp"

using horus::Result;
using horus::Task;
using horus::io::Bytes;
using horus::io::CertificateRequest;
using horus::io::make_certificate;
using horus::io::TlsContext;
using horus::io::TlsOptions;
using horus::io::TlsStream;
using horus::io::UnixStream;
using namespace horus::literals;

namespace {

constexpr std::size_t kNever = SIZE_MAX;
// A length that was changed makes an end wait for bytes that do not come.
constexpr horus::Duration kPatience = 500ms;
const std::string kQuestion = "what is the marker that nobody on the way may read?";
const std::string kAnswer = "the answer to that, and no byte less";

// What happens to one direction of the wire.
struct Fault {
  std::size_t cut = kNever;   // after so many bytes both directions end
  std::size_t flip = kNever;  // this byte arrives changed
};

struct Contexts {
  TlsContext server, client;
};

class Wire {
 public:
  Wire(Fault there, Fault back) : there_(there), back_(back) {
    auto one = horus::testing::socket_pair();
    auto two = horus::testing::socket_pair();
    client = UnixStream(std::move(one.first));
    left_ = UnixStream(std::move(one.second));
    right_ = UnixStream(std::move(two.first));
    server = UnixStream(std::move(two.second));
  }
  Task<> carry() {
    auto both = horus::when_all(pass(left_, right_, there_), pass(right_, left_, back_));
    co_await both;
  }

  UnixStream client, server;
  std::array<std::size_t, 2> passed{};
  bool seen = false;  // the question or the answer, as it is

 private:
  Task<> pass(UnixStream& from, UnixStream& to, Fault fault) {
    std::size_t& count = passed[&from == &left_ ? 0 : 1];
    std::string all;
    std::array<char, 512> buffer{};
    while (true) {
      auto reading = from.read(buffer);
      const auto got = co_await reading;
      if (!got) break;
      std::size_t size = *got;
      if (fault.flip >= count && fault.flip < count + size) buffer[fault.flip - count] ^= 0x41;
      const bool cut = fault.cut < count + size;
      if (cut) size = fault.cut - count;
      all.append(buffer.data(), size);
      auto writing = to.write_all(Bytes(buffer.data(), size));
      const auto sent = co_await writing;
      count += size;
      if (cut || !sent) {
        left_.reset();
        right_.reset();
        break;
      }
    }
    seen = seen || all.find(kQuestion) != std::string::npos || all.find(kAnswer) != std::string::npos;
    if (to) static_cast<void>(co_await to.shutdown_write());
  }

  Fault there_, back_;
  UnixStream left_, right_;
};

Task<Result<std::string>> serve(UnixStream stream, TlsContext tls) {
  auto accepting = TlsStream::accept(std::move(stream), std::move(tls));
  auto shaken = co_await accepting;
  if (!shaken) co_return shaken.error();
  auto reading = shaken->read_all();
  auto heard = co_await reading;
  if (heard) {
    auto writing = shaken->write_all(Bytes(kAnswer));
    static_cast<void>(co_await writing);
    auto closing = shaken->close();
    static_cast<void>(co_await closing);
  }
  co_return heard;
}

Task<Result<std::string>> ask(UnixStream stream, TlsContext tls) {
  auto connecting = TlsStream::connect(std::move(stream), std::move(tls), "base");
  auto shaken = co_await connecting;
  if (!shaken) co_return shaken.error();
  auto writing = shaken->write_all(Bytes(kQuestion));
  static_cast<void>(co_await writing);
  auto ending = shaken->shutdown_write();
  static_cast<void>(co_await ending);
  auto reading = shaken->read_all();
  auto heard = co_await reading;
  auto closing = shaken->close();
  static_cast<void>(co_await closing);
  co_return heard;
}

struct Outcome {
  Result<std::string> server{std::string()};
  Result<std::string> client{std::string()};
  std::array<std::size_t, 2> passed{};
  bool seen = false;
};
Task<Outcome> converse(Contexts with, Fault there, Fault back) {
  Wire wire(there, back);
  auto all = horus::when_all(serve(std::move(wire.server), with.server),
                             ask(std::move(wire.client), with.client), wire.carry());
  auto [server, client, carried] = co_await all;
  static_cast<void>(carried);
  co_return Outcome{std::move(server), std::move(client), wire.passed, wire.seen};
}

// Whoever reads to the end has everything.
void check_whole(const Outcome& outcome) {
  if (outcome.server) CHECK(*outcome.server == kQuestion);
  if (outcome.client) CHECK(*outcome.client == kAnswer);
  CHECK_FALSE(outcome.seen);
}

Task<Contexts> with_key() {
  const std::string secret(32, 's');
  auto options = TlsOptions().with_key("rover", secret);
  options.close_limit = 20ms;
  options.handshake_limit = kPatience;
  auto making = TlsContext::server(options);
  auto server = (co_await making).or_throw();
  auto making_client = TlsContext::client(options);
  auto client = (co_await making_client).or_throw();
  co_return Contexts{std::move(server), std::move(client)};
}

Task<Contexts> with_certificates() {
  const auto authority = make_certificate(CertificateRequest("ours").as_authority()).or_throw();
  const auto own = make_certificate(CertificateRequest("base"), authority).or_throw();
  auto at_server = TlsOptions().with_certificate(own.certificate, own.private_key);
  auto at_client = TlsOptions().with_authority(authority.certificate).without_resumption();
  at_server.close_limit = at_client.close_limit = 20ms;
  at_server.handshake_limit = at_client.handshake_limit = kPatience;
  auto making = TlsContext::server(at_server);
  auto server = (co_await making).or_throw();
  auto making_client = TlsContext::client(at_client);
  auto client = (co_await making_client).or_throw();
  co_return Contexts{std::move(server), std::move(client)};
}

// Every fault of a kind, `step` bytes apart, in both directions. Gives how many conversations failed.
template <class Make>
Task<int> at_every_place(Contexts with, std::size_t step, Make make) {
  auto first = converse(with, {}, {});
  const Outcome sound = co_await first;
  REQUIRE(sound.server.ok());
  REQUIRE(sound.client.ok());
  check_whole(sound);
  int failed = 0;
  for (const std::size_t direction : {0, 1}) {
    for (std::size_t place = 0; place < sound.passed[direction]; place += step) {
      CAPTURE(direction);
      CAPTURE(place);
      const Fault fault = make(place);
      auto conversation = converse(with, direction == 0 ? fault : Fault{}, direction == 1 ? fault : Fault{});
      const Outcome outcome = co_await conversation;
      check_whole(outcome);
      failed += outcome.server.ok() && outcome.client.ok() ? 0 : 1;
    }
  }
  co_return failed;
}

Fault cut_at(std::size_t place) { return Fault{place, kNever}; }
Fault flipped_at(std::size_t place) { return Fault{kNever, place}; }

}  // namespace

TEST_CASE("a wire that is cut at any byte never makes a part pass for the whole") {
  horus::io::run([]() -> Task<> {
    auto keys = with_key();
    auto by_key = at_every_place(co_await keys, 1, &cut_at);
    const int failed = co_await by_key;
    CHECK(failed > 500);
    auto certificates = with_certificates();
    auto by_certificate = at_every_place(co_await certificates, 61, &cut_at);
    const int more = co_await by_certificate;
    CHECK(more > 20);
  }());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a wire that changes any byte ends the connection, and no other text arrives") {
  horus::io::run([]() -> Task<> {
    auto keys = with_key();
    auto by_key = at_every_place(co_await keys, 3, &flipped_at);
    const int failed = co_await by_key;
    CHECK(failed > 150);
    auto certificates = with_certificates();
    auto by_certificate = at_every_place(co_await certificates, 83, &flipped_at);
    const int more = co_await by_certificate;
    CHECK(more > 10);
  }());
  CHECK(horus::live_frames() == 0);
}
