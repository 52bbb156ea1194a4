// SPDX-License-Identifier: Apache-2.0
// Hubs of one name always meet, whatever happened before: horus/msg/shm/shm_members.cpp, shm_directory.cpp, shm_session.cpp.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/base/thread_sanitizer.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/io/unix.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/shm/shm_directory.hpp>
#include <horus/msg/shm/shm_frames.hpp>

#include "../support/captured_log.hpp"
#include "../support/eventually.hpp"
#include "nursery.hpp"
#include "shm_stranger.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::ShmOptions;
using horus::Task;
using horus::testing::CapturedLog;
using horus::testing::eventually;
namespace shm = horus::msg::shm;

class MeetingPlace {
 public:
  MeetingPlace() {
    std::string pattern = "/tmp/horus-meet-XXXXXX";
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  MeetingPlace(const MeetingPlace&) = delete;
  MeetingPlace& operator=(const MeetingPlace&) = delete;
  ~MeetingPlace() { std::filesystem::remove_all(path_); }
  [[nodiscard]] ShmOptions options() const { return ShmOptions().with_directory(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_))
      names.push_back(entry.path().filename());
    return names;
  }

 private:
  std::string path_;
};

std::size_t descriptors_open() {
  return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator("/proc/self/fd"),
                                                std::filesystem::directory_iterator()));
}

std::string problems_of(const Hub& hub) {
  std::string all;
  for (const auto& peer : hub.connection_state().peers) all += peer.problem + "\n";
  return all;
}

TEST_SUITE("msg/shm_members") {
  TEST_CASE(
      "a socket can be connected to from the moment it can be found, and an old temporary one is swept") {
    const MeetingPlace place;
    horus::io::run([&]() -> Task<> {
      auto bound = horus::msg::bind_socket(place.path(), horus::msg::socket_name("rover", 0xabc)).or_throw();
      const auto names = place.files();
      REQUIRE(names.size() == 1);
      CHECK(horus::msg::instance_of(names[0], horus::msg::socket_prefix("rover")) == 0xabc);
      CHECK_FALSE(horus::msg::instance_of(names[0], horus::msg::socket_prefix("rover2")).has_value());
      CHECK(horus::msg::is_still_there(place.path() + "/" + names[0], bound.inode));
      auto stream = co_await horus::io::UnixStream::connect(place.path() + "/" + names[0]);
      CHECK(stream.ok());
      // What a process left that was killed between the two steps.
      const std::string left = place.path() + "/.new-0123456789abcdef";
      {
        const horus::io::Descriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        left.copy(address.sun_path, left.size());
        REQUIRE(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
      }
      CHECK(horus::msg::is_temporary(".new-0123456789abcdef"));
      horus::msg::sweep_temporary(left);
      CHECK(place.files().size() == 2);  // it may still be on its way
      const timespec old[2] = {{1, 0}, {1, 0}};
      REQUIRE(::utimensat(AT_FDCWD, left.c_str(), old, 0) == 0);
      horus::msg::sweep_temporary(left);
      CHECK(place.files().size() == 1);
      ::unlink((place.path() + "/" + names[0]).c_str());
    });
  }

  TEST_CASE("a path that is too long for a socket is refused with the remedy") {
    const MeetingPlace place;
    horus::io::run([&]() -> Task<> {
      const std::string deep = place.path() + "/" + std::string(90, 'd');
      auto hub = Hub::shm("rover", ShmOptions().with_directory(deep));
      CHECK(hub.code() == ENAMETOOLONG);
      CHECK(hub.error().message().find("HORUS_RUNTIME_DIR") != std::string::npos);
      co_return;
    });
  }

  TEST_CASE("a directory that somebody swept is made again, and hubs find each other there") {
    const MeetingPlace place;
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Hub early = Hub::shm("rover", place.options()).or_throw();
      auto out = early.advertise<int>("n");
      co_await horus::sleep(10ms);
      std::filesystem::remove_all(place.path());
      const bool bound_anew = co_await eventually(
          [&] { return std::filesystem::exists(place.path()) && place.files().size() == 1; });
      CHECK(bound_anew);
      Hub late = Hub::shm("rover", place.options()).or_throw();
      auto in = late.subscribe<int>("n");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      CHECK(met);
    });
    CHECK(log.has("bound anew"));
  }

  TEST_CASE("a program that was stopped while another started meets it when it goes on") {
    const MeetingPlace place;
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", place.options()).or_throw();
        auto out = hub.advertise<int>("n");
        for (int i = 0;; ++i) {
          out.send(i);
          co_await horus::sleep(1ms);
        }
      });
    }});
    CapturedLog log;
    const pid_t child = nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      // By its final name: before that it is nobody yet.
      const bool there = co_await eventually([&] {
        const auto files = place.files();
        return files.size() == 1 && !horus::msg::is_temporary(files[0]);
      });
      REQUIRE(there);
      ::kill(child, SIGSTOP);
      auto options = place.options();
      options.handshake_limit = 50ms;
      Hub hub = Hub::shm("rover", options).or_throw();
      auto in = hub.subscribe<int>("n");
      const bool told = co_await eventually(
          [&] { return problems_of(hub).find("it does not answer") != std::string::npos; });
      CHECK(told);
      CHECK_FALSE(hub.connection_state().connected);
      ::kill(child, SIGCONT);
      auto limited = horus::with_timeout(10s, [](auto& from) -> Task<horus::Result<int>> {
        auto message = co_await from.recv();
        if (!message) co_return message.error();
        co_return **message;
      }(in));
      const auto message = co_await limited;
      CHECK(message.ok());
      CHECK(hub.connection_state().connected);
      CHECK(problems_of(hub).find("it does not answer") == std::string::npos);
    });
    Nursery::kill(child);
  }

  TEST_CASE("send_wait gives up on a reader that is stopped, and serves it again when it goes on") {
    const MeetingPlace place;
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", place.options()).or_throw();
        auto in =
            hub.subscribe<int>("n", horus::SubscribeOptions().with_overflow(horus::Overflow::drop_newest));
        auto last = hub.advertise<int>("last");
        while (true) {
          auto message = co_await in.recv();
          if (!message) co_return;
          last.send(**message);
        }
      });
    }});
    CapturedLog log;
    const pid_t child = nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      Hub hub = Hub::shm("rover", place.options().with_idle_limit(200ms)).or_throw();
      auto out = hub.advertise<int>("n");
      auto last = hub.subscribe<int>("last");
      const bool met = co_await eventually([&] { return out.subscribers() == 1 && last.publishers() == 1; });
      REQUIRE(met);
      ::kill(child, SIGSTOP);
      // More than its queue holds: without a limit this would wait as long as it is stopped.
      for (int i = 0; i < 40; ++i) {
        auto sent = co_await out.send_wait(i, 10s);
        CHECK(sent.ok());
      }
      CHECK(out.metrics().dropped > 0);
      CHECK(problems_of(hub).find("it does not answer") != std::string::npos);
      ::kill(child, SIGCONT);
      // Whoever sends in a loop hears that it answers again; nothing is lost from then on.
      std::uint64_t lost = 0;
      int well = 0;
      for (int i = 0; i < 1'000'000 && well < 1000; ++i) {
        auto sent = co_await out.send_wait(i, 10s);
        REQUIRE(sent.ok());
        well = out.metrics().dropped == lost ? well + 1 : 0;
        lost = out.metrics().dropped;
      }
      CHECK(well == 1000);
      const bool answers = co_await eventually(
          [&] { return problems_of(hub).find("it does not answer") == std::string::npos; });
      CHECK(answers);
      auto sent = co_await out.send_wait(1000, 10s);
      CHECK(sent.ok());
      const bool heard = co_await eventually([&] {
        auto message = last.try_recv();
        return message && **message == 1000;
      });
      CHECK(heard);
    });
    Nursery::kill(child);
  }

  TEST_CASE("a publisher that was closed with a loan out, and killed then, leaves no link behind") {
    const MeetingPlace place;
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", place.options()).or_throw();
        auto out = hub.advertise<int>("n");
        auto go = hub.subscribe<int>("go");
        auto loan = out.loan().or_throw();
        auto now = co_await go.recv();
        CHECK(now.ok());
        out.reset();
        co_await horus::sleep(1h);
      });
    }});
    const pid_t child = nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      Hub hub = Hub::shm("rover", place.options()).or_throw();
      auto in = hub.subscribe<int>("n");
      auto go = hub.advertise<int>("go");
      const bool met = co_await eventually([&] { return in.publishers() == 1 && go.subscribers() == 1; });
      CHECK(met);
      go.send(1);
      const bool closed = co_await eventually([&] { return in.publishers() == 0; });
      CHECK(closed);
      Nursery::kill(child);
      co_await horus::sleep(50ms);
      CHECK(in.publishers() == 0);
      CHECK(in.metrics().publishers_died == 0);  // it had said goodbye
    });
  }

#ifndef HORUS_TSAN  // which does not see the descriptors that a ring receives and closes, and mixes up those of these threads
  TEST_CASE("programs in a hurry: many that start at the same moment all hear each other") {
    const MeetingPlace place;
    constexpr int kPrograms = 12;
    std::atomic<int> complete{0};
    std::vector<std::thread> programs;
    for (int i = 0; i < kPrograms; ++i) {
      programs.emplace_back([&] {
        horus::io::run([&]() -> Task<> {
          Hub hub = Hub::shm("rover", place.options()).or_throw();
          auto out = hub.advertise<int>("n");
          auto in = hub.subscribe<int>("n");
          // Its own subscriber is one of them.
          const bool all = co_await eventually(
              [&] { return out.subscribers() == kPrograms && in.publishers() == kPrograms; }, 15s);
          CHECK(all);
          ++complete;
          static_cast<void>(co_await eventually([&] { return complete == kPrograms; }, 15s));
          // One session for each pair, although both looked for each other.
          std::size_t connected = 0;
          for (const auto& peer : hub.connection_state().peers) connected += peer.connected ? 1 : 0;
          CHECK(connected == kPrograms - 1);
          ++complete;
          static_cast<void>(co_await eventually([&] { return complete == 2 * kPrograms; }, 15s));
        });
      });
    }
    for (auto& program : programs) program.join();
  }
#endif

  TEST_CASE("hundreds of topics between two hubs take a handful of descriptors") {
    const MeetingPlace place;
    horus::io::run([&]() -> Task<> {
      constexpr int kTopics = 300;
      Hub a = Hub::shm("rover", place.options()).or_throw();
      Hub b = Hub::shm("rover", place.options()).or_throw();
      const std::size_t before = descriptors_open();
      std::vector<horus::Publisher<std::int64_t>> out;
      std::vector<horus::Subscriber<std::int64_t>> in;
      for (int i = 0; i < kTopics; ++i) {
        out.push_back(a.advertise<std::int64_t>(fmt::format("t{}", i)));
        in.push_back(b.subscribe<std::int64_t>(fmt::format("t{}", i)));
      }
      const bool met = co_await eventually([&] {
        return std::all_of(out.begin(), out.end(), [](auto& one) { return one.subscribers() == 1; });
      });
      REQUIRE(met);
      for (int i = 0; i < kTopics; ++i) out[static_cast<std::size_t>(i)].send(i);
      const bool heard = co_await eventually(
          [&] { return std::all_of(in.begin(), in.end(), [](auto& one) { return one.has_msg(); }); });
      CHECK(heard);
      bool right = true;
      for (int i = 0; i < kTopics; ++i) {
        auto message = in[static_cast<std::size_t>(i)].try_recv();
        right = right && message && **message == i;
      }
      CHECK(right);
      CHECK(descriptors_open() - before < 40);
      in.clear();
      const bool gone = co_await eventually([&] {
        return std::all_of(out.begin(), out.end(), [](auto& one) { return one.subscribers() == 0; });
      });
      CHECK(gone);
    });
  }

  TEST_CASE("three hundred links join two programs that may have a hundred descriptors each") {
    constexpr std::size_t kLinks = 300;
    const MeetingPlace place;
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit low{std::min<rlim_t>(100, before.rlim_max), before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &low) == 0);
    using Links = std::vector<horus::Link<std::int64_t>>;
    const auto make_links = [](const Hub& hub, const std::string& peer) {
      Links links;
      for (std::size_t i = 0; i < kLinks; ++i)
        links.push_back(hub.create_link<std::int64_t>(fmt::format("l{}", i), peer));
      return links;
    };
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        const Hub hub = Hub::shm("base", place.options()).or_throw();
        Links links = make_links(hub, "rover");
        for (auto& link : links) {
          auto question = co_await link.recv();
          link.send(-**question);
        }
        co_await horus::sleep(1h);
      });
    }});
    nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      const Hub hub = Hub::shm("rover", place.options()).or_throw();
      Links links = make_links(hub, "base");
      const bool connected = co_await eventually(
          [&] { return std::all_of(links.begin(), links.end(), [](auto& one) { return one.connected(); }); });
      CHECK(connected);
      std::size_t right = 0;
      for (std::size_t i = 0; connected && i < kLinks; ++i) {
        links[i].send(static_cast<std::int64_t>(i));
        auto answer = co_await links[i].recv();
        right += answer.ok() && **answer == -static_cast<std::int64_t>(i) ? 1 : 0;
      }
      CHECK(right == kLinks);
    });
    CHECK(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  }

  TEST_CASE("memory of a publisher that has gone serves the next one, and its samples stay as they are") {
    const MeetingPlace place;
    horus::io::run([&]() -> Task<> {
      Hub a = Hub::shm("rover", place.options()).or_throw();
      Hub b = Hub::shm("rover", place.options()).or_throw();
      auto in = b.subscribe<std::int64_t>("n");
      auto first = a.advertise<std::int64_t>("n");
      bool met = co_await eventually([&] { return first.subscribers() == 1; });
      REQUIRE(met);
      first.send(1);
      auto kept = co_await in.recv();
      first.reset();
      // The same size, and another topic: nothing of it may be written where the sample is.
      auto second = a.advertise<std::int64_t>("m");
      auto other = b.subscribe<std::int64_t>("m");
      met = co_await eventually([&] { return second.subscribers() == 1; });
      REQUIRE(met);
      for (int i = 0; i < 2000; ++i) second.send(77);
      CHECK(**kept == 1);
      kept->reset();
      const bool ended = co_await eventually([&] { return in.publishers() == 0; });
      CHECK(ended);
      CHECK(in.metrics().publishers_died == 0);
    });
  }

  TEST_CASE("a subscriber that was refused for want of room is connected when there is some") {
    const MeetingPlace place;
    CapturedLog log;
    horus::io::run([&]() -> Task<> {
      Hub a = Hub::shm("rover", place.options()).or_throw();
      Hub b = Hub::shm("rover", place.options()).or_throw();
      auto out = a.advertise<int>("n", horus::AdvertiseOptions().with_max_queued(30));
      auto first = b.subscribe<int>("n");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      REQUIRE(met);
      auto second = b.subscribe<int>("n");
      const bool refused =
          co_await eventually([&] { return problems_of(b).find("max_queued") != std::string::npos; });
      CHECK(refused);
      first.reset();
      const bool connected = co_await eventually([&] { return second.publishers() == 1; });
      CHECK(connected);
      CHECK(problems_of(b).find("max_queued") == std::string::npos);
    });
  }

  TEST_CASE("a dead publisher is noticed, counted and cleared away although nobody takes") {
    const MeetingPlace place;
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", place.options()).or_throw();
        auto out = hub.advertise<int>("n");
        auto ready = hub.advertise<int>("ready");
        static_cast<void>(co_await eventually([&] { return ready.subscribers() == 1; }));
        ready.send(1);
        co_await horus::sleep(1h);
      });
    }});
    horus::io::run([&]() -> Task<> {
      Hub hub = Hub::shm("rover", place.options()).or_throw();
      auto silent = hub.subscribe<int>("n");
      auto ready = hub.subscribe<int>("ready");
      std::size_t descriptors = 0;
      for (std::uint64_t life = 1; life <= 20; ++life) {
        const pid_t child = nursery.bear(0);
        auto message = co_await ready.recv();
        CHECK(message.ok());
        const bool met = co_await eventually([&] { return silent.publishers() == 1; });
        CHECK(met);
        Nursery::kill(child);
        const bool counted =
            co_await eventually([&] { return silent.metrics().publishers_died == life; });  // without a look
        CHECK(counted);
        CHECK(silent.publishers() == 0);
        message->reset();
        if (life == 5) descriptors = descriptors_open();
      }
      const bool nothing_left = co_await eventually([&] { return descriptors_open() <= descriptors; });
      CHECK(nothing_left);
    });
  }

  TEST_CASE("a sample keeps its message after its hub has gone, while the publisher goes on") {
    const MeetingPlace place;
    struct Large {
      std::uint64_t words[512];
    };
    Nursery nursery({[&] {
      horus::io::run([&]() -> Task<> {
        Hub hub = Hub::shm("rover", place.options()).or_throw();
        auto out = hub.advertise<Large>("scan", horus::AdvertiseOptions().with_max_queued(40));
        for (std::uint64_t i = 1;; ++i) {
          Large large;
          for (std::uint64_t& word : large.words) word = i;
          out.send(large);
          co_await horus::sleep(200us);
        }
      });
    }});
    nursery.bear(0);
    horus::io::run([&]() -> Task<> {
      for (const bool subscriber_first : {false, true}) {
        std::vector<horus::Sample<Large>> held;
        std::vector<std::uint64_t> were;
        {
          Hub hub = Hub::shm("rover", place.options()).or_throw();
          auto in = hub.subscribe<Large>("scan", horus::SubscribeOptions().with_depth(8));
          for (int i = 0; i < 6; ++i) {
            auto message = co_await in.recv();
            were.push_back(message.value()->words[0]);
            held.push_back(std::move(message.value()));
          }
          if (subscriber_first) in.reset();
        }
        // Time for a session to end, and for the publisher to come round many times.
        co_await horus::sleep(200ms);
        bool same = true;
        for (std::size_t i = 0; i < held.size(); ++i) {
          for (const std::uint64_t word : held[i]->words) same = same && word == were[i];
        }
        CHECK(same);
      }
      // And what was held is given back: later hubs get all that they ask for.
      for (int again = 0; again < 5; ++again) {
        Hub hub = Hub::shm("rover", place.options()).or_throw();
        auto in = hub.subscribe<Large>("scan", horus::SubscribeOptions().with_depth(16).with_max_held(16));
        auto message = co_await in.recv();
        CHECK(message.ok());
      }
    });
  }

  TEST_CASE("of two connections with one hub the first one stays, and a dead one gives way to the second") {
    const MeetingPlace place;
    horus::io::run([&]() -> Task<> {
      Hub hub = Hub::shm("rover", place.options()).or_throw();
      const auto files = place.files();
      REQUIRE(files.size() == 1);
      const std::string path = place.path() + "/" + files[0];
      constexpr std::uint64_t kInstance = UINT64_MAX;  // the hub's is smaller: it decides
      Stranger first = co_await Stranger::connect(path);
      bool let_in = co_await first.introduce("rover", kInstance);
      CHECK(let_in);
      // The first answers for itself.
      Stranger second = co_await Stranger::connect(path);
      auto knocking = horus::io::Reactor::current()->spawn(second.introduce("rover", kInstance));
      auto asked = co_await first.hear_of<shm::Ping>();
      CHECK(asked.has_value());
      const bool answered = co_await first.say(shm::Pong{});
      CHECK(answered);
      let_in = co_await knocking;
      CHECK_FALSE(let_in);
      // And then it does not any more.
      Stranger third = co_await Stranger::connect(path);
      let_in = co_await third.introduce("rover", kInstance);
      CHECK(let_in);
    });
  }

  TEST_CASE("hubs in a service's directory and in a login shell's find each other") {
    const MeetingPlace session;
    const auto before = [](const char* name) {
      const char* value = std::getenv(name);
      return std::string(value != nullptr ? value : "");
    };
    const std::string session_before = before("XDG_RUNTIME_DIR");
    const std::string chosen_before = before("HORUS_RUNTIME_DIR");
    ::unsetenv("HORUS_RUNTIME_DIR");
    ::setenv("XDG_RUNTIME_DIR", session.path().c_str(), 1);
    const auto candidates = horus::msg::candidate_directories({});
    REQUIRE(candidates.size() == 3);
    CHECK(candidates[0] == session.path() + "/horus");
    CHECK(candidates[2] == fmt::format("/tmp/horus-{}", ::geteuid()));
    CHECK(horus::msg::candidate_directories("/x") == std::vector<std::string>{"/x"});
    const std::string name = fmt::format("meet-{}", ::getpid());
    horus::io::run([&]() -> Task<> {
      Hub shell = Hub::shm(name).or_throw();
      ::setenv("XDG_RUNTIME_DIR", "/nonexistent", 1);
      Hub service = Hub::shm(name).or_throw();  // binds elsewhere
      ::setenv("XDG_RUNTIME_DIR", session.path().c_str(), 1);
      auto out = shell.advertise<int>("n");
      auto in = service.subscribe<int>("n");
      const bool met = co_await eventually([&] { return out.subscribers() == 1; });
      CHECK(met);
    });
    if (session_before.empty()) {
      ::unsetenv("XDG_RUNTIME_DIR");
    } else {
      ::setenv("XDG_RUNTIME_DIR", session_before.c_str(), 1);
    }
    if (!chosen_before.empty()) ::setenv("HORUS_RUNTIME_DIR", chosen_before.c_str(), 1);
  }
}

}  // namespace
