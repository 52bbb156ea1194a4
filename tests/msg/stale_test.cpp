// SPDX-License-Identifier: Apache-2.0
// SubscribeOptions::stale_after with a publisher in another process, which is frozen or killed.
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>

#include "../support/eventually.hpp"
#include "nursery.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::SubscribeOptions;
using horus::Task;
using horus::testing::eventually;

// One that travels in its queue's entry, and one that lies in the publisher's memory.
struct Heartbeat {
  std::int64_t number = 0;
};
struct Snapshot {
  std::int64_t number = 0;
  std::uint8_t pixels[1000] = {};
};

struct MeetingDirectory {
  MeetingDirectory() {
    if (::mkdtemp(path.data()) == nullptr) throw horus::Error(errno, "mkdtemp");
  }
  MeetingDirectory(const MeetingDirectory&) = delete;
  MeetingDirectory& operator=(const MeetingDirectory&) = delete;
  ~MeetingDirectory() { std::filesystem::remove_all(path); }
  std::string path = "/tmp/horus-stale-XXXXXX";
};

Task<> beat_for_ever(horus::ShmOptions options) {
  const Hub hub = Hub::shm("robot", options).or_throw();
  auto beats = hub.advertise<Heartbeat>("beat");
  auto pictures = hub.advertise<Snapshot>("picture");
  for (std::int64_t i = 1;; ++i) {
    beats.send({i});
    pictures.send({.number = i});
    co_await horus::sleep(1ms);
  }
}

TEST_SUITE("msg/stale") {
  TEST_CASE("latest gives nothing while a publisher in another process is frozen, and when it was killed") {
    const MeetingDirectory folder;
    const auto options = horus::ShmOptions().with_directory(folder.path);
    Nursery nursery({[&] { horus::io::run(beat_for_ever(options)); }});
    horus::io::run([&]() -> Task<> {
      const Hub hub = Hub::shm("robot", options).or_throw();
      const auto limit = SubscribeOptions().with_stale_after(300ms);
      auto beats = hub.subscribe<Heartbeat>("beat", limit);
      auto pictures = hub.subscribe<Snapshot>("picture", limit);
      auto kept = hub.subscribe<Snapshot>("picture",
                                          SubscribeOptions(limit).with_keep_in_emergency());  // by age alone
      auto ever = hub.subscribe<Snapshot>("picture");
      const auto all = [&] {
        return beats.latest() != nullptr && pictures.latest() != nullptr && kept.latest() != nullptr &&
               ever.latest() != nullptr;
      };
      const auto none = [&] {
        return beats.latest() == nullptr && pictures.latest() == nullptr && kept.latest() == nullptr;
      };
      for (int life = 0; life < 2; ++life) {
        const pid_t child = nursery.bear(0);
        const bool came = co_await eventually(all);
        CHECK(came);
        ::kill(child, SIGSTOP);
        const bool stopped = co_await eventually(none);
        CHECK(stopped);
        CHECK(ever.latest() != nullptr);
        CHECK(beats.publishers() == 1);
        ::kill(child, SIGCONT);
        const bool back = co_await eventually(all);
        CHECK(back);
        Nursery::kill(child);
        const bool gone = co_await eventually(none);
        CHECK(gone);
      }
    });
  }
}

}  // namespace
