// SPDX-License-Identifier: Apache-2.0
// The simulated disk: the same file code as ever, and what a power cut leaves of it.
#include <map>
#include <set>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/sim/world.hpp>

using horus::Task;
using horus::sim::Faults;
using horus::sim::Report;
using horus::sim::World;
namespace io = horus::io;
using namespace horus::literals;

namespace {

Task<int> use_files() {
  auto made = co_await io::fs::create_directories("/data/logs/today");
  std::move(made).or_throw();
  auto written = co_await io::write_file("/data/logs/today/a.txt", "first\nsecond\n");
  std::move(written).or_throw();
  auto appended = co_await io::append_file("/data/logs/today/a.txt", "third\n");
  std::move(appended).or_throw();
  auto file = (co_await io::File::open_read("/data/logs/today/a.txt")).or_throw();
  std::vector<std::string> lines;
  while (true) {
    auto line = co_await file.read_line();
    if (!line) break;
    lines.push_back(*line);
  }
  CHECK(lines == std::vector<std::string>{"first", "second", "third"});
  auto closed = co_await file.close();
  std::move(closed).or_throw();

  auto replaced = co_await io::replace_file("/data/logs/today/a.txt", "new");
  std::move(replaced).or_throw();
  auto linked = co_await io::fs::symlink("today/a.txt", "/data/logs/latest");
  std::move(linked).or_throw();
  auto target = co_await io::fs::read_link("/data/logs/latest");
  CHECK(*target == "today/a.txt");
  auto text = co_await io::read_file("/data/logs/latest");
  CHECK(*text == "new");
  auto status = co_await io::fs::status("/data/logs/latest");
  CHECK(status->size == 3);
  CHECK(status->is_regular());

  auto moved = co_await io::fs::rename("/data/logs/today/a.txt", "/data/logs/today/b.txt");
  std::move(moved).or_throw();
  auto gone = co_await io::read_file("/data/logs/latest");
  CHECK(gone.code() == ENOENT);
  auto entries = (co_await io::fs::read_directory("/data/logs/today")).or_throw();
  REQUIRE(entries.size() == 1);
  CHECK(entries[0].name == "b.txt");
  auto not_empty = co_await io::fs::remove_directory("/data/logs/today");
  CHECK(not_empty.code() == ENOTEMPTY);
  auto removed = co_await io::fs::remove_file("/data/logs/today/b.txt");
  std::move(removed).or_throw();
  auto not_there = co_await io::fs::remove_file("/data/logs/today/b.txt");
  CHECK(not_there.code() == ENOENT);
  co_return 0;
}

}  // namespace

TEST_CASE("files and folders behave as on a disk, whatever a read or write may move at once") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    World world(seed);
    Faults faults;
    faults.short_transfer = seed % 2 == 0 ? 300 : 0;
    world.faults(faults).process("writer", use_files);
    const Report report = world.run_for(1min);
    CHECK_MESSAGE(report.passed, report.to_string());
  }
}

namespace {

constexpr std::size_t kBytes = 40'000;

// Writes versions of one file for ever: each is all of one letter.
Task<int> write_versions(bool replace) {
  for (char letter = 'a';; letter = letter == 'z' ? 'a' : static_cast<char>(letter + 1)) {
    const std::string text(kBytes, letter);
    auto writing = replace ? io::replace_file("/state", text) : io::write_file("/state", text);
    auto written = co_await writing;
    if (!written) co_return 0;
    co_await horus::sleep(10ms);
  }
}

// What is on the disk after a power cut at a time that the seed chooses.
std::optional<std::string> after_power_cut(std::uint64_t seed, bool replace) {
  World world(seed);
  world.process("writer", [replace] { return write_versions(replace); }, "10.0.0.1");
  const horus::Duration when = world.random().between(200ms, 2s);
  world.at(when).cut_power("writer");
  const Report report = world.run_for(3s);
  CHECK_MESSAGE(report.passed, report.to_string());
  return world.file("writer", "/state");
}

bool is_one_version(const std::string& text) {
  return text.size() == kBytes && text.find_first_not_of(text.front()) == std::string::npos;
}

}  // namespace

TEST_CASE("a file that is replaced survives a power cut whole; one that is written over may be torn") {
  int torn = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const auto replaced = after_power_cut(seed, true);
    REQUIRE(replaced);
    CHECK(is_one_version(*replaced));
    const auto written = after_power_cut(seed, false);
    if (!written || !is_one_version(*written)) ++torn;
  }
  CHECK(torn > 50);
}

TEST_CASE("a disk that fails and fills up is told, and what is put there is found") {
  World world(1);
  int read_errors = 0;
  int full = 0;
  Faults faults;
  faults.disk_error = 100;
  faults.disk_full = 100;
  world.faults(faults);
  world.process("user", [&]() -> Task<int> {
    return [](int& errors, int& no_space) -> Task<int> {
      for (int i = 0; i < 300; ++i) {
        auto text = co_await io::read_file("/etc/config");
        if (text) {
          CHECK(*text == "rate = 100\n");
        } else {
          CHECK(text.code() == EIO);
          CHECK(text.error().message().find("/etc/config") != std::string::npos);
          ++errors;
        }
        auto written = co_await io::write_file("/tmp/out", "x");
        if (written.code() == ENOSPC) ++no_space;
      }
      co_return 0;
    }(read_errors, full);
  });
  world.file("user", "/etc/config", "rate = 100\n");
  const Report report = world.run_for(1min);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(read_errors > 10);
  CHECK(full > 10);
}
