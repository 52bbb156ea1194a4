// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/event_fd.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/link/shm_arena.hpp>
#include <horus/msg/shm/shm_directory.hpp>
#include <horus/msg/shm/shm_frames.hpp>
#include <horus/msg/shm/shm_transport.hpp>
#include <horus/msg/shm/wake_source.hpp>

#include "../support/captured_log.hpp"
#include "../support/eventually.hpp"
#include "nursery.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Overflow;
using horus::ShmOptions;
using horus::SubscribeOptions;
using horus::Task;
using horus::testing::CapturedLog;
using horus::testing::eventually;
namespace shm = horus::msg::shm;

struct Reading {
  std::int64_t number = 0;
  std::int64_t copies[15] = {};
};
struct Image {
  std::uint32_t width = 0;
  std::uint32_t height = 0;
  using Tail = std::byte;
};

class Folder {
 public:
  Folder() {
    std::string pattern = "/tmp/horus-shm-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  [[nodiscard]] ShmOptions options() const { return ShmOptions().with_directory(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Task<horus::Result<std::uint64_t>> wait_for(horus::io::EventFd& event) { co_return co_await event.wait(); }

TEST_SUITE("msg/shm_hub") {
  TEST_CASE("a hub that ends while it meets others, at any moment of it, ends") {
    const Folder folder;
    horus::io::Reactor reactor;
    reactor.run([&]() -> Task<> {
      auto there = Hub::shm("rover", folder.options()).or_throw();
      auto out = there.advertise<Reading>("imu");
      auto link = there.create_link<Reading>("data", "base");
      for (int i = 0; i < 200; ++i) {
        auto hub = Hub::shm(i % 2 == 0 ? "rover" : "base", folder.options()).or_throw();
        auto in = hub.subscribe<Reading>("imu");
        auto far = hub.create_link<Reading>("data", "rover");
        // As many turns as it takes, one more each time: accepting, connecting, greeting.
        for (int turn = 0; turn < i % 20; ++turn) co_await horus::sleep(horus::Duration::zero());
        hub.core()->transports().front()->close();
      }
      co_await horus::sleep(20ms);
    });
  }

  TEST_CASE("a bell that is gone leaves its descriptor's number to others") {
    horus::io::run([]() -> Task<> {
      for (int i = 0; i < 3; ++i) {
        auto source = horus::msg::WakeSource::create(horus::io::Reactor::current()->waker()).value();
        co_await horus::sleep(1ms);  // it is watched
        source->close();
        source.reset();
        co_await horus::sleep(1ms);
        horus::io::EventFd event;
        auto limited = horus::with_timeout(1s, wait_for(event));
        auto waiting = horus::io::Reactor::current()->spawn([&event]() -> Task<> {
          co_await horus::sleep(1ms);
          event.set();
        });
        const auto times = co_await limited;
        CHECK(times.ok());
        co_await waiting;
      }
    });
  }
  TEST_CASE("who has a bell is rung once for what it listens for, on whichever thread it polls") {
    struct Counting final : horus::msg::Bell {
      void ring() noexcept override { ++rings; }
      std::atomic<int> rings{0};
    };
    const Folder folder;
    horus::io::run([&]() -> Task<> {
      const Hub hub("here");
      auto bell = std::make_shared<Counting>();
      horus::msg::PortInfo info;
      info.direction = horus::msg::Direction::in;
      info.topic = "n";
      info.layout = &horus::layout_of<int>();
      info.bell = bell;
      auto port = std::make_shared<horus::msg::Port>(info);
      port->open(hub.core());
      auto out = hub.advertise<int>("n");
      CHECK(bell->rings == 1);  // a publisher has come
      horus::msg::Inbox& inbox = port->inbox();
      CHECK(!inbox.listen());
      out.send(1);
      out.send(2);
      CHECK(bell->rings == 2);
      std::thread([&] {
        for (int i = 1; i <= 2; ++i) {
          horus::msg::Arrival arrival;
          horus::msg::MessageStorage storage;
          int failure = 0;
          CHECK(inbox.take(arrival, failure, storage.bytes));
          CHECK(*reinterpret_cast<const int*>(arrival.data) == i);
          arrival.give_back();
        }
        CHECK(!inbox.listen());
      }).join();
      out.send(3);
      CHECK(bell->rings == 3);
      CHECK(inbox.listen());
      out.reset();
      CHECK(inbox.listen());
      port->close();
      co_return;
    });
  }
  TEST_CASE("hubs of the same name meet, whoever came first") {
    const Folder folder;
    horus::io::run([&]() -> Task<> {
      Hub early = Hub::shm("rover", folder.options()).or_throw();
      auto in = early.subscribe<Reading>("imu");
      Hub late = Hub::shm("rover", folder.options()).or_throw();
      Hub stranger = Hub::shm("other", folder.options()).or_throw();
      auto unheard = stranger.subscribe<Reading>("imu");
      auto out = late.advertise<Reading>("imu");
      auto back = late.subscribe<std::string>("text");
      auto text = early.advertise<std::string>("text");
      const bool met = co_await eventually([&] { return out.subscribers() == 1 && text.subscribers() == 1; });
      REQUIRE(met);
      out.send({.number = 7});
      text.send("hello");
      auto reading = co_await in.recv();
      auto words = co_await back.recv();
      CHECK(reading.value()->number == 7);
      CHECK(**words == "hello");
      CHECK_FALSE(unheard.has_msg());
      CHECK(early.connection_state().connected);
      REQUIRE(early.connection_state().peers.size() == 1);
      CHECK(early.connection_state().peers[0].name == "rover");
      CHECK_FALSE(stranger.connection_state().connected);
    });
  }

  TEST_CASE("a loaned image is read where it was written, and cannot be written by its reader") {
    const Folder folder;
    horus::io::run([&]() -> Task<> {
      Hub a = Hub::shm("rover", folder.options()).or_throw();
      Hub b = Hub::shm("rover", folder.options()).or_throw();
      auto out =
          a.advertise<Image>("camera", horus::AdvertiseOptions().with_max_bytes(8 << 20).with_max_queued(32));
      auto in = b.subscribe<Image>("camera");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      auto loan = out.loan(6'000'000).or_throw();
      loan->width = 2000;
      loan->height = 3000;
      loan.tail()[5'999'999] = std::byte{42};
      out.publish(std::move(loan));
      auto image = co_await in.recv();
      CHECK(image.value()->width == 2000);
      CHECK(image->tail().size() == 6'000'000);
      CHECK(image->tail()[5'999'999] == std::byte{42});
      std::ifstream maps("/proc/self/maps");
      const auto address = reinterpret_cast<std::uintptr_t>(image->tail().data());
      bool read_only = false;
      for (std::string line; std::getline(maps, line);) {
        std::uintptr_t begin = 0, end = 0;
        char flags[5] = {};
        if (std::sscanf(line.c_str(), "%lx-%lx %4s", &begin, &end, flags) == 3 && address >= begin &&
            address < end)
          read_only = std::string_view(flags) == "r--s";
      }
      CHECK(read_only);
    });
  }

  TEST_CASE("memory that comes with a later subscriber is told to those before it, and goes with it") {
    const Folder folder;
    horus::io::run([&]() -> Task<> {
      auto there = Hub::shm("rover", folder.options()).or_throw();
      auto here = Hub::shm("rover", folder.options()).or_throw();
      auto out = there.advertise<Image>("camera", horus::AdvertiseOptions().with_max_bytes(256 << 10));
      auto first = here.subscribe<Image>("camera");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      const std::vector<std::byte> tail(100'000, std::byte{7});
      const auto pages = [&] { return there.core()->memory()->pages(); };
      std::uint32_t sent = 0;
      {
        auto deep = here.subscribe<Image>("camera", SubscribeOptions().with_depth(500));
        const bool both = co_await eventually([&] { return out.subscribers() == 2; });
        REQUIRE(both);
        for (; sent < 400; ++sent) {
          CHECK(out.send({.width = sent}, tail));
          const bool came = first.has_msg() || co_await eventually([&] { return first.has_msg(); }, 5s);
          REQUIRE(came);
          auto image = co_await first.recv();
          REQUIRE(image.ok());
          CHECK((*image)->width == sent);
          CHECK(image->tail().back() == std::byte{7});
        }
        CHECK(first.missed() == 0);
        CHECK(deep.missed() == 0);
        CHECK(deep.metrics().queued == 400);
        CHECK(pages() > 400 * tail.size());
        CHECK(there.core()->memory()->chunks() < 12);
      }
      // The first one still looks there.
      const bool parted = co_await eventually([&] { return out.subscribers() == 1; });
      CHECK(parted);
      CHECK(out.send({.width = sent}, tail));
      auto image = co_await first.recv();
      CHECK((*image)->width == sent);
      first.reset();
      image = horus::Error(ECANCELED, "test");
      const bool given_back = co_await eventually([&] { return pages() < 64 * 1024; });
      CHECK(given_back);
    });
  }

  TEST_CASE("a queue of the greatest depth is given its memory in many turns of the loop") {
    const Folder folder;
    horus::io::run([&]() -> Task<> {
      auto there = Hub::shm("rover", folder.options()).or_throw();
      auto here = Hub::shm("rover", folder.options()).or_throw();
      auto out = there.advertise<std::int64_t>("n", horus::AdvertiseOptions().with_max_queued(200'000));
      auto first = here.subscribe<std::int64_t>("n");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      auto in = here.subscribe<std::int64_t>("n", SubscribeOptions().with_depth(SubscribeOptions::kMaxDepth));
      const std::uint64_t before = horus::msg::Mapping::filled_here();
      std::uint64_t last = before, most = 0;
      for (std::int64_t turns = 0; out.subscribers() < 2 && turns < 1'000'000; ++turns) {
        co_await horus::sleep(horus::Duration::zero());
        const std::uint64_t now = horus::msg::Mapping::filled_here();
        most = std::max(most, now - last);
        last = now;
      }
      CHECK(out.subscribers() == 2);
      CHECK(last - before > 10'000'000);
      CHECK(most <= std::uint64_t{2} << 20);
      for (std::int64_t i = 0; i < 1000; ++i) CHECK(out.send(i));
      for (std::int64_t i = 0; i < 1000; ++i) {
        auto message = co_await in.recv();
        CHECK(**message == i);
      }
    });
  }

  TEST_CASE("messages cross processes' threads in order, and send_wait loses none") {
    const Folder folder;
    constexpr std::int64_t kCount = 5000;
    std::thread producer([&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", folder.options()).or_throw();
        auto out = hub.advertise<Reading>("imu");
        const bool met = co_await eventually([&] { return out.subscribers() == 1; });
        if (!met) co_return;
        for (std::int64_t i = 0; i < kCount; ++i) {
          Reading reading{.number = i};
          auto sent = co_await out.send_wait(reading);
          if (!sent) break;
        }
        static_cast<void>(co_await eventually([&] { return out.subscribers() == 0; }));
        const auto metrics = out.metrics();
        CHECK(metrics.sent == metrics.delivered + metrics.dropped + metrics.queued);
      });
    });
    horus::io::run([&]() -> Task<> {
      Hub hub = Hub::shm("rover", folder.options()).or_throw();
      auto in = hub.subscribe<Reading>("imu");
      bool ordered = true;
      for (std::int64_t i = 0; i < kCount; ++i) {
        auto message = co_await in.recv();
        ordered = ordered && message.value()->number == i;
      }
      CHECK(ordered);
      CHECK(in.missed() == 0);
      in.reset();
      co_return;
    });
    producer.join();
  }

  TEST_CASE("types that differ are told on both ends, with both layouts") {
    const Folder folder;
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Hub a = Hub::shm("rover", folder.options()).or_throw();
      Hub b = Hub::shm("rover", folder.options()).or_throw();
      auto out = a.advertise<Reading>("imu");
      auto in = b.subscribe<std::string>("imu");
      const auto problem = [&] {
        const auto state = b.connection_state();
        return state.peers.empty() ? std::string() : state.peers[0].problem;
      };
      const bool told =
          co_await eventually([&] { return problem().find("we expect text") != std::string::npos; });
      CHECK(told);
      CHECK(problem().find("Reading {i64[16]}, 128 bytes") != std::string::npos);
      CHECK(out.subscribers() == 0);
    });
    CHECK(log.has("not connected"));
  }

  TEST_CASE("links meet across differently named hubs") {
    const Folder folder;
    horus::io::run([&]() -> Task<> {
      Hub rover = Hub::shm("rover", folder.options()).or_throw();
      Hub base = Hub::shm("base", folder.options()).or_throw();
      auto near = rover.create_link<Reading>("data", "base");
      auto far = base.create_link<Reading>("data", "rover");
      near.send({.number = 1});  // meets in this process, without the transport
      CHECK((*far.try_recv())->number == 1);
      co_return;
    });
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub base = Hub::shm("base", folder.options()).or_throw();
        auto link = base.create_link<Reading>("data", "rover");
        auto message = co_await link.recv();
        Reading answer{.number = message.value()->number + 1};
        link.send(answer);
        static_cast<void>(co_await eventually([&] { return !link.connected(); }));
      });
    }});
    nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      Hub rover = Hub::shm("rover", folder.options()).or_throw();
      auto link = rover.create_link<Reading>("data", "base");
      const bool met = co_await eventually([&] { return link.connected(); });
      REQUIRE(met);
      link.send({.number = 41});
      auto answer = co_await link.recv();
      CHECK(answer.value()->number == 42);
    });
  }

  TEST_CASE("a killed publisher is seen, nothing that it sent is torn, and its successor is met") {
    const Folder folder;
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", folder.options()).or_throw();
        auto out = hub.advertise<Reading>("imu");
        for (std::int64_t i = 1;; ++i) {
          Reading reading{.number = i};
          for (std::int64_t& copy : reading.copies) copy = i;
          out.send(reading);
          if (i % 64 == 0) co_await horus::yield();
          if (i % 4096 == 0) co_await horus::sleep(100us);
        }
      });
    }});
    pid_t child = nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      Hub hub = Hub::shm("rover", folder.options()).or_throw();
      auto in = hub.subscribe<Reading>("imu", SubscribeOptions().with_depth(64));
      for (int life = 1; life <= 20; ++life) {
        std::int64_t last = 0;
        bool whole = true;
        const auto check = [&](const horus::Sample<Reading>& sample) {
          whole = whole && sample->number > last;
          last = sample->number;
          for (const std::int64_t copy : sample->copies) whole = whole && copy == last;
        };
        for (int i = 0; i < 200; ++i) {
          auto message = co_await in.recv();
          check(message.value());
        }
        Nursery::kill(child);
        const auto before = horus::now_ns();
        while (in.metrics().publishers_died < static_cast<std::uint64_t>(life)) {
          while (auto message = in.try_recv()) check(*message);
          co_await horus::sleep(1ms);
          if (horus::now_ns() - before > 5'000'000'000) break;
        }
        while (auto message = in.try_recv()) check(*message);  // its last, sent while it died
        CHECK(whole);
        CHECK(in.publishers() == 0);
        CHECK(in.metrics().publishers_died == static_cast<std::uint64_t>(life));
        child = nursery.bear(0);
      }
    });
    Nursery::kill(child);
  }

  TEST_CASE("a killed subscriber's slots come back, and the account stays whole") {
    const Folder folder;
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", folder.options()).or_throw();
        auto in = hub.subscribe<Reading>("imu");
        auto ready = hub.advertise<std::string>("ready");
        std::vector<horus::Sample<Reading>> held;
        for (int i = 0; i < 5; ++i) {
          auto message = co_await in.recv();
          held.push_back(std::move(message.value()));
        }
        ready.send("holding five");
        co_await horus::sleep(1h);
      });
    }});
    horus::io::run([&]() -> Task<> {
      Hub hub = Hub::shm("rover", folder.options()).or_throw();
      auto out = hub.advertise<Reading>("imu", horus::AdvertiseOptions().with_max_queued(40));
      auto ready = hub.subscribe<std::string>("ready");
      for (int life = 0; life < 10; ++life) {
        const pid_t child = nursery.bear(0);
        const bool met =
            co_await eventually([&] { return out.subscribers() == 1 && ready.publishers() == 1; });
        REQUIRE(met);
        for (int i = 0; i < 100; ++i) out.send({.number = i});
        auto holding = co_await ready.recv();
        CHECK(holding.ok());
        for (int i = 0; i < 20; ++i) out.send({.number = i});
        Nursery::kill(child);
        const bool gone = co_await eventually([&] { return out.subscribers() == 0; });
        CHECK(gone);
        const auto metrics = out.metrics();
        CHECK(metrics.sent == metrics.delivered + metrics.dropped + metrics.queued);
        CHECK(metrics.queued == 0);
      }
    });
  }

  TEST_CASE("what a dead process left in the directory is cleared away") {
    const Folder folder;
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", folder.options()).or_throw();
        Nursery::kill(::getpid());
        co_return;
      });
    }});
    const auto count = [&] {
      return std::distance(std::filesystem::directory_iterator(folder.path()),
                           std::filesystem::directory_iterator());
    };
    const pid_t child = nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      const bool dead = co_await eventually([&] { return ::kill(child, 0) != 0; });
      CHECK(dead);
      CHECK(count() == 1);
      Hub hub = Hub::shm("rover", folder.options()).or_throw();
      const bool cleared = co_await eventually([&] { return count() == 1; });
      CHECK(cleared);
    });
    CHECK(count() == 0);
  }

  TEST_CASE("a directory that others may write to is refused with the remedy") {
    const Folder folder;
    ::chmod(folder.path().c_str(), 0777);
    horus::io::run([&]() -> Task<> {
      auto hub = Hub::shm("rover", folder.options());
      REQUIRE_FALSE(hub.ok());
      CHECK(hub.code() == EPERM);
      CHECK(hub.error().message().find("HORUS_RUNTIME_DIR") != std::string::npos);
      co_return;
    });
  }

  TEST_CASE("a peer that talks nonsense, too much, or not at all is shown the door") {
    const Folder folder;
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      auto options = folder.options();
      options.handshake_limit = 50ms;
      Hub hub = Hub::shm("rover", options).or_throw();
      auto out = hub.advertise<Reading>("imu");
      std::string path;
      for (const auto& entry : std::filesystem::directory_iterator(folder.path())) path = entry.path();
      shm::Hello future;
      future.lowest = 98;
      future.highest = 99;
      shm::Hello polite;
      polite.hub = "rover";
      polite.instance = 1;
      std::vector<std::vector<std::byte>> greetings;
      const auto text = [](std::string_view words) {
        const auto bytes = std::as_bytes(std::span(words));
        return std::vector<std::byte>(bytes.begin(), bytes.end());
      };
      greetings.push_back(text("GET / HTTP/1.1\r\n\r\n"));
      greetings.push_back(text(std::string("\xff\xff\xff\xff", 4)));  // 4 GiB
      greetings.push_back(text(std::string("\x20\0\0\0half", 8)));
      greetings.push_back({});  // nothing at all
      greetings.push_back(shm::encode(future));
      greetings.push_back(shm::encode(shm::Gone{1}));  // no introduction
      auto then_garbage = shm::encode(polite);
      then_garbage.insert(then_garbage.end(),
                          {std::byte{1}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{77}});
      greetings.push_back(then_garbage);
      auto without_descriptor = shm::encode(polite);
      for (const shm::Frame& frame : {shm::Frame(shm::Welcome{}), shm::Frame(shm::BellIs{0})}) {
        const auto bytes = shm::encode(frame);
        without_descriptor.insert(without_descriptor.end(), bytes.begin(), bytes.end());
      }
      greetings.push_back(without_descriptor);
      for (std::size_t i = 0; i < greetings.size(); ++i) {
        CAPTURE(i);
        auto stream = co_await horus::io::UnixStream::connect(path);
        REQUIRE(stream.ok());
        if (!greetings[i].empty()) {
          auto sent = co_await stream->write_all(horus::io::Bytes(greetings[i]));
          CHECK(sent.ok());
        }
        char buffer[4096];
        while (true) {
          auto reading = stream->read(horus::io::MutableBytes(buffer)).as_task();
          auto came = co_await horus::with_timeout(5s, std::move(reading));
          if (!came) {
            CHECK_FALSE(came.error().timed_out());
            break;
          }
        }
      }
      CHECK(out.subscribers() == 0);
    });
    CHECK(log.has("it speaks version 98 of the protocol, we speak 4 to 4: update the older program"));
    CHECK(log.has("it does not answer: it is stopped, or something keeps its thread busy"));
  }

  TEST_CASE("frames survive a round trip, and every damaged one is refused") {
    shm::Hello hello;
    hello.hub = "rover";
    hello.instance = 17;
    shm::Publishes publishes;
    publishes.publisher = 5;
    publishes.topic = "imu";
    publishes.layout_hash = 77;
    publishes.layout = "Imu";
    publishes.link = true;
    publishes.peer = "base";
    const shm::Connected connected{1, 2, 64, 100, 64, 3, 128, 16, 0};
    const std::vector<shm::Frame> frames = {hello,
                                            shm::Welcome{},
                                            shm::Goodbye{"why"},
                                            publishes,
                                            shm::Gone{3},
                                            shm::Memory{4, true, 4096},
                                            shm::Forget{4},
                                            shm::BellIs{1},
                                            shm::Subscribe{1, 2, 16, 8, Overflow::latest, 0, true},
                                            connected,
                                            shm::Refused{1, true, "no"},
                                            shm::Ping{1},
                                            shm::Pong{1},
                                            shm::Slots{1, {{0, 64, 2, 128}, {64, 3, 2, 4096}}},
                                            shm::Unmapped{2}};
    for (const shm::Frame& frame : frames) {
      CAPTURE(frame.index());
      const auto bytes = shm::encode(frame);
      const auto body = std::span(bytes).subspan(4);
      auto back = shm::decode(body);
      REQUIRE(back.ok());
      CHECK(shm::encode(back->frame) == bytes);
      CHECK(back->descriptors == shm::descriptors_of(frame));
      for (std::size_t size = 0; size < body.size(); ++size) {
        auto cut = shm::decode(body.first(size));
        CHECK(cut.code() == horus::kBadInput);
      }
      // A later version's fields are passed over.
      auto longer = bytes;
      longer.push_back(std::byte{9});
      auto grown = shm::decode(std::span(longer).subspan(4));
      REQUIRE(grown.ok());
      CHECK(shm::encode(grown->frame) == bytes);
    }
    const auto refused = [](const shm::Frame& frame) {
      const auto bytes = shm::encode(frame);
      return !shm::decode(std::span(bytes).subspan(4)).ok();
    };
    CHECK(refused(shm::Subscribe{1, 2, 0, 8, Overflow::latest}));
    CHECK(refused(shm::Subscribe{1, 2, 16, 0, Overflow::latest}));
    CHECK(refused(shm::Subscribe{1, 2, 70000, 8, Overflow::latest}));
    CHECK(refused(shm::Subscribe{1, 2, 16, 8, static_cast<Overflow>(9)}));
    const auto impossible = [&](auto change) {
      shm::Connected frame = connected;
      change(frame);
      return refused(frame);
    };
    CHECK(impossible([](shm::Connected& frame) { frame.slots = 0; }));
    CHECK(impossible([](shm::Connected& frame) { frame.stride = 65; }));
    CHECK(impossible([](shm::Connected& frame) { frame.stride = 1U << 31; }));
    CHECK(impossible([](shm::Connected& frame) { frame.depth = 0; }));
    CHECK(impossible([](shm::Connected& frame) { frame.word_at = 1; }));
    CHECK(impossible([](shm::Connected& frame) { frame.link_at = 64; }));
    CHECK(refused(shm::Slots{1, {}}));
    CHECK(refused(shm::Slots{1, {{0, 1, 2, 65}}}));
    CHECK(refused(shm::Slots{1, std::vector<shm::SlotRun>(shm::kMaxRuns + 1)}));
    CHECK(refused(shm::BellIs{shm::kMaxBells}));
    publishes.topic = "two words";
    CHECK(refused(publishes));
    publishes.topic = "\xc3";  // half a character
    CHECK(refused(publishes));
    publishes.topic = "kamera/größe";
    CHECK_FALSE(refused(publishes));
  }

  TEST_CASE("a frame of a kind that nobody knows yet is passed over, with its descriptors") {
    const std::vector<std::byte> later = {std::byte{99}, std::byte{2}, std::byte{1}};
    auto decoded = shm::decode(later);
    REQUIRE(decoded.ok());
    CHECK(std::holds_alternative<shm::Unknown>(decoded->frame));
    CHECK(decoded->descriptors == 2);
  }

  TEST_CASE("the global hub of a name is one hub in a process") {
    const Folder folder;
    horus::io::run([&]() -> Task<> {
      Hub a = Hub::global_hub("sensor_hub", folder.options()).or_throw();
      Hub b = Hub::global_hub("sensor_hub", folder.options()).or_throw();
      auto out = a.advertise<Reading>("imu");
      auto in = b.subscribe<Reading>("imu");
      out.send({.number = 3});
      CHECK((*in.try_recv())->number == 3);
      co_return;
    });
  }

  TEST_CASE(
      "a hub that was made without a reactor joins the others with its first port on one, run after run") {
    const Folder folder;
    Hub hub = Hub::shm("rover", folder.options()).or_throw();
    for (int run = 0; run < 2; ++run) {
      horus::io::run([&]() -> Task<> {
        auto in = hub.subscribe<Reading>("imu");
        Hub other = Hub::shm("rover", folder.options()).or_throw();
        auto out = other.advertise<Reading>("imu");
        const bool met = co_await eventually([&] { return out.subscribers() == 1; });
        CHECK(met);
      });
    }
  }
}

}  // namespace
