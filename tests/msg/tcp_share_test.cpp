// SPDX-License-Identifier: Apache-2.0
// What a hub on TCP knows across connections, and what one peer may have of it: horus/msg/tcp/tcp_session_frames.cpp,
// tcp_receive_channel.cpp, tcp_transport_peers.cpp.
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/tcp/seen_messages.hpp>
#include <horus/msg/tcp/wire.hpp>
#include <horus/task/scope.hpp>

#include "../support/captured_log.hpp"
#include "../support/eventually.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;
using horus::TcpHubOptions;
using horus::TcpRole;
using horus::testing::CapturedLog;
using horus::testing::eventually;
namespace wire = horus::msg::wire;

struct Pose {
  std::int64_t number = 0;
};

TcpHubOptions brisk() { return TcpHubOptions().with_retry(5ms, 20ms); }
TcpHubOptions one_who_listens() { return brisk().with_role(TcpRole::listen); }

// Passes bytes on between a hub that connects and one that listens, until it is cut.
class Cable {
 public:
  explicit Cable(std::string to)
      : to_(std::move(to)), listener_(horus::io::TcpListener::listen("127.0.0.1:0").or_throw()) {
    static_cast<void>(scope_.spawn(serve(), "cable"));
  }
  [[nodiscard]] std::string address() const { return listener_.local_address().to_string(); }
  void cut() {
    near_.reset();
    far_.reset();
  }
  void hold(bool held) { held_ = held; }
  Task<> end() {
    scope_.cancel();
    co_await scope_.join();
  }

 private:
  Task<> serve() {
    while (true) {
      auto stream = co_await listener_.accept();
      if (!stream) co_return;
      if (held_) continue;  // it closes
      auto onward = co_await horus::io::TcpStream::connect(to_);
      if (!onward) continue;
      near_ = std::move(*stream);
      far_ = std::move(*onward);
      static_cast<void>(scope_.spawn(pass(near_, far_), "there"));
      static_cast<void>(scope_.spawn(pass(far_, near_), "back"));
    }
  }
  static Task<> pass(horus::io::TcpStream& from, horus::io::TcpStream& to) {
    std::vector<std::byte> buffer(65536);
    while (true) {
      auto came = co_await from.read(horus::io::MutableBytes(buffer));
      if (!came) co_return;
      auto sent = co_await to.write_all(horus::io::Bytes(buffer.data(), *came));
      if (!sent) co_return;
    }
  }

  std::string to_;
  horus::io::TcpListener listener_;
  horus::io::TcpStream near_, far_;
  bool held_ = false;
  horus::Scope scope_{"cable", horus::Failures::log};
};

TEST_SUITE("msg/tcp_share") {
  TEST_CASE("a subscriber counts what it missed between two connections") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = Hub::tcp("127.0.0.1:0", "rover", one_who_listens()).or_throw();
      Cable cable(rover.address());
      const Hub base = Hub::tcp(cable.address(), "base", brisk().with_role(TcpRole::connect)).or_throw();
      auto out = rover.advertise<Pose>("pose");
      auto in = base.subscribe<Pose>("pose");
      bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      for (std::int64_t i = 0; i < 5; ++i) {
        out.send({i});
        auto message = co_await in.recv();
        CHECK(message.value()->number == i);
      }
      for (std::int64_t round = 1; round <= 3; ++round) {
        cable.hold(true);
        cable.cut();
        const bool lost = co_await eventually([&] { return out.subscribers() == 0; });
        CHECK(lost);
        for (std::int64_t i = 0; i < 7; ++i) out.send({100 + i});  // nobody hears these
        cable.hold(false);
        met = co_await eventually([&] { return out.subscribers() == 1; });
        REQUIRE(met);
        out.send({200});
        auto message = co_await in.recv();
        CHECK(message.value()->number == 200);
        CHECK(in.missed() == static_cast<std::uint64_t>(7 * round));
      }
      co_await cable.end();
    });
  }

  TEST_CASE(
      "what is known of messages from one connection to the next is bounded, and nobody drives out another") {
    using horus::msg::SeenMessages;
    SeenMessages seen;
    const std::uint64_t rover = UINT64_MAX / 2;
    seen.remember({rover, 1, 1}, 7);
    seen.remember({rover, 1, 1}, 8);
    CHECK(seen.size() == 1);
    for (std::uint64_t publisher = 0; publisher < 2 * SeenMessages::kPairs; ++publisher)
      seen.remember({UINT64_MAX, publisher, 1}, publisher);
    CHECK(seen.size() == SeenMessages::kPairs);
    CHECK(seen.seen_of({rover, 1, 1}) == 8);
    CHECK(seen.seen_of({UINT64_MAX, 2 * SeenMessages::kPairs - 1, 1}) == 2 * SeenMessages::kPairs - 1);
    // One that starts again and again.
    for (std::uint64_t life = 1; life < SeenMessages::kInstances; ++life) seen.remember({life, 1, 1}, life);
    CHECK(seen.seen_of({rover, 1, 1}) == std::nullopt);
    seen.remember({1000, 1, 2}, 1000);
    CHECK(seen.seen_of({UINT64_MAX, 2 * SeenMessages::kPairs - 1, 1}) == std::nullopt);
    CHECK(seen.seen_of({1, 1, 1}) == 1);
    seen.forget({1000, 1, 2});
    CHECK(seen.size() == SeenMessages::kInstances - 1);
    seen.forget_subscriber(1);
    CHECK(seen.size() == 0);
  }

  TEST_CASE("a publisher's state is known to its subscribers on TCP: while it is muted, latest() is empty") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover = Hub::tcp("127.0.0.1:0", "rover", one_who_listens()).or_throw();
      const Hub base = Hub::tcp(rover.address(), "base", brisk().with_role(TcpRole::connect)).or_throw();
      auto port = horus::msg::out_port<Pose>("command", {});
      port->open(rover.core());
      horus::Publisher<Pose> out(port);
      auto in = base.subscribe<Pose>("command");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      out.send({1});
      const bool came = co_await eventually([&] { return in.latest() != nullptr; });
      CHECK(came);
      port->outbox().mute(horus::msg::MuteReason::emergency, true);
      const bool empty = co_await eventually([&] { return in.latest() == nullptr; });
      CHECK(empty);
      port->outbox().mute(horus::msg::MuteReason::emergency, false);
      co_await horus::sleep(120ms);
      CHECK(in.latest() == nullptr);  // what was commanded before does not count again
      out.send({2});
      const bool again =
          co_await eventually([&] { return in.latest() != nullptr && (*in.latest())->number == 2; });
      CHECK(again);
    });
  }

  TEST_CASE("messages of one peer take no more memory than it has, and it comes back") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      auto options = brisk().with_role(TcpRole::connect).with_idle_limit(300ms);
      options.max_inbound_bytes = 1 << 20;
      const Hub rover = Hub::tcp("127.0.0.1:0", "rover", one_who_listens()).or_throw();
      const Hub base = Hub::tcp(rover.address(), "base", options).or_throw();
      auto out = rover.advertise<std::string>("text");
      auto in = base.subscribe<std::string>("text");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      const std::string large(300'000, 'x');
      for (int round = 0; round < 2; ++round) {
        const std::uint64_t before = in.missed();
        for (int i = 0; i < 10; ++i) {
          out.send(large);
          co_await horus::sleep(5ms);
        }
        const bool settled =
            co_await eventually([&] { return in.missed() - before + in.metrics().queued == 10; });
        CHECK(settled);
        CAPTURE(in.missed() - before);
        CAPTURE(out.metrics().published);
        CAPTURE(out.metrics().in_flight);
        CHECK(in.metrics().queued == 3);
        while (auto message = in.try_recv()) CHECK((**message).size() == large.size());
      }
      const auto account = out.metrics();
      CHECK(account.sent == account.delivered + account.dropped + account.queued + account.in_flight);
    });
  }

  TEST_CASE("a subscriber that was refused for want of room is connected when room comes") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const auto quick = brisk().with_role(TcpRole::connect).with_idle_limit(600ms);
      const Hub rover = Hub::tcp("127.0.0.1:0", "rover", one_who_listens()).or_throw();
      const Hub base = Hub::tcp(rover.address(), "base", quick).or_throw();
      auto out = rover.advertise<Pose>("pose", horus::AdvertiseOptions().with_max_queued(30));
      auto first = base.subscribe<Pose>("pose");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      auto second = base.subscribe<Pose>("pose");
      const auto problem = [&] { return base.connection_state().peers.at(0).problem; };
      const bool refused =
          co_await eventually([&] { return problem().find("max_queued") != std::string::npos; });
      CHECK(refused);
      first.reset();
      const bool connected =
          co_await eventually([&] { return out.subscribers() == 1 && second.publishers() == 1; });
      CHECK(connected);
      const bool solved = co_await eventually([&] { return problem().empty(); });
      CHECK(solved);
    });
  }

  TEST_CASE(
      "connections that nobody uses give their place up, and frames of a later version are passed over") {
    const CapturedLog log;
    horus::io::run([]() -> Task<> {
      const Hub rover =
          Hub::tcp("127.0.0.1:0", "rover", one_who_listens().with_max_connections(8, 2)).or_throw();
      auto out = rover.advertise<Pose>("pose");
      std::vector<horus::io::TcpStream> idle;
      for (std::uint64_t i = 1; i <= 2; ++i) {
        auto stream = co_await horus::io::TcpStream::connect(rover.address());
        REQUIRE(stream.ok());
        wire::Greeting greeting;
        greeting.instance = i;
        greeting.idle_ms = 15000;
        greeting.hub = "idle";
        wire::Buffer bytes = wire::encode(greeting);
        wire::Buffer later;
        wire::append_heartbeat(later);
        later[4] = std::byte{200};
        const std::uint32_t sum = wire::checksum_of_header(wire::Bytes(later).first(wire::kHeaderBytes));
        for (std::size_t byte = 0; byte < 4; ++byte)
          later[12 + byte] = static_cast<std::byte>(sum >> (8 * byte));
        bytes.insert(bytes.end(), later.begin(), later.end());
        auto sent = co_await stream->write_all(horus::io::Bytes(bytes));
        CHECK(sent.ok());
        idle.push_back(std::move(*stream));
      }
      const bool both = co_await eventually([&] {
        std::size_t connected = 0;
        for (const auto& peer : rover.connection_state().peers) connected += peer.connected ? 1 : 0;
        return connected == 2;
      });
      CHECK(both);
      const Hub base = Hub::tcp(rover.address(), "base", brisk().with_role(TcpRole::connect)).or_throw();
      auto in = base.subscribe<Pose>("pose");
      const bool let_in = co_await eventually([&] { return out.subscribers() == 1; });
      CHECK(let_in);
    });
  }
}

}  // namespace
