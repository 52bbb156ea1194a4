// SPDX-License-Identifier: Apache-2.0
// What inotify says in a simulated world: horus/sim/files/folder_watch.cpp.
#include <array>
#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <sys/inotify.h>

#include <doctest/doctest.h>

#include <horus/horus.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/sim/world.hpp>

using horus::Task;
using horus::io::Descriptor;
using horus::io::System;
using horus::sim::Report;
using horus::sim::World;
using namespace horus::literals;

namespace {

struct Happened {
  int watch = 0;
  std::uint32_t mask = 0;
  std::string name;
};

std::vector<Happened> read_events(int watch) {
  std::vector<Happened> all;
  alignas(inotify_event) std::array<char, 4096> bytes{};
  const ssize_t size = System::here().read(watch, bytes.data(), bytes.size());
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(bytes.data() + at);
    all.push_back({event->wd, event->mask, event->len > 0 ? event->name : ""});
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  return all;
}

Task<int> change() {
  System& host = System::here();
  co_await horus::sleep(10ms);
  CHECK(host.rename("/tmp/hubs/.new", "/tmp/hubs/robot") == 0);
  co_await horus::sleep(10ms);
  CHECK(host.unlink("/tmp/hubs/robot") == 0);
  co_await horus::sleep(10ms);
  horus::io::Reactor::current()->system().remove_tree("/tmp/hubs");
  co_return 0;
}

}  // namespace

TEST_CASE("whoever watches a folder hears what is moved into it, what is removed, and its end") {
  World world(1);
  world.process(
      "watcher",
      [] {
        return []() -> Task<int> {
          System& host = System::here();
          const Descriptor watch(host.make_watch());
          const std::uint32_t events = IN_MOVED_TO | IN_DELETE | IN_DELETE_SELF;
          const int folder = host.watch_folder(watch.get(), "/tmp/hubs", events);
          CHECK(folder > 0);
          CHECK(host.watch_folder(watch.get(), "/tmp/hubs", events) == folder);
          CHECK(host.watch_folder(watch.get(), "/tmp/nothing", events) == -ENOENT);
          CHECK(host.watch_folder(watch.get(), "/tmp/hubs/.new", events) == -ENOTDIR);
          std::vector<Happened> all;
          while (all.size() < 4) {
            auto ready = co_await horus::io::wait_readable(watch.get());
            if (!ready) co_return 1;
            for (Happened& one : read_events(watch.get())) all.push_back(std::move(one));
          }
          const std::vector<std::pair<std::uint32_t, std::string>> wanted{
              {IN_MOVED_TO, "robot"}, {IN_DELETE, "robot"}, {IN_DELETE_SELF, ""}, {IN_IGNORED, ""}};
          for (std::size_t i = 0; i < wanted.size(); ++i) {
            CAPTURE(i);
            CHECK(all[i].watch == folder);
            CHECK(all[i].mask == wanted[i].first);
            CHECK(all[i].name == wanted[i].second);
          }
          char byte = 0;
          CHECK(host.read(watch.get(), &byte, sizeof byte) == -EAGAIN);
          co_return 0;
        }();
      },
      "10.0.0.1");
  world.process("rover", [] { return change(); }, "10.0.0.1");
  world.file("10.0.0.1", "/tmp/hubs/.new", "x");
  const Report report = world.run_for(1s);
  CHECK_MESSAGE(report.passed, report.to_string());
}
