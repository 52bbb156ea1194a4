// SPDX-License-Identifier: Apache-2.0
// A TCP hub and peers that break every rule, in virtual time.
#include <cstdint>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/tcp/wire.hpp>
#include <horus/sim/world.hpp>

namespace {

using namespace std::chrono_literals;
namespace wire = horus::msg::wire;
using horus::Duration;
using horus::Hub;
using horus::Task;
using horus::TcpHubOptions;
using horus::TcpRole;
using horus::io::TcpStream;
using horus::sim::World;
using wire::Buffer;
using wire::FrameType;

class Silence {
 public:
  Silence() : previous_(horus::set_log_sink([](horus::LogLevel, std::string_view) {})) {}
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() { horus::set_log_sink(std::move(previous_)); }

 private:
  horus::LogSink previous_;
};

struct Reading {
  std::int64_t number = 0;
};

constexpr auto kAddress = "10.0.0.1:7400";
TcpHubOptions listening() { return TcpHubOptions().with_insecure().with_role(TcpRole::listen); }

// What the hub's program saw.
struct Seen {
  std::vector<std::string> problems;  // each once, in order
  bool connected = false;
  horus::PublisherMetrics metrics;
  bool balanced = true;
};

Task<int> hub_program(Seen& seen, TcpHubOptions options, std::string text) {
  const Hub hub = Hub::tcp(kAddress, "rover", options).or_throw();
  auto out = hub.advertise<std::string>("chat");
  auto in = hub.subscribe<Reading>("imu");
  while (true) {
    if (!text.empty()) out.send(text);
    const auto state = hub.connection_state();
    seen.connected = state.connected;
    for (const auto& peer : state.peers) {
      if (!peer.problem.empty() && (seen.problems.empty() || seen.problems.back() != peer.problem))
        seen.problems.push_back(peer.problem);
    }
    seen.metrics = out.metrics();
    seen.balanced = seen.balanced && seen.metrics.sent == seen.metrics.delivered + seen.metrics.dropped +
                                                              seen.metrics.queued + seen.metrics.in_flight;
    co_await horus::sleep(10ms);
  }
}

// A peer that does what a hub would, as far as the test wants.
class RawPeer {
 public:
  Task<> connect() {
    auto connected = co_await TcpStream::connect(kAddress);
    stream_ = std::move(connected).or_throw();
  }
  // False when the hub closed it before this end knew that it was open.
  Task<bool> try_connect() {
    auto connected = co_await TcpStream::connect(kAddress);
    if (connected) stream_ = std::move(*connected);
    co_return connected.ok() || connected.code() != ECONNRESET;
  }
  Task<> greet() {
    auto connecting = connect();
    co_await connecting;
    wire::Greeting greeting;
    greeting.instance = 1;
    greeting.idle_ms = 15000;
    greeting.hub = "liar";
    const Buffer bytes = wire::encode(greeting);
    auto sending = send(bytes);
    co_await sending;
  }
  Task<> send(Buffer bytes) {
    auto sent = co_await stream_.write_all(horus::io::Bytes(bytes));
    std::move(sent).or_throw();
  }
  // Reads to the end: everything that came.
  Task<std::string> rest() {
    std::string all;
    std::string piece(4096, ' ');
    while (true) {
      auto count = co_await stream_.read(horus::io::MutableBytes(piece));
      if (!count) co_return all;
      all.append(piece, 0, *count);
    }
  }
  [[nodiscard]] TcpStream& stream() { return stream_; }

 private:
  TcpStream stream_;
};

struct Outcome {
  Seen seen;
  std::string heard;   // by the peer
  Duration closed{0};  // when, after the start
};

Outcome meet(const std::function<Task<>(RawPeer&)>& talk, const TcpHubOptions& options = listening(),
             std::string text = {}) {
  const Silence silence;
  Outcome outcome;
  World world(1);
  world.process("hub", [&] { return hub_program(outcome.seen, options, text); }, "10.0.0.1");
  world.process("peer", [&]() -> Task<int> {
    RawPeer peer;
    auto talking = talk(peer);
    co_await talking;
    auto reading = peer.rest();
    outcome.heard = co_await reading;
    outcome.closed = world.now();
    co_return 0;
  });
  world.run_for(40s);
  CHECK_MESSAGE(world.report().passed, world.report().to_string());
  CHECK(outcome.seen.balanced);
  return outcome;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

// After a greeting the peer sends `bytes`; gives what the hub said about it.
Outcome meet_with(const Buffer& bytes, const TcpHubOptions& options = listening()) {
  return meet(
      [&](RawPeer& peer) -> Task<> {
        return [](RawPeer& with, const Buffer& what) -> Task<> {
          auto greeting = with.greet();
          co_await greeting;
          auto sending = with.send(what);
          co_await sending;
        }(peer, bytes);
      },
      options);
}

void check_refused(const Buffer& bytes, std::string_view why) {
  CAPTURE(why);
  const Outcome outcome = meet_with(bytes);
  CHECK(outcome.closed < 1s);
  CHECK_MESSAGE(has(outcome.heard, why), outcome.heard);  // in a goodbye
  REQUIRE_FALSE(outcome.seen.problems.empty());
  CHECK_MESSAGE(has(outcome.seen.problems.back(), why), outcome.seen.problems.back());
}

TEST_SUITE("sim/hub_faults") {
  TEST_CASE("a peer that is no hub is told from its first bytes") {
    const Outcome outcome = meet([](RawPeer& peer) -> Task<> {
      auto connecting = peer.connect();
      co_await connecting;
      const std::string text = "GET / HTTP/1.1\r\nHost: rover\r\n\r\n";
      auto sent = co_await peer.stream().write_all(text);
      CHECK(sent.ok());
    });
    CHECK(outcome.closed < 1s);
    REQUIRE_FALSE(outcome.seen.problems.empty());
    CHECK(has(outcome.seen.problems.back(), "no hub of Horus"));
  }

  TEST_CASE("a peer of another version is refused with both versions") {
    const Outcome outcome = meet([](RawPeer& peer) -> Task<> {
      auto connecting = peer.connect();
      co_await connecting;
      wire::Greeting greeting;
      greeting.idle_ms = 1;
      greeting.hub = "future";
      Buffer bytes = wire::encode(greeting);
      bytes[8] = bytes[11] = std::byte{3};
      auto sending = peer.send(bytes);
      co_await sending;
    });
    CHECK(outcome.closed < 1s);
    CHECK(has(outcome.seen.problems.back(), "version 3 of the protocol, this end version 2"));
    CHECK(has(outcome.heard, "HORUSHUB"));  // so that the other end can tell as well
  }

  TEST_CASE("a peer that says nothing, or half of its greeting, has two seconds") {
    for (const bool half : {false, true}) {
      const Outcome outcome = meet([half](RawPeer& peer) -> Task<> {
        return [](RawPeer& with, bool begins) -> Task<> {
          auto connecting = with.connect();
          co_await connecting;
          if (!begins) co_return;
          auto sent = co_await with.stream().write_all("HORUSHUB");
          CHECK(sent.ok());
        }(peer, half);
      });
      CHECK(outcome.closed > 2s);
      CHECK(outcome.closed < 2100ms);
      CHECK(has(outcome.seen.problems.back(), "did not say who it is within 2000 ms"));
    }
  }

  TEST_CASE("a greeting of 4 GiB is refused before its body") {
    const Outcome outcome = meet([](RawPeer& peer) -> Task<> {
      auto connecting = peer.connect();
      co_await connecting;
      wire::Greeting greeting;
      greeting.idle_ms = 1;
      greeting.hub = "big";
      Buffer bytes = wire::encode(greeting);
      std::memset(bytes.data() + 12, 0xff, 4);
      auto sending = peer.send(bytes);
      co_await sending;
    });
    CHECK(outcome.closed < 1s);
    CHECK(has(outcome.seen.problems.back(), "a greeting of 4294967295 bytes; at most 4096"));
  }

  TEST_CASE("frames that cannot be end the connection with a reason that both ends know") {
    Buffer bytes;
    SUBCASE("a length of 4 GiB") {
      wire::append_heartbeat(bytes);
      std::memset(bytes.data(), 0xff, 4);
      check_refused(bytes, "a frame of 4294967295 bytes; at most 61440");
    }
    SUBCASE("a message of 4 GiB") {
      wire::append_heartbeat(bytes);
      std::memset(bytes.data(), 0xff, 4);
      bytes[4] = static_cast<std::byte>(FrameType::data);
      bytes.resize(bytes.size() + wire::kDataPrefixBytes);
      check_refused(bytes, "a message of 4294967271 bytes; at most 67108864");
    }
    SUBCASE("an unknown type") {
      wire::append_heartbeat(bytes);
      bytes[4] = std::byte{0};
      check_refused(bytes, "a frame of unknown type 0");
    }
    SUBCASE("a wrong checksum") {
      wire::append(bytes, wire::Withdraw{1});
      bytes.back() ^= std::byte{1};
      check_refused(bytes, "a frame with a wrong checksum");
    }
    SUBCASE("a message on a channel that nobody asked for") {
      const auto head = wire::data_head(7, {}, {});
      bytes.assign(head.begin(), head.end());
      check_refused(bytes, "a channel that nobody asked for");
    }
    SUBCASE("accounts and refusals of channels that never were") {
      wire::append(bytes, FrameType::account, 3, wire::Account{});
      check_refused(bytes, "a channel that there never was");
      bytes.clear();
      wire::append(bytes, FrameType::unsubscribe, 3, wire::Account{});
      check_refused(bytes, "a channel that there never was");
      bytes.clear();
      wire::append(bytes, FrameType::refuse, 3, wire::Reason{"no"});
      check_refused(bytes, "a channel that nobody asked for");
      bytes.clear();
      wire::append(bytes, FrameType::end, 3, wire::Loss{});
      check_refused(bytes, "a channel that nobody asked for");
    }
    SUBCASE("broken payloads") {
      for (const FrameType type : {FrameType::refuse, FrameType::goodbye}) {
        bytes.clear();
        wire::append(bytes, type, 1, wire::Loss{0xffffffffffff});  // no text
        check_refused(bytes, "a broken reason frame");
      }
      bytes.clear();
      wire::append(bytes, FrameType::loss, 1, wire::Account{});
      check_refused(bytes, "a broken loss frame");
    }
    SUBCASE("a publisher announced twice, a channel asked for twice") {
      wire::Advertise publisher;
      publisher.publisher = 5;
      publisher.topic = "map";
      publisher.layout = horus::layout_of<std::string>();
      wire::append(bytes, publisher);
      wire::append(bytes, publisher);
      check_refused(bytes, "a publisher that was announced twice");
      bytes.clear();
      wire::Subscribe subscribe;
      subscribe.publisher = 999999;
      subscribe.depth = 1;
      subscribe.layout = horus::layout_of<std::string>();
      wire::append(bytes, 1, subscribe);
      wire::append(bytes, 1, subscribe);
      check_refused(bytes, "a channel that was asked for twice");
    }
  }

  TEST_CASE("messages that a topic cannot have, or out of order, end the connection") {
    struct Row {
      std::size_t size;
      std::uint64_t number;
      const char* why;
    };
    for (const Row& row : {Row{9, 0, "a message of 9 bytes"}, Row{8, 4, "message 4 came after 0 others"}}) {
      const Outcome outcome = meet([&row](RawPeer& peer) -> Task<> {
        return [](RawPeer& with, Row what) -> Task<> {
          auto greeting = with.greet();
          co_await greeting;
          Buffer bytes;
          wire::Advertise publisher;
          publisher.publisher = 5;
          publisher.max_bytes = sizeof(Reading);
          publisher.topic = "imu";
          publisher.layout = horus::layout_of<Reading>();
          wire::append(bytes, publisher);
          auto sending = with.send(bytes);
          co_await sending;
          co_await horus::sleep(100ms);  // it subscribes, on channel 1
          const std::vector<std::byte> message(what.size);
          wire::DataPrefix prefix;
          prefix.number = what.number;
          const auto head = wire::data_head(1, prefix, message);
          bytes.assign(head.begin(), head.end());
          bytes.insert(bytes.end(), message.begin(), message.end());
          auto sending_more = with.send(bytes);
          co_await sending_more;
        }(peer, row);
      });
      CHECK(outcome.closed < 1s);
      CHECK(has(outcome.heard, row.why));
    }
  }

  TEST_CASE("who sends large messages hears of half a queue while the next one is still on its way") {
    const Silence silence;
    std::string heard;
    int received = 0;
    World world(1);
    world.process(
        "hub",
        [&]() -> Task<int> {
          const Hub hub = Hub::tcp(kAddress, "rover", listening()).or_throw();
          auto in = hub.subscribe<std::string>("text", horus::SubscribeOptions().with_depth(4));
          while (true) {
            auto message = co_await in.recv();
            if (!message) co_return 0;
            ++received;
          }
        },
        "10.0.0.1");
    world.process("peer", [&]() -> Task<int> {
      RawPeer peer;
      auto greeting = peer.greet();
      co_await greeting;
      Buffer bytes;
      wire::Advertise publisher;
      publisher.publisher = 5;
      publisher.max_bytes = 100'000;
      publisher.topic = "text";
      publisher.layout = horus::layout_of<std::string>();
      wire::append(bytes, publisher);
      auto sending = peer.send(bytes);
      co_await sending;
      co_await horus::sleep(100ms);  // it subscribes, on channel 1
      const Buffer message(100'000, std::byte{'x'});
      bytes.clear();
      for (std::uint64_t number = 0; number < 3; ++number) {
        const auto head = wire::data_head(1, {number, 0, 0}, message);
        bytes.insert(bytes.end(), head.begin(), head.end());
        bytes.insert(bytes.end(), message.begin(), message.end());
      }
      bytes.resize(bytes.size() - 50'000);
      auto sending_more = peer.send(bytes);
      co_await sending_more;
      co_await horus::sleep(1s);  // no heartbeat is due
      std::string piece(65536, ' ');
      auto count = co_await peer.stream().read(horus::io::MutableBytes(piece));
      heard.assign(piece, 0, count.ok() ? *count : 0);
      co_return 0;
    });
    world.run_for(3s);
    CHECK_MESSAGE(world.report().passed, world.report().to_string());
    CHECK(received == 2);
    Buffer account;
    wire::append(account, FrameType::account, 1, wire::Account{2, 2, 0});
    CHECK(has(heard, {reinterpret_cast<const char*>(account.data()), account.size()}));
  }

  TEST_CASE("half a frame and then nothing ends with the idle limit; heartbeats come meanwhile") {
    Buffer bytes;
    wire::append(bytes, wire::Withdraw{1});
    bytes.resize(bytes.size() - 3);
    const Outcome outcome = meet_with(bytes);
    CHECK(outcome.closed >= 15s);
    CHECK(outcome.closed <= 20s + 100ms);
    CHECK(has(outcome.seen.problems.back(), "nothing for 15000 ms"));
    Buffer heartbeat;
    wire::append_heartbeat(heartbeat);
    const std::string beat(reinterpret_cast<const char*>(heartbeat.data()), heartbeat.size());
    const std::size_t first = outcome.heard.find(beat);
    CHECK(first != std::string::npos);
    CHECK(outcome.heard.find(beat, first + 1) != std::string::npos);
  }

  TEST_CASE("a peer that reads nothing loses messages by its policy, and is given up") {
    const Outcome outcome = meet(
        [](RawPeer& peer) -> Task<> {
          auto greeting = peer.greet();
          co_await greeting;
          std::string piece(4096, ' ');
          auto count = co_await peer.stream().read(horus::io::MutableBytes(piece));
          CHECK(count.ok());
          co_await horus::sleep(100ms);
          auto more = co_await peer.stream().read(horus::io::MutableBytes(piece));
          CHECK(more.ok());
          piece = piece.substr(0, *more);
          // Its announcement of "chat" is somewhere in there: the publisher's number follows the header.
          const std::size_t at = piece.find("chat") - 2 - 17;
          wire::Subscribe subscribe;
          std::memcpy(&subscribe.publisher, piece.data() + at, sizeof subscribe.publisher);
          subscribe.depth = 4;
          subscribe.layout = horus::layout_of<std::string>();
          Buffer bytes;
          wire::append(bytes, 1, subscribe);
          auto sending = peer.send(bytes);
          co_await sending;
          for (int i = 0; i < 30; ++i) {
            co_await horus::sleep(1s);
            bytes.clear();
            wire::append_heartbeat(bytes);
            auto sent = co_await peer.stream().write_all(horus::io::Bytes(bytes));
            if (!sent) break;
          }
        },
        listening(), std::string(500'000, 'x'));
    CHECK(has(outcome.seen.problems.back(), "it has read nothing for 15000 ms"));
    CHECK(outcome.seen.metrics.sent > 100);
    CHECK(outcome.seen.metrics.dropped == outcome.seen.metrics.sent);
  }

  TEST_CASE("a peer that reads slowly keeps its connection: what it has read counts, not whole messages") {
    const Outcome outcome = meet(
        [](RawPeer& peer) -> Task<> {
          auto greeting = peer.greet();
          co_await greeting;
          std::string piece(20'000, ' ');
          auto count = co_await peer.stream().read(horus::io::MutableBytes(piece));
          CHECK(count.ok());
          co_await horus::sleep(100ms);
          auto more = co_await peer.stream().read(horus::io::MutableBytes(piece));
          CHECK(more.ok());
          const std::size_t at = piece.substr(0, *more).find("chat") - 2 - 17;
          wire::Subscribe subscribe;
          std::memcpy(&subscribe.publisher, piece.data() + at, sizeof subscribe.publisher);
          subscribe.depth = 4;
          subscribe.layout = horus::layout_of<std::string>();
          Buffer bytes;
          wire::append(bytes, 1, subscribe);
          auto sending = peer.send(bytes);
          co_await sending;
          for (int i = 0; i < 60; ++i) {
            co_await horus::sleep(500ms);
            bytes.clear();
            wire::append_heartbeat(bytes);
            auto sent = co_await peer.stream().write_all(horus::io::Bytes(bytes));
            auto read = co_await peer.stream().read(horus::io::MutableBytes(piece));
            CHECK(sent.ok());
            CHECK(read.ok());
            if (!sent || !read) break;
          }
        },
        listening().with_idle_limit(3s), std::string(500'000, 'x'));
    for (const std::string& problem : outcome.seen.problems)
      CHECK_MESSAGE(!has(problem, "it has read nothing"), problem);
  }

  TEST_CASE("a flood of connections: the 33rd of one address is refused, the others get their two seconds") {
    const Silence silence;
    Seen seen;
    int early = 0, late = 0;
    World world(1);
    world.process("hub", [&] { return hub_program(seen, listening(), {}); }, "10.0.0.1");
    world.process("peer", [&]() -> Task<int> {
      horus::Scope scope("flood");
      for (int i = 0; i < 40; ++i) {
        static_cast<void>(scope.spawn([&]() -> Task<> {
          RawPeer peer;
          auto connecting = peer.try_connect();
          const bool open = co_await connecting;
          auto reading = peer.rest();
          if (open) static_cast<void>(co_await reading);
          ++(world.now() < 1s ? early : late);
        }));
      }
      co_await scope.join();
      co_return 0;
    });
    world.run_for(10s);
    CHECK_MESSAGE(world.report().passed, world.report().to_string());
    CHECK(early == 8);
    CHECK(late == 32);
  }

  TEST_CASE("more connections than the hub takes are refused with the name of the limit") {
    const Silence silence;
    Seen seen;
    World world(1);
    const TcpHubOptions options = listening().with_max_connections(3, 3);
    world.process("hub", [&] { return hub_program(seen, options, {}); }, "10.0.0.1");
    for (int i = 0; i < 4; ++i) {
      world.process("peer" + std::to_string(i), [&]() -> Task<int> {
        RawPeer peer;
        auto connecting = peer.try_connect();
        const bool open = co_await connecting;
        auto reading = peer.rest();
        if (open) static_cast<void>(co_await reading);
        co_return 0;
      });
    }
    world.run_for(10s);
    CHECK_MESSAGE(world.report().passed, world.report().to_string());
    bool told = false;
    for (const std::string& problem : seen.problems)
      told = told || has(problem, "TcpHubOptions::max_connections)");
    CHECK(told);
  }

  TEST_CASE("a peer that announces more publishers than the hub takes, or asks for too much, is refused") {
    TcpHubOptions options = listening();
    options.max_ports = 3;
    Buffer bytes;
    for (std::uint64_t i = 0; i < 4; ++i) {
      wire::Advertise publisher;
      publisher.publisher = i;
      publisher.topic = "map" + std::to_string(i);
      publisher.layout = horus::layout_of<std::string>();
      wire::append(bytes, publisher);
    }
    const Outcome outcome = meet_with(bytes, options);
    bool left_out = false;
    for (const std::string& problem : outcome.seen.problems)
      left_out = left_out || has(problem, "more than 3 publishers, the rest is not connected");
    CHECK(left_out);

    // Answers pile up faster than they can leave.
    options = listening();
    options.max_outbound_bytes = 65536;
    bytes.clear();
    for (std::uint32_t i = 1; i < 20000; ++i) {
      wire::Subscribe subscribe;
      subscribe.publisher = 999999;
      subscribe.depth = 1;
      subscribe.layout.name = "t";
      wire::append(bytes, i, subscribe);
    }
    const Outcome flooded = meet(
        [&](RawPeer& peer) -> Task<> {
          return [](RawPeer& with, const Buffer& what) -> Task<> {
            auto greeting = with.greet();
            co_await greeting;
            auto sent = co_await with.stream().write_all(horus::io::Bytes(what));
            static_cast<void>(sent);  // the hub ends it meanwhile
          }(peer, bytes);
        },
        options);
    REQUIRE_FALSE(flooded.seen.problems.empty());
    CHECK_MESSAGE(has(flooded.seen.problems.back(), "TcpHubOptions::max_outbound_bytes"),
                  flooded.seen.problems.back());
  }

  TEST_CASE(
      "a partition: both ends give up after the idle limit, count what was lost, and find each other again") {
    const Silence silence;
    World world(3);
    struct Side {
      std::uint64_t received = 0;
      bool connected = false;
      horus::PublisherMetrics metrics;
    } rover, base;
    const auto program = [&world](Side& side, const char* name) -> Task<int> {
      return [](World&, Side& mine, std::string hub_name) -> Task<int> {
        const Hub hub = Hub::tcp(kAddress, hub_name, TcpHubOptions().with_insecure()).or_throw();
        auto out = hub.advertise<Reading>("from_" + hub_name);
        auto in = hub.subscribe<Reading>(hub_name == "rover" ? "from_base" : "from_rover");
        for (std::int64_t i = 0;; ++i) {
          out.send({.number = i});
          while (in.try_recv()) ++mine.received;
          mine.connected = hub.connection_state().connected;
          mine.metrics = out.metrics();
          const auto& m = mine.metrics;
          CHECK(m.sent == m.delivered + m.dropped + m.queued + m.in_flight);
          co_await horus::sleep(10ms);
        }
      }(world, side, name);
    };
    world.process("rover", [&] { return program(rover, "rover"); }, "10.0.0.1");
    world.process("base", [&] { return program(base, "base"); }, "10.0.0.2");
    world.at(5s).partition("rover", "base", 60s);
    std::uint64_t before = 0;
    world.at(4900ms).call([&] {
      CHECK(rover.received > 400);
      CHECK(base.received > 400);
    });
    world.at(27s).call([&] {
      CHECK_FALSE(rover.connected);
      CHECK_FALSE(base.connected);
      CHECK(rover.metrics.in_flight == 0);
      CHECK(rover.metrics.dropped > 0);
      CHECK(rover.metrics.subscribers == 0);
      before = base.received;
    });
    world.at(80s).call([&] {
      CHECK(rover.connected);
      CHECK(base.connected);
      CHECK(base.received > before + 500);
    });
    world.run_for(90s);
    CHECK_MESSAGE(world.report().passed, world.report().to_string());
  }

  TEST_CASE("either side is killed and starts again: they go on") {
    const Silence silence;
    World world(4);
    std::uint64_t received = 0;
    world.process(
        "rover",
        []() -> Task<int> {
          const Hub hub = Hub::tcp(kAddress, "rover", TcpHubOptions().with_insecure()).or_throw();
          auto out = hub.advertise<Reading>("imu");
          while (true) {
            out.send({});
            co_await horus::sleep(10ms);
          }
        },
        "10.0.0.1");
    world.process("base", [&]() -> Task<int> {
      const Hub hub = Hub::tcp(kAddress, "base", TcpHubOptions().with_insecure()).or_throw();
      auto in = hub.subscribe<Reading>("imu");
      while (true) {
        auto message = co_await in.recv();
        if (!message) co_return 0;
        ++received;
      }
    });
    std::uint64_t last = 0;
    world.eventually("messages come", [&] { return std::exchange(last, received) != received; }, 6s);
    world.at(5s).kill("rover");
    world.at(6s).restart("rover");
    world.at(15s).kill("base");
    world.at(16s).restart("base");
    world.at(25s).reset("rover", "base");
    world.run_for(40s);
    CHECK_MESSAGE(world.report().passed, world.report().to_string());
    CHECK(received > 2500);
  }
}

}  // namespace
