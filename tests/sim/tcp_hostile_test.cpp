// SPDX-License-Identifier: Apache-2.0
// A program that speaks the protocol of hubs on TCP and takes all that it can get: beside it a good peer's messages arrive,
// the victim's memory stays bounded, and when it has gone, all memory is back.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <malloc.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/tcp/wire.hpp>
#include <horus/sim/world.hpp>
#include <horus/task/scope.hpp>

namespace {

using namespace std::chrono_literals;
using horus::Duration;
using horus::Hub;
using horus::Task;
using horus::TcpHubOptions;
using horus::TcpRole;
using horus::sim::World;
namespace wire = horus::msg::wire;

constexpr auto kAddress = "10.0.0.1:8080";
constexpr Duration kBegin = 2s;    // of the attack: the good ones have met
constexpr Duration kTrouble = 6s;  // its end
constexpr Duration kSettled = 12s;
constexpr Duration kEnd = 13s;
constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kInbound = 8 * kMiB;  // of one peer

struct Word {
  std::int64_t number = 0;
};

// Of the whole process, the attacker's included: memory that is no file's. What the heap keeps for later does not count.
std::size_t resident_bytes() {
  static_cast<void>(::malloc_trim(0));
  std::ifstream status("/proc/self/status");
  std::size_t kib = 0;
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("RssAnon:") || line.starts_with("RssShmem:")) kib += std::stoul(line.substr(9));
  }
  return kib * 1024;
}

struct Seen {
  std::int64_t received = 0;  // by the good peer, and by the victim
  std::int64_t expected = 0;
  std::uint64_t missed = 0;
  std::size_t before = 0, most = 0, after = 0;  // bytes
  std::uint64_t heartbeats = 0;                 // that the attacker got
  int let_in = 0;                               // good newcomers from the attacker's host
};

// --- The good ones ----------------------------------------------------------------------------------------------------

TcpHubOptions options() {
  TcpHubOptions chosen = TcpHubOptions().with_insecure().with_idle_limit(2s).with_retry(20ms, 100ms);
  chosen.max_inbound_bytes = kInbound;
  chosen.max_outbound_bytes = kMiB;
  return chosen;
}

Task<> speak(World& world, const Hub& hub, const char* topic, Seen& seen) {
  auto out = hub.advertise<Word>(topic);
  while (out.subscribers() == 0) co_await horus::sleep(1ms);
  for (std::int64_t i = 1; world.now() < kSettled; ++i) {
    out.send({i});
    ++seen.expected;
    co_await horus::sleep(10ms);
  }
  co_await horus::sleep(1h);
}

Task<> listen(const Hub& hub, const char* topic, Seen& seen) {
  auto in = hub.subscribe<Word>(topic, horus::SubscribeOptions().with_depth(64));
  while (true) {
    auto message = co_await in.recv();
    if (!message) co_return;
    ++seen.received;
    seen.missed = std::max(seen.missed, in.missed());
  }
}

Task<int> play(World& world, bool victim, Seen& seen) {
  const Hub hub = Hub::tcp(kAddress, victim ? "victim" : "good",
                           options().with_role(victim ? TcpRole::listen : TcpRole::connect))
                      .or_throw();
  horus::Scope scope("play");
  static_cast<void>(scope.spawn(speak(world, hub, victim ? "down" : "up", seen), "speak"));
  static_cast<void>(scope.spawn(listen(hub, victim ? "up" : "down", seen), "listen"));
  auto text =
      hub.subscribe<std::string>(victim ? "text" : "other");  // it takes nothing while there is trouble
  co_await horus::sleep(kTrouble + 1s - world.now());
  while (text.try_recv()) {
  }
  co_await scope.join();
  co_return 0;
}

// --- The attacker -----------------------------------------------------------------------------------------------------

class Guest {
 public:
  explicit Guest(horus::io::TcpStream stream) noexcept : stream_(std::move(stream)) {}

  static Task<Guest> connect(std::uint32_t idle_ms = 15'000) {
    auto stream = (co_await horus::io::TcpStream::connect(kAddress)).or_throw();
    Guest guest(std::move(stream));
    wire::Greeting greeting;
    horus::io::Reactor::current()->system().random_bytes(&greeting.instance, sizeof greeting.instance);
    greeting.idle_ms = idle_ms;
    greeting.hub = "guest";
    auto saying = guest.say(wire::encode(greeting));
    co_await saying;
    co_return guest;
  }
  Task<> say(wire::Buffer bytes) {
    auto written = co_await stream_.write_all(horus::io::Bytes(bytes));
    std::move(written).or_throw();
  }
  struct Frame {
    wire::Header header;
    wire::Buffer payload;
  };
  Task<Frame> hear() {
    if (!greeted_) {
      auto reading = exactly(wire::kPreambleBytes);
      const wire::Buffer head = co_await reading;
      const auto preamble = wire::decode_preamble(head, 4096).or_throw();
      auto reading_body = exactly(preamble.body_bytes);
      static_cast<void>(co_await reading_body);
      greeted_ = true;
    }
    auto reading = exactly(wire::kHeaderBytes);
    const wire::Buffer head = co_await reading;
    Frame frame;
    frame.header = wire::decode_header(head).or_throw();
    auto reading_payload = exactly(frame.header.length);
    frame.payload = co_await reading_payload;
    co_return frame;
  }
  /// The publisher of a topic of the victim.
  Task<wire::Advertise> find(std::string topic) {
    while (true) {
      auto hearing = hear();
      const Frame frame = co_await hearing;
      if (frame.header.type != wire::FrameType::advertise) continue;
      auto found = wire::decode_advertise(frame.payload).or_throw();
      if (found.topic == topic) co_return found;
    }
  }
  [[nodiscard]] horus::io::TcpStream& stream() noexcept { return stream_; }

 private:
  Task<wire::Buffer> exactly(std::size_t size) {
    wire::Buffer bytes(size);
    for (std::size_t done = 0; done < size;) {
      auto came = co_await stream_.read(horus::io::MutableBytes(bytes).skip(done));
      done += std::move(came).or_throw();
    }
    co_return bytes;
  }
  horus::io::TcpStream stream_;
  bool greeted_ = false;
};

horus::Layout long_layout() {
  horus::Layout layout;
  layout.hash = 1;
  layout.head_bytes = layout.tail_offset = 8;
  layout.name = std::string(255, 'T');
  layout.fields = std::string(2048, 'f');
  return layout;
}

using Attack = std::function<Task<>(Seen&)>;

// As many publishers as it may announce, with long descriptions, on several connections.
Task<> announce(Seen&) {
  std::vector<Guest> guests;
  for (int connection = 0; connection < 6; ++connection) {
    auto connecting = Guest::connect();
    guests.push_back(co_await connecting);
    for (std::uint64_t publisher = 1; publisher <= 5000; ++publisher) {
      wire::Advertise frame;
      frame.publisher = publisher;
      frame.max_bytes = 64;
      frame.topic = std::string(200, 't') + std::to_string(publisher);
      frame.layout = long_layout();
      wire::Buffer bytes;
      wire::append(bytes, frame);
      auto saying = guests.back().say(std::move(bytes));
      co_await saying;
    }
  }
  co_await horus::sleep(1h);
}

// One topic that the victim wants, announced many times, and large messages on every channel.
Task<> fill_queues(Seen&) {
  auto connecting = Guest::connect();
  Guest guest = co_await connecting;
  for (std::uint64_t publisher = 1; publisher <= 40; ++publisher) {
    wire::Advertise frame;
    frame.publisher = publisher;
    frame.max_bytes = kMiB;
    frame.topic = "text";
    frame.layout = horus::layout_of<std::string>();
    wire::Buffer bytes;
    wire::append(bytes, frame);
    auto saying = guest.say(std::move(bytes));
    co_await saying;
  }
  std::vector<std::uint32_t> channels;
  while (channels.size() < 40) {
    auto hearing = guest.hear();
    const Guest::Frame frame = co_await hearing;
    if (frame.header.type == wire::FrameType::subscribe) channels.push_back(frame.header.channel);
  }
  const wire::Buffer message(kMiB - 64, std::byte{1});
  for (std::uint64_t number = 0; number < 2; ++number) {
    for (const std::uint32_t channel : channels) {
      const auto head = wire::data_head(channel, {number, 0, 0}, message);
      auto saying_head = guest.say(wire::Buffer(head.begin(), head.end()));
      co_await saying_head;
      auto written = co_await guest.stream().write_all(horus::io::Bytes(message));
      std::move(written).or_throw();
    }
  }
  co_await horus::sleep(1h);
}

// Every place in the queues of a publisher that it may have, and more.
Task<> subscribe_deeply(Seen&) {
  auto connecting = Guest::connect();
  Guest guest = co_await connecting;
  auto finding = guest.find("down");
  const wire::Advertise publisher = co_await finding;
  for (std::uint32_t channel = 1; channel <= 3000; ++channel) {
    wire::Subscribe frame;
    frame.publisher = publisher.publisher;
    frame.depth = channel == 1 ? 900 : 64;
    frame.layout = publisher.layout;
    wire::Buffer bytes;
    wire::append(bytes, channel, frame);
    auto saying = guest.say(std::move(bytes));
    co_await saying;
  }
  while (true) {
    auto hearing = guest.hear();
    static_cast<void>(co_await hearing);
  }
}

Task<> count_heartbeats(Guest& guest, Seen& seen) {
  while (true) {
    auto hearing = guest.hear();
    const Guest::Frame frame = co_await hearing;
    seen.heartbeats += frame.header.type == wire::FrameType::heartbeat ? 1 : 0;
  }
}

// Wants a heartbeat every third of a millisecond.
Task<> ask_for_heartbeats(Seen& seen) {
  std::vector<Guest> guests;
  for (int connection = 0; connection < 32; ++connection) {
    auto connecting = Guest::connect(1);
    guests.push_back(co_await connecting);
  }
  horus::Scope scope("heartbeats", horus::Failures::log);
  for (Guest& guest : guests) static_cast<void>(scope.spawn(count_heartbeats(guest, seen), "count"));
  co_await scope.join();
}

Task<> take_place(std::vector<Guest>& guests, bool greets) {
  if (greets) {
    auto connecting = Guest::connect();
    guests.push_back(co_await connecting);
  } else {
    auto stream = co_await horus::io::TcpStream::connect(kAddress);
    guests.emplace_back(std::move(stream).or_throw());
  }
}

Task<> come_in() {
  auto connecting = Guest::connect();
  Guest good = co_await connecting;
  auto finding = good.find("down");
  static_cast<void>(co_await finding);
}

// What `task` does may fail: the victim cut it off. Whatever else it is ends the attack.
Task<bool> succeeds(Task<> task) {
  try {
    co_await task;
  } catch (const horus::Error& error) {
    if (error.cancelled()) throw;
    co_return false;
  }
  co_return true;
}

// Connections that say nothing, or only who they are and that they live; now and then a good one comes from there.
Task<> take_places(Seen& seen, bool greets) {
  std::vector<Guest> guests;
  for (int connection = 0; connection < 40; ++connection) {
    auto taking = succeeds(take_place(guests, greets));
    static_cast<void>(co_await taking);
  }
  for (int newcomer = 0; newcomer < 6; ++newcomer) {
    for (Guest& guest : guests) {
      wire::Buffer beat;
      wire::append_heartbeat(beat);
      if (greets) static_cast<void>(co_await guest.stream().write_all(horus::io::Bytes(beat)));
    }
    co_await horus::sleep(500ms);
    auto coming = succeeds(come_in());
    const bool in = co_await coming;
    seen.let_in += in ? 1 : 0;
  }
  co_await horus::sleep(1h);
}

// Subscribes, and reads nothing.
Task<> read_nothing(Seen&) {
  std::vector<Guest> guests;
  for (int connection = 0; connection < 16; ++connection) {
    auto connecting = Guest::connect();
    guests.push_back(co_await connecting);
    auto finding = guests.back().find("down");
    const wire::Advertise publisher = co_await finding;
    wire::Subscribe frame;
    frame.publisher = publisher.publisher;
    frame.depth = 16;
    frame.layout = publisher.layout;
    wire::Buffer bytes;
    wire::append(bytes, 1, frame);
    auto saying = guests.back().say(std::move(bytes));
    co_await saying;
  }
  co_await horus::sleep(1h);
}

Task<> ask_in_vain() {
  auto connecting = Guest::connect();
  Guest guest = co_await connecting;
  auto finding = guest.find("down");
  const wire::Advertise publisher = co_await finding;
  for (std::uint32_t channel = 1; channel <= 2000; ++channel) {
    wire::Subscribe frame;
    frame.publisher = publisher.publisher;
    frame.depth = 1;
    frame.layout = long_layout();
    wire::Buffer bytes;
    wire::append(bytes, channel, frame);
    auto saying = guest.say(std::move(bytes));
    co_await saying;
  }
}

// Makes the victim answer at length, and reads no answer.
Task<> make_it_answer(Seen&) {
  for (int again = 0; again < 20; ++again) {
    auto asking = succeeds(ask_in_vain());
    static_cast<void>(co_await asking);
  }
  co_await horus::sleep(1h);
}

Task<int> run_attack(World& world, const Attack& attack, Seen& seen) {
  co_await horus::sleep(kBegin - world.now());
  auto attacking = succeeds(attack(seen));
  static_cast<void>(co_await attacking);
  co_await horus::sleep(1h);
  co_return 0;
}

// Lines of the log are nowhere kept.
class Quiet {
 public:
  Quiet() = default;
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
  ~Quiet() { horus::set_log_sink(std::move(previous_)); }

 private:
  horus::LogSink previous_ = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
};

Seen under_once(const Attack& attack) {
  World world(1);
  Seen seen;
  world.process("victim", [&] { return play(world, true, seen); }, "10.0.0.1");
  world.process("good", [&] { return play(world, false, seen); }, "10.0.0.2");
  world.process("attacker", [&] { return run_attack(world, attack, seen); }, "10.0.0.3");
  world.at(kTrouble).kill("attacker");
  world.at(kBegin).call([&] { seen.before = resident_bytes(); });
  for (Duration when = kBegin; when < kTrouble; when += 200ms)
    world.at(when).call([&] { seen.most = std::max(seen.most, resident_bytes()); });
  world.at(kSettled).call([&] { seen.after = resident_bytes(); });
  world.run_for(kEnd);
  CHECK_MESSAGE(world.report().passed, world.report().to_string());
  CHECK(seen.expected > 2 * 900);
  CHECK(seen.received == seen.expected);
  CHECK(seen.missed == 0);
  return seen;
}

// The second time: by then everything has been used once.
Seen under(const Attack& attack) {
  const Quiet quiet;
  static_cast<void>(under_once(attack));
  return under_once(attack);
}

void check_memory(const Seen& seen, std::size_t most) {
  if (::mallinfo2().uordblks == 0) return;  // a sanitizer's allocator, which keeps what was freed
  CHECK(seen.most <= seen.before + most);
  CHECK(seen.after <= seen.before + seen.before / 10);
}

TEST_SUITE("sim/tcp_hostile") {
  TEST_CASE("a peer that announces more than it may gives back what that took") {
    check_memory(under(announce), 24 * kMiB);
  }
  TEST_CASE("a peer that fills every queue gets no more memory than its share") {
    check_memory(under(fill_queues), kInbound + 8 * kMiB);
  }
  TEST_CASE("a peer that asks for every place in a publisher's queues leaves the others theirs") {
    check_memory(under(subscribe_deeply), 8 * kMiB);
  }
  TEST_CASE("a peer that wants to hear from us all the time gets a hundred heartbeats a second") {
    const Seen seen = under(ask_for_heartbeats);
    check_memory(seen, 8 * kMiB);
    CHECK(seen.heartbeats > 0);
    CHECK(seen.heartbeats <= std::uint64_t{32} * 100 * 4 + 32);  // a hundred per second and connection
  }
  TEST_CASE("connections that say nothing give their places up") {
    const Seen seen = under([](Seen& here) { return take_places(here, false); });
    check_memory(seen, 8 * kMiB);
    CHECK(seen.let_in == 6);
  }
  TEST_CASE("connections that only keep themselves alive give their places up after two seconds") {
    const Seen seen = under([](Seen& here) { return take_places(here, true); });
    check_memory(seen, 8 * kMiB);
    CHECK(seen.let_in >= 1);  // when the places have been idle for two seconds
  }
  TEST_CASE("a subscriber that reads nothing holds up nobody") {
    check_memory(under(read_nothing), 8 * kMiB);
  }
  TEST_CASE("a peer that makes us answer and reads nothing is cut off") {
    check_memory(under(make_it_answer), 8 * kMiB);
  }
}

}  // namespace
