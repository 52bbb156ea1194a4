// SPDX-License-Identifier: Apache-2.0
// Programs that are recorded exactly, and replayed without the kernel and without their peers.
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/bag/reader.hpp>
#include <horus/base/crc32c.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/format.hpp>

#include "../support/temporary_directory.hpp"

namespace {

using Environment = std::map<std::string, std::string>;

std::string contents_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void write_contents(const std::string& path, const std::string& contents) {
  std::ofstream(path, std::ios::binary) << contents;
}

constexpr std::size_t kPreface = horus::io::replay::kPreface;

std::string with_right_sum(std::string file) {
  horus::io::replay::Preface preface{};
  std::memcpy(&preface, file.data(), sizeof preface);
  const auto events = std::as_bytes(std::span(file)).subspan(kPreface);
  preface.extents[preface.current].sum = horus::crc32c(events);
  std::memcpy(file.data(), &preface, sizeof preface);
  return file;
}

struct Ended {
  int code = -1;    // exit code
  int signal = 0;   // or this
  std::string out;  // what the program said
  std::string log;  // what the library said
};

// The numbers that were sent on "stamps", as a recording of topics has them.
std::vector<std::string> messages_of(const std::string& path) {
  return horus::io::run([](std::string from) -> horus::Task<std::vector<std::string>> {
    std::vector<std::string> all;
    auto opening = horus::bag::Reader::open(std::move(from));
    auto reader = (co_await opening).or_throw();
    while (true) {
      auto reading = reader.next();
      const auto message = co_await reading;
      if (!message) break;
      if (reader.contents().channels.at(message->channel).topic != "stamps") continue;
      std::int64_t number = 0;
      if (message->data.size() >= sizeof number)
        std::memcpy(&number, message->data.data() + message->data.size() - sizeof number, sizeof number);
      all.push_back(std::to_string(number));
    }
    co_return all;
  }(path));
}

class Runs {
 public:
  Ended run(const std::vector<std::string>& arguments, const Environment& more) {
    const std::string out = folder_ / "out";
    const std::string err = folder_ / "err";
    std::fflush(nullptr);
    const pid_t pid = ::fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
      ::alarm(50);
      for (const auto& [name, value] : more) ::setenv(name.c_str(), value.c_str(), 1);
      static_cast<void>(std::freopen(out.c_str(), "w", stdout));
      static_cast<void>(std::freopen(err.c_str(), "w", stderr));
      std::vector<char*> pointers;
      std::string program = std::getenv("HORUS_EXACT_PROGRAM");
      pointers.push_back(program.data());
      std::vector<std::string> copies = arguments;
      for (std::string& argument : copies) pointers.push_back(argument.data());
      pointers.push_back(nullptr);
      ::execv(program.c_str(), pointers.data());
      ::_exit(127);
    }
    int status = 0;
    REQUIRE(::waitpid(pid, &status, 0) == pid);
    Ended ended;
    if (WIFEXITED(status)) ended.code = WEXITSTATUS(status);
    if (WIFSIGNALED(status)) ended.signal = WTERMSIG(status);
    ended.out = contents_of(out);
    ended.log = contents_of(err);
    return ended;
  }
  Ended record(const std::vector<std::string>& arguments, Environment more = {}) {
    std::filesystem::remove(seam());
    more["HORUS_RECORD_SEAM"] = seam();
    return run(arguments, more);
  }
  Ended replay(const std::vector<std::string>& arguments, Environment more = {}) {
    more["HORUS_REPLAY_SEAM"] = seam();
    return run(arguments, more);
  }
  // Both; the second has to say what the first one said.
  void check(const std::vector<std::string>& arguments) {
    const Ended first = record(arguments);
    INFO(first.log);
    REQUIRE(first.code == 0);
    REQUIRE_FALSE(first.out.empty());
    for (int i = 0; i < 3; ++i) check_replay(arguments, first);
  }
  void check_replay(const std::vector<std::string>& arguments, const Ended& first) {
    const Ended again = replay(arguments);
    INFO(again.log);
    CHECK(again.code == 0);
    CHECK(again.out == first.out);
    CHECK(again.log.find("equal to its recording") != std::string::npos);
  }
  [[nodiscard]] std::string seam() const { return folder_ / "run.seam"; }
  [[nodiscard]] const TemporaryDirectory& folder() const { return folder_; }

 private:
  TemporaryDirectory folder_;
};

// Sends lines to whoever connects, at its own times.
class Talker {
 public:
  explicit Talker(bool slow) : slow_(slow) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    REQUIRE(::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(::listen(listener_, 4) == 0);
    socklen_t size = sizeof address;
    REQUIRE(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { talk(); });
  }
  Talker(const Talker&) = delete;
  Talker& operator=(const Talker&) = delete;
  ~Talker() {
    thread_.join();
    ::close(listener_);
  }
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  void talk() {
    const int peer = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    std::mt19937 random(std::random_device{}());
    for (int i = 0; i < 30; ++i) {
      const std::string line = std::to_string(random()) + "\n";
      static_cast<void>(::send(peer, line.data(), line.size(), MSG_NOSIGNAL));
      if (slow_ && random() % 4 == 0) ::usleep(random() % 12'000);
    }
    static_cast<void>(::send(peer, "end\n", 4, MSG_NOSIGNAL));
    ::close(peer);
  }

  const bool slow_;
  int listener_ = -1;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace

TEST_CASE("a client of a peer with a will of its own replays without the peer, times included") {
  Runs runs;
  std::string address;
  Ended first;
  {
    const Talker talker(true);
    address = talker.address();
    first = runs.record({"lines", address});
  }
  INFO(first.log);
  REQUIRE(first.code == 0);
  for (int i = 0; i < 3; ++i) runs.check_replay({"lines", address}, first);
}

TEST_CASE("bytes that came in buffers of the kernel's choice are there again") {
  Runs runs;
  std::string address;
  Ended first;
  {
    const Talker talker(false);
    address = talker.address();
    first = runs.record({"chunks", address});
  }
  REQUIRE(first.code == 0);
  runs.check_replay({"chunks", address}, first);
}

TEST_CASE("files are read as they were then, and nothing is written") {
  Runs runs;
  const std::string folder = runs.folder() / "files";
  std::filesystem::create_directory(folder);
  const Ended first = runs.record({"files", folder});
  INFO(first.log);
  REQUIRE(first.code == 0);
  std::filesystem::remove_all(folder);
  runs.check_replay({"files", folder}, first);
  CHECK_FALSE(std::filesystem::exists(folder));
}

TEST_CASE("children, their output and signals replay without a child") { Runs().check({"children"}); }

TEST_CASE("what offloaded functions gave is given again") { Runs().check({"offloads"}); }

TEST_CASE("posts of another thread run where they ran") { Runs().check({"posts"}); }

TEST_CASE("datagrams come again, with their senders") { Runs().check({"datagrams"}); }

TEST_CASE("nodes tick at the times at which they ticked, and their messages arrive as they did") {
  Runs().check({"nodes"});
}

TEST_CASE("topics can be recorded at a replay, the same each time, although the recorded run did not") {
  Runs runs;
  const Ended first = runs.record({"nodes"});
  REQUIRE(first.code == 0);
  std::vector<std::vector<std::string>> recorded;
  for (const char* name : {"one", "two"}) {
    const Ended again =
        runs.replay({"nodes"}, {{"HORUS_RECORD", runs.folder() / (name + std::string(".mcap"))}});
    INFO(again.log);
    CHECK(again.out == first.out);
    recorded.push_back(messages_of(runs.folder() / (name + std::string(".replay.mcap"))));
  }
  CHECK(recorded[0] == recorded[1]);
  // The program prints each message that it gets.
  std::size_t found = 0;
  for (const std::string& message : recorded[0])
    found += first.out.find(message) != std::string::npos ? 1 : 0;
  CHECK(found >= 40);
  CHECK(found + 1 >= recorded[0].size());  // the last one may have had no taker
}

TEST_CASE("the recording of a program that was killed leads to the moment of its end") {
  Runs runs;
  const Ended killed = runs.record({"crashes"});
  CHECK(killed.signal == SIGKILL);
  const Ended again = runs.replay({"crashes"});
  CHECK((again.code == 74 || again.signal == SIGKILL));
  CHECK(again.out == killed.out);
  const Ended aborted = runs.record({"crashes", "abort"});
  CHECK(aborted.signal == SIGABRT);
  const Ended aborts = runs.replay({"crashes", "abort"});
  CHECK(aborts.signal == SIGABRT);
  CHECK(aborts.out == aborted.out);
}

TEST_CASE("a program that does something else is stopped where it does, and told what") {
  Runs runs;
  REQUIRE(runs.record({"differs"}).code == 0);
  const Ended other = runs.replay({"differs"}, {{"DIFFERENT", "1"}});
  CHECK(other.code == 73);
  CHECK(other.log.find("differs from its recording") != std::string::npos);
  CHECK(other.log.find("exact_program.cpp") != std::string::npos);  // the line of its last await
  const Ended foreign = runs.replay({"files", "/nowhere"});
  CHECK(foreign.code == 73);
  CHECK(foreign.log.find("was started as") != std::string::npos);
}

TEST_CASE("a damaged recording is refused, wherever the damage is") {
  Runs runs;
  REQUIRE(runs.record({"datagrams"}).code == 0);
  const std::string whole = contents_of(runs.seam());
  std::mt19937 random(7);
  for (int i = 0; i < 30; ++i) {
    std::string damaged = whole;
    const std::size_t at = kPreface + random() % (whole.size() - kPreface);
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << random() % 8));
    write_contents(runs.seam(), damaged);
    const Ended again = runs.replay({"datagrams"});
    CAPTURE(at);
    CHECK(again.code == 1);
    CHECK(again.log.find("damaged") != std::string::npos);
    CHECK(again.out.empty());
  }
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{100}, kPreface, kPreface + 50, whole.size() - 1}) {
    write_contents(runs.seam(), whole.substr(0, size));
    const Ended again = runs.replay({"datagrams"});
    CAPTURE(size);
    CHECK(again.code == 1);
    CHECK(again.log.find(runs.seam()) != std::string::npos);
  }
}

TEST_CASE("a forged recording leads nowhere, and never into a crash") {
  Runs runs;
  REQUIRE(runs.record({"datagrams"}).code == 0);
  const std::string whole = contents_of(runs.seam());
  std::mt19937 random(11);
  for (int i = 0; i < 60; ++i) {
    std::string forged = whole;
    for (unsigned changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = kPreface + random() % (whole.size() - kPreface);
      forged[at] = static_cast<char>(random());
    }
    write_contents(runs.seam(), with_right_sum(forged));
    const Ended again = runs.replay({"datagrams"});
    CAPTURE(i);
    INFO(again.log);
    CHECK(again.signal == 0);
    CHECK((again.code == 0 || again.code == 1 || again.code == 73 || again.code == 74));
  }
}

TEST_CASE("wishes that cannot be met say so before anything runs") {
  Runs runs;
  const Ended missing = runs.replay({"datagrams"});
  CHECK(missing.code == 1);
  CHECK(missing.log.find("no such file") != std::string::npos);
  REQUIRE(runs.record({"datagrams"}).code == 0);
  const Ended twice = runs.run({"datagrams"}, {{"HORUS_RECORD_SEAM", runs.seam()}});
  CHECK(twice.code == 1);
  CHECK(twice.log.find("another name") != std::string::npos);
  const Ended both = runs.run(
      {"datagrams"}, {{"HORUS_RECORD_SEAM", runs.folder() / "b"}, {"HORUS_REPLAY_SEAM", runs.seam()}});
  CHECK(both.code == 1);
  CHECK(both.log.find("either recorded or replayed") != std::string::npos);
  const Ended small =
      runs.run({"datagrams"}, {{"HORUS_RECORD_SEAM", runs.folder() / "c"}, {"HORUS_RECORD_SEAM_MB", "0"}});
  CHECK(small.code == 1);
  CHECK(small.log.find("HORUS_RECORD_SEAM_MB") != std::string::npos);
  CHECK(small.out.empty());
  write_contents(runs.seam(), std::string(8192, 'x'));
  const Ended foreign = runs.replay({"datagrams"});
  CHECK(foreign.code == 1);
  CHECK(foreign.log.find("no exact recording") != std::string::npos);
}

TEST_CASE("a recording ends at its largest size, the program goes on, and a replay comes as far") {
  Runs runs;
  const Ended full = runs.record({"busy"}, {{"HORUS_RECORD_SEAM_MB", "1"}});
  CHECK(full.code == 0);
  CHECK(full.out == "done\n");
  CHECK(full.log.find("largest size") != std::string::npos);
  CHECK(std::filesystem::file_size(runs.seam()) <= (1U << 20));
  const Ended again = runs.replay({"busy"});
  CHECK(again.code == 74);
  CHECK(again.log.find("no more room") != std::string::npos);
}
