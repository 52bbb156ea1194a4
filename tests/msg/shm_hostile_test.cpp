// SPDX-License-Identifier: Apache-2.0
// A process of the same user that breaks the rules of shared memory, or uses all that they leave, loses its own
// connection: horus/msg/shm/shm_session.cpp, shm_session_frames.cpp, wake_source.cpp.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/shm/shm_directory.hpp>
#include <horus/msg/shm/shm_frames.hpp>

#include "../support/captured_log.hpp"
#include "../support/eventually.hpp"
#include "shm_stranger.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;
using horus::io::Descriptor;
using horus::testing::CapturedLog;
using horus::testing::eventually;
namespace shm = horus::msg::shm;

struct Command {
  std::int64_t number = 0;
};

std::size_t open_descriptors() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                                std::filesystem::directory_iterator()));
}

Descriptor memory(std::size_t bytes, int seals = F_SEAL_SHRINK | F_SEAL_GROW, unsigned flags = 0) {
  const int fd = ::memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
  if (fd < 0) return {};
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0 || ::fcntl(fd, F_ADD_SEALS, seals) != 0) {
    ::close(fd);
    return {};
  }
  return Descriptor(fd);
}

// Of this process, until the end of the scope.
class Limit {
 public:
  Limit(__rlimit_resource which, rlim_t value) : which_(which) {
    REQUIRE(::getrlimit(which_, &before_) == 0);
    const rlimit lower{std::min(value, before_.rlim_max), before_.rlim_max};
    REQUIRE(::setrlimit(which_, &lower) == 0);
  }
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
  ~Limit() { ::setrlimit(which_, &before_); }

 private:
  const __rlimit_resource which_;
  rlimit before_{};
};

// A victim, and a good peer of it that hears what it sends all the while.
class Scene {
 public:
  explicit Scene(horus::ShmOptions options = {}) {
    std::string pattern = "/tmp/horus-evil-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
    options.directory = path_;
    victim = Hub::shm("rover", options).or_throw();
    for (const auto& entry : std::filesystem::directory_iterator(path_)) socket = entry.path();
    out = victim.advertise<Command>("a2b");
    in = victim.subscribe<Command>("b2a");
    good = Hub::shm("rover", options).or_throw();
    heard = good.subscribe<Command>("a2b");
  }
  Scene(const Scene&) = delete;
  Scene& operator=(const Scene&) = delete;
  ~Scene() { std::filesystem::remove_all(path_); }

  /// The good peer still hears the victim.
  Task<bool> all_is_well() {
    const bool met = co_await eventually([&] { return heard.publishers() == 1; });
    if (!met) co_return false;
    while (heard.try_recv()) {
    }
    ++number_;
    out.send({number_});
    const bool came = co_await eventually([&] { return heard.has_msg(); });
    if (!came) co_return false;
    auto message = heard.try_recv();
    co_return (*message)->number == number_;
  }
  /// A stranger to whom the victim has subscribed.
  Task<Stranger> publisher(shm::Subscribe& subscribed) {
    Stranger stranger = co_await Stranger::connect(socket);
    const bool let_in = co_await stranger.introduce("rover");
    CHECK(let_in);
    shm::Publishes publishes;
    publishes.publisher = 5;
    publishes.topic = "b2a";
    publishes.layout_hash = horus::layout_of<Command>().hash;
    static_cast<void>(co_await stranger.say(publishes));
    auto wanted = co_await stranger.hear_of<shm::Subscribe>();
    CHECK(wanted.has_value());
    if (wanted) subscribed = *wanted;
    co_return stranger;
  }

  Hub victim{"none"}, good{"none"};
  std::string socket;
  horus::Publisher<Command> out;
  horus::Subscriber<Command> in, heard;

 private:
  std::string path_;
  std::int64_t number_ = 0;
};

TEST_SUITE("msg/shm_hostile") {
  TEST_CASE(
      "memory that is not there, or that can go, is not mapped: the peer that offers it loses its "
      "connection") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      struct Offer {
        const char* what;
        std::function<Descriptor()> make;
        std::uint64_t bytes;
      };
      const std::vector<Offer> offers = {
          {"huge pages that nobody has reserved",
           [] { return memory(2 << 20, F_SEAL_SHRINK | F_SEAL_GROW, MFD_HUGETLB); }, 2 << 20},
          {"no seals", [] { return memory(65536, 0); }, 65536},
          {"a size that can shrink", [] { return memory(65536, F_SEAL_GROW); }, 65536},
          {"less than it says", [] { return memory(4096); }, 65536},
          {"a device", [] { return Descriptor(::open("/dev/zero", O_RDWR | O_CLOEXEC)); }, 65536},
          {"a counter", [] { return Descriptor(::eventfd(0, EFD_CLOEXEC)); }, 65536},
          {"more addresses than there are", [] { return memory(4096); }, std::uint64_t{1} << 60},
      };
      for (const Offer& offer : offers) {
        CAPTURE(offer.what);
        const Descriptor file = offer.make();
        if (!file) continue;  // this kernel has none
        for (const bool links : {false, true}) {
          shm::Subscribe subscribed;
          Stranger stranger = co_await scene.publisher(subscribed);
          const shm::Memory frame{1, links, offer.bytes};
          static_cast<void>(co_await stranger.give(frame, file.get()));
          const bool out_of_it = co_await stranger.is_shown_the_door();
          CHECK(out_of_it);
        }
        const bool well = co_await scene.all_is_well();
        CHECK(well);
      }
    });
  }

  TEST_CASE("a bell that is full keeps nobody waiting, and one that might is not taken") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      std::array<int, 2> ends{};
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);  // blocking
      const Descriptor near(ends[0]), far(ends[1]);
      const std::array<char, 4096> junk{};
      while (::send(far.get(), junk.data(), junk.size(), MSG_DONTWAIT) > 0) {
      }
      while (::send(far.get(), junk.data(), 1, MSG_DONTWAIT) > 0) {
      }
      Stranger stranger = co_await Stranger::connect(scene.socket);
      bool let_in = co_await stranger.introduce("rover");
      REQUIRE(let_in);
      auto published = co_await stranger.hear_of<shm::Publishes>();
      REQUIRE(published.has_value());
      static_cast<void>(co_await stranger.give(shm::BellIs(), far.get()));
      shm::Subscribe subscribe;
      subscribe.publisher = published->publisher;
      subscribe.request = 1;
      subscribe.depth = 16;
      subscribe.max_held = 8;
      static_cast<void>(co_await stranger.say(subscribe));
      auto connected = co_await stranger.hear_of<shm::Connected>();
      REQUIRE(connected.has_value());
      const std::int64_t before = horus::now_ns();
      for (int i = 0; i < 2000; ++i) scene.out.send({i});
      CHECK(horus::now_ns() - before < 1'000'000'000);
      const bool well = co_await scene.all_is_well();
      CHECK(well);

      for (const bool datagrams : {false, true}) {
        Stranger other = co_await Stranger::connect(scene.socket);
        let_in = co_await other.introduce("rover", 2);
        CHECK(let_in);
        const Descriptor bell(datagrams ? ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)
                                        : ::eventfd(UINT32_MAX, EFD_CLOEXEC));
        static_cast<void>(co_await other.give(shm::BellIs(), bell.get()));
        const bool out_of_it = co_await other.is_shown_the_door();
        CHECK(out_of_it);
      }
    });
    CHECK(log.has("bell is no Unix socket"));
  }

  TEST_CASE("answers that nobody asked for, and requests out of order, end the connection") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      const std::vector<std::vector<shm::Frame>> rounds = {
          {shm::Connected{99, 1, 0, 16, 64, 2, 0, 16, 0}},
          {shm::Refused{99, true, "no"}},
          {shm::Refused{1, true, "no"}, shm::Refused{1, true, "no"}},
          {shm::Connected{1, 1, 0, 16, 64, 2, 0, 16, 0}},  // in memory that it never gave
          {shm::Forget{7}},
          {shm::Subscribe{1, 1, 16, 8, horus::Overflow::drop_oldest, 3, false}},  // a bell that it never gave
          {shm::Hello{2, 2, 0, "rover", 1}},
      };
      for (std::size_t i = 0; i < rounds.size(); ++i) {
        CAPTURE(i);
        shm::Subscribe subscribed;
        Stranger stranger = co_await scene.publisher(subscribed);
        for (const shm::Frame& frame : rounds[i]) static_cast<void>(co_await stranger.say(frame));
        const bool out_of_it = co_await stranger.is_shown_the_door();
        CHECK(out_of_it);
      }
      const bool well = co_await scene.all_is_well();
      CHECK(well);
    });
  }

  TEST_CASE("descriptors that nothing asks for are closed, and too many of them end the connection") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      bool well = co_await scene.all_is_well();
      REQUIRE(well);
      co_await horus::sleep(100ms);
      const std::size_t before = open_descriptors();
      {
        const Descriptor file = memory(4096);
        Stranger stranger = co_await Stranger::connect(scene.socket);
        const bool let_in = co_await stranger.introduce("rover");
        REQUIRE(let_in);
        // With frames that have none.
        bool sent = true;
        for (int i = 0; i < 64 && sent; ++i) {
          sent = co_await stranger.say(shm::Ping{1}, std::vector<int>(8, file.get()));
        }
        const bool out_of_it = co_await stranger.is_shown_the_door();
        CHECK(out_of_it);
      }
      well = co_await scene.all_is_well();
      CHECK(well);
      const bool closed = co_await eventually([&] { return open_descriptors() <= before; });
      CHECK(closed);
    });
  }

  TEST_CASE("a peer with more topics than the limit gets as many as fit, and a problem for the rest") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      Stranger stranger = co_await Stranger::connect(scene.socket);
      const bool let_in = co_await stranger.introduce("rover");
      REQUIRE(let_in);
      shm::Publishes publishes;
      publishes.layout = std::string(2000, 'x');
      for (std::uint64_t i = 0; i < 4200; ++i) {
        publishes.publisher = i;
        publishes.topic = fmt::format("t{}", i);
        static_cast<void>(co_await stranger.say(publishes));
      }
      static_cast<void>(co_await stranger.say(shm::Ping{1}));
      auto alive = co_await stranger.hear_of<shm::Pong>();
      CHECK(alive.has_value());
      std::string problems;
      for (const auto& peer : scene.victim.connection_state().peers) problems += peer.problem;
      CHECK(problems.find("more than 4096 publishers") != std::string::npos);
      const bool well = co_await scene.all_is_well();
      CHECK(well);
    });
  }

  TEST_CASE("a second subscriber of one peer leaves room for others") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      std::array<int, 2> ends{};
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
      const Descriptor near(ends[0]), far(ends[1]);
      Stranger stranger = co_await Stranger::connect(scene.socket);
      const bool let_in = co_await stranger.introduce("rover");
      REQUIRE(let_in);
      auto published = co_await stranger.hear_of<shm::Publishes>();
      REQUIRE(published.has_value());
      static_cast<void>(co_await stranger.give(shm::BellIs(), far.get()));
      for (std::uint64_t request = 1; request <= 31; ++request) {
        shm::Subscribe subscribe;
        subscribe.publisher = published->publisher;
        subscribe.request = request;
        subscribe.depth = request == 1 ? 700 : 64;
        subscribe.max_held = 8;
        static_cast<void>(co_await stranger.say(subscribe));
      }
      auto first = co_await stranger.hear_of<shm::Connected>();
      CHECK(first.has_value());
      auto refused = co_await stranger.hear_of<shm::Refused>();
      REQUIRE(refused.has_value());
      CHECK(refused->reason.find("more than its share") != std::string::npos);
      CHECK(refused->again);
      auto another = scene.good.subscribe<Command>("a2b");
      const bool met = co_await eventually([&] { return another.publishers() == 1; });
      CHECK(met);
    });
  }

  TEST_CASE("a peer that says it is another, who is there, is not believed") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      bool well = co_await scene.all_is_well();
      REQUIRE(well);
      std::vector<std::pair<std::string, std::uint64_t>> hubs;
      const auto directory = std::filesystem::path(scene.socket).parent_path();
      for (const auto& entry : std::filesystem::directory_iterator(directory)) {
        const auto instance =
            horus::msg::instance_of(entry.path().filename().string(), horus::msg::socket_prefix("rover"));
        if (instance) hubs.emplace_back(entry.path().string(), *instance);
      }
      REQUIRE(hubs.size() == 2);
      // Of two hubs each decides about one of the two.
      for (std::size_t i = 0; i < 2; ++i) {
        CAPTURE(i);
        Stranger impostor = co_await Stranger::connect(hubs[i].first);
        static_cast<void>(co_await impostor.introduce("rover", hubs[1 - i].second));
        for (int look = 0; look < 30; ++look) {
          CHECK(scene.out.subscribers() == 1);
          co_await horus::sleep(10ms);
        }
      }
      well = co_await scene.all_is_well();
      CHECK(well);
    });
  }

  TEST_CASE("many connections together may not have more descriptors here than peers may have") {
    CapturedLog log;
    const Limit files(RLIMIT_NOFILE, 1024);
    horus::io::run([&]() -> Task<> {
      Scene scene;
      bool well = co_await scene.all_is_well();
      REQUIRE(well);
      std::array<int, 2> ends{};
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
      const Descriptor near(ends[0]), far(ends[1]);
      const std::size_t before = open_descriptors();
      {
        std::vector<Stranger> strangers;
        for (std::uint64_t i = 0; i < 20; ++i) {
          strangers.push_back(co_await Stranger::connect(scene.socket));
          const bool let_in = co_await strangers.back().introduce("rover", i + 1);
          CHECK(let_in);
          bool there = true;
          for (std::uint32_t bell = 0; bell < shm::kMaxBells && there; ++bell)
            there = co_await strangers.back().give(shm::BellIs{bell}, far.get());
          co_await horus::sleep(1ms);
        }
        static_cast<void>(co_await strangers.back().is_shown_the_door());
        CHECK(open_descriptors() < before + 128 + 20 * 12);
        well = co_await scene.all_is_well();
        CHECK(well);
      }
      const bool closed = co_await eventually([&] { return open_descriptors() <= before; });
      CHECK(closed);
    });
  }

  TEST_CASE("a subscriber for whom there is no place costs no memory") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      std::array<int, 2> ends{};
      REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
      const Descriptor near(ends[0]), far(ends[1]);
      Stranger stranger = co_await Stranger::connect(scene.socket);
      const bool let_in = co_await stranger.introduce("rover");
      REQUIRE(let_in);
      auto published = co_await stranger.hear_of<shm::Publishes>();
      REQUIRE(published.has_value());
      static_cast<void>(co_await stranger.give(shm::BellIs(), far.get()));
      const Limit size(RLIMIT_FSIZE, 1 << 20);  // its queue would have 8 MiB
      shm::Subscribe subscribe;
      subscribe.publisher = published->publisher;
      subscribe.request = 1;
      subscribe.depth = subscribe.max_held = 65536;
      static_cast<void>(co_await stranger.say(subscribe));
      auto refused = co_await stranger.hear_of<shm::Refused>();
      REQUIRE(refused.has_value());
      CHECK(refused->reason.find("max_queued") != std::string::npos);
    });
  }

  TEST_CASE(
      "a subscriber whose connection ends before it has its queue is gone, although its program lives on") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Scene scene;
      const bool met = co_await eventually([&] { return scene.out.subscribers() == 1; });
      REQUIRE(met);
      {
        std::array<int, 2> ends{};
        REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) == 0);
        const Descriptor near(ends[0]), far(ends[1]);
        Stranger stranger = co_await Stranger::connect(scene.socket);
        const bool let_in = co_await stranger.introduce("rover");
        REQUIRE(let_in);
        auto published = co_await stranger.hear_of<shm::Publishes>();
        REQUIRE(published.has_value());
        static_cast<void>(co_await stranger.give(shm::BellIs(), far.get()));
        shm::Subscribe subscribe;
        subscribe.publisher = published->publisher;
        subscribe.request = 1;
        subscribe.depth = subscribe.max_held = 16;
        static_cast<void>(co_await stranger.say(subscribe));
        const bool served = co_await eventually([&] { return scene.out.subscribers() == 2; });
        CHECK(served);
      }  // the answer is still unread
      const bool gone = co_await eventually([&] { return scene.out.subscribers() == 1; }, 5s);
      CHECK(gone);
      const bool well = co_await scene.all_is_well();
      CHECK(well);
    });
  }

  TEST_CASE("a peer that only said hello gives its place up to one that comes") {
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      horus::ShmOptions options;
      options.max_peers = 3;
      Scene scene(options);
      Stranger one = co_await Stranger::connect(scene.socket);
      Stranger two = co_await Stranger::connect(scene.socket);
      bool let_in = co_await one.introduce("rover", 1);
      CHECK(let_in);
      const bool met = co_await eventually([&] { return scene.out.subscribers() == 1; });
      CHECK(met);
      let_in = co_await two.introduce("rover", 2);
      Hub late = Hub::shm("rover", horus::ShmOptions().with_directory(
                                       std::filesystem::path(scene.socket).parent_path().string()))
                     .or_throw();
      auto in = late.subscribe<Command>("a2b");
      const bool came = co_await eventually([&] { return in.publishers() == 1; });
      CHECK(came);
    });
  }
}

}  // namespace
