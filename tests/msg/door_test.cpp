// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/door.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/config/document.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/door/doorstep.hpp>
#include <horus/msg/door/frames.hpp>
#include <horus/msg/door/talk.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/inspect.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/sim/alone.hpp>

#include "../support/captured_log.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;
using horus::inspect::Client;
using horus::inspect::ClientOptions;
using horus::inspect::Message;
using horus::msg::door::Answer;
using horus::msg::door::Door;
using horus::msg::door::DoorLimits;
using horus::msg::door::FrameBytes;
using horus::msg::door::FrameReader;

struct Reading {
  std::int64_t number = 0;
};
struct Scan {
  std::int64_t number = 0;
  using Tail = std::uint8_t;
};

// A directory of hubs that nobody else uses.
class Place {
 public:
  Place() {
    char name[] = "/tmp/horus-door-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    path_ = name;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { std::filesystem::remove_all(path_); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string folder() const { return horus::msg::door::folder_in(path_); }
  [[nodiscard]] ClientOptions options() const { return {.timeout = 10s, .directory = path_}; }
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> names;
    if (!std::filesystem::exists(folder())) return names;
    for (const auto& entry : std::filesystem::directory_iterator(folder()))
      names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

 private:
  std::string path_;
};

// A visitor that says what it likes, and reads when it likes.
class Stranger {
 public:
  explicit Stranger(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    REQUIRE(::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  Stranger(const Stranger&) = delete;
  Stranger& operator=(const Stranger&) = delete;
  ~Stranger() { ::close(fd_); }

  void write(const void* bytes, std::size_t size) const {
    REQUIRE(::send(fd_, bytes, size, MSG_NOSIGNAL) == static_cast<ssize_t>(size));
  }
  void write(std::string_view bytes) const { write(bytes.data(), bytes.size()); }
  void say(std::string_view text) const {
    std::vector<std::byte> frame;
    horus::msg::door::append_text(frame, text);
    write(frame.data(), frame.size());
  }
  void hello() { say(R"({"id": 1, "request": "hello", "lowest": 1, "highest": 1})"); }
  // The next thing that the door says; nothing when it has closed. Messages are counted.
  std::optional<Answer> hear() {
    while (true) {
      auto frame = in_.next().or_throw();
      if (frame && frame->kind == horus::msg::door::FrameKind::text)
        return horus::msg::door::read_answer(frame->payload).or_throw();
      if (frame) {
        const auto data = horus::msg::door::read_data(frame->payload).or_throw();
        if (messages > 0) ordered = ordered && data.head.sequence > last_sequence;
        last_sequence = data.head.sequence;
        ++messages;
        continue;
      }
      pollfd readable{fd_, POLLIN, 0};
      REQUIRE(::poll(&readable, 1, 20'000) == 1);
      std::byte piece[4096];
      const ssize_t bytes = ::recv(fd_, piece, sizeof piece, 0);
      if (bytes <= 0) return std::nullopt;
      in_.append(FrameBytes(piece).first(static_cast<std::size_t>(bytes)));
    }
  }
  std::optional<Answer> answer_to(std::uint64_t id) {
    while (auto answer = hear()) {
      if (answer->id == id) return answer;
    }
    return std::nullopt;
  }
  // Why the door closes.
  std::string farewell() {
    std::string why;
    while (auto answer = hear()) {
      if (answer->event == "closing") why = answer->error;
    }
    return why;
  }
  [[nodiscard]] int fd() const { return fd_; }

  std::uint64_t messages = 0;
  std::uint64_t last_sequence = 0;
  bool ordered = true;

 private:
  int fd_;
  FrameReader in_{horus::msg::door::kDataHead + horus::msg::door::kLongestMessage};
};

// Nothing that a busy machine would exceed.
DoorLimits patient() {
  DoorLimits limits;
  limits.hello_limit = limits.frame_limit = 60s;
  return limits;
}

std::unique_ptr<Door> open_door(const Place& place, const std::string& name = "rover",
                                const DoorLimits& limits = patient()) {
  return Door::open(place.path(), name, limits).or_throw();
}

Client visit(const Door& door, const Place& place) {
  return Client::connect_to(door.path(), place.options()).or_throw();
}

// Runs `body` in a child process that has a door, and gives its exit code.
int in_child(const Place& place, const std::function<int()>& body) {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    ::setenv("HORUS_INSPECT", "1", 1);
    ::setenv("HORUS_RUNTIME_DIR", place.path().c_str(), 1);
    int code = 99;
    try {
      code = body();
    } catch (const std::exception& error) {
      fmt::print(stderr, "child: {}\n", error.what());
    }
    std::fflush(stderr);
    ::_exit(code);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

std::size_t threads_named(std::string_view name) {
  std::size_t count = 0;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::FILE* file = std::fopen((task.path() / "comm").c_str(), "r");
    if (file == nullptr) continue;
    char text[32] = {};
    if (std::fgets(text, sizeof text, file) != nullptr && std::string_view(text).starts_with(name)) ++count;
    std::fclose(file);
  }
  return count;
}

// A thread names itself, and ends by itself.
void await_threads(std::size_t count) {
  while (threads_named("horus-inspect") != count) ::sched_yield();
}

std::int64_t number_in(std::span<const std::byte> bytes) {
  std::int64_t number = 0;
  REQUIRE(bytes.size() >= sizeof number);
  std::memcpy(&number, bytes.data(), sizeof number);
  return number;
}

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_SUITE("msg/door") {
  TEST_CASE("a visitor sees who the program is and what it publishes, while its loop is blocked") {
    const Place place;
    const auto door = open_door(place);
    horus::io::run([&]() -> Task<> {
      Hub hub("front");
      auto imu = hub.advertise<Reading>("imu");
      auto scan = hub.advertise<Scan>("scan");
      auto in = hub.subscribe<Reading>("imu");
      for (int i = 0; i < 3; ++i) imu.send({.number = i});
      // From here to the end the loop does not turn: these calls block its thread.
      Client client = visit(*door, place);
      const auto process = client.process().or_throw();
      CHECK(process.pid == ::getpid());
      CHECK(process.name == "rover");
      CHECK(process.uptime > 0s);
      CHECK(process.uptime < 1h);
      REQUIRE_FALSE(process.command_line.empty());
      CHECK(contains(process.command_line.front(), "door_test"));
      CHECK(process.socket == door->path());
      const auto topics = client.topics().or_throw();
      REQUIRE(topics.size() == 2);
      CHECK(topics[0].name == "imu");
      CHECK(topics[0].hub == "front");
      CHECK(topics[0].layout_hash == horus::layout_of<Reading>().hash);
      CHECK(topics[0].layout == horus::layout_of<Reading>().describe());
      CHECK(topics[0].published == 3);
      CHECK(topics[0].bytes == 3 * sizeof(Reading));
      CHECK(topics[0].subscribers == 1);
      CHECK(topics[1].name == "scan");
      CHECK(topics[1].published == 0);
      CHECK(topics[1].subscribers == 0);
      CHECK(topics[1].publisher > topics[0].publisher);
      co_return;
    });
  }

  TEST_CASE("tapped messages arrive as they were sent, in order, until the publisher goes") {
    const Place place;
    const auto door = open_door(place);
    horus::io::run([&]() -> Task<> {
      Hub hub("front");
      auto imu = hub.advertise<Reading>("imu");
      auto scan = hub.advertise<Scan>("scan");
      Client client = visit(*door, place);
      const auto imu_tap = client.tap("imu").or_throw();
      const auto scan_tap = client.tap("scan").or_throw();
      CHECK(imu_tap.topic.name == "imu");
      CHECK(imu_tap.number != scan_tap.number);
      const std::int64_t before = horus::monotonic_ns();
      const std::vector<std::uint8_t> tail(100'000, 7);
      for (int i = 0; i < 500; ++i) imu.send({.number = i});
      scan.send({.number = 5}, tail);
      for (int i = 500; i < 1000; ++i) imu.send({.number = i});
      imu.reset();
      std::int64_t next = 0;
      bool scanned = false;
      bool ended = false;
      while (!ended || !scanned) {
        const auto message = client.next(10s).or_throw();
        REQUIRE(message.has_value());
        if (message->subscription == scan_tap.number) {
          CHECK(message->bytes.size() == horus::layout_of<Scan>().tail_offset + tail.size());
          CHECK(number_in(message->bytes) == 5);
          scanned = true;
        } else if (message->ended) {
          ended = true;
        } else {
          CHECK(message->sequence == static_cast<std::uint64_t>(next));
          CHECK(number_in(message->bytes) == next++);
          CHECK(message->published_ns > before - 1'000'000'000);
          CHECK(message->published_ns <= horus::monotonic_ns());
        }
      }
      CHECK(next == 1000);
      CHECK(client.missed(imu_tap.number) == 0);
      const auto missed = client.untap(scan_tap.number);
      REQUIRE(missed);
      CHECK(*missed == 0);
      CHECK_FALSE(client.untap(imu_tap.number));
      co_return;
    });
  }

  TEST_CASE("a visitor that does not read costs a publisher nothing, and other visitors nothing") {
    const Place place;
    DoorLimits limits = patient();
    limits.max_unsent = 64 * 1024;
    const auto door = open_door(place, "rover", limits);
    horus::io::run([&]() -> Task<> {
      Hub hub("front");
      auto scan = hub.advertise<Scan>("scan", horus::AdvertiseOptions().with_max_bytes(4096));
      Stranger frozen(door->path());
      frozen.hello();
      frozen.say(R"({"id": 2, "request": "tap", "topic": "scan", "max_bytes": 16384})");
      REQUIRE(frozen.answer_to(2).has_value());
      const std::vector<std::uint8_t> tail(4000, 7);
      // It reads nothing meanwhile; the door has time to fill what it may fill.
      for (int i = 0; i < 400; ++i) {
        for (int k = 0; k < 10; ++k) {
          REQUIRE(scan.has_room());
          REQUIRE(scan.send({.number = i * 10 + k}, tail));
        }
        co_await horus::sleep(1ms);
      }
      const auto metrics = scan.metrics();
      CHECK(metrics.published == 4000);
      CHECK(metrics.subscribers == 0);
      CHECK(metrics.sent == 0);
      CHECK(metrics.dropped == 0);
      CHECK(metrics.send_failures == 0);
      Client other = visit(*door, place);
      CHECK(other.topics().or_throw().front().published == 4000);
      // Whatever was kept for it comes in order, and the rest is counted.
      frozen.say(R"({"id": 3, "request": "untap", "subscription": 1})");
      const auto over = frozen.answer_to(3);
      REQUIRE(over.has_value());
      CHECK(frozen.messages > 0);
      CHECK(frozen.ordered);
      CHECK(over->missed.value_or(0) > 3000);
      CHECK(over->missed.value_or(0) + frozen.messages == 4000);
    });
  }

  TEST_CASE("a wrong request is told what is wrong, and what was probably meant") {
    const Place place;
    const auto door = open_door(place);
    horus::io::run([&]() -> Task<> {
      Hub front("front");
      Hub rear("rear");
      auto imu = front.advertise<Reading>("imu");
      auto one = front.advertise<Reading>("lamp");
      auto two = rear.advertise<Reading>("lamp");
      Client client = visit(*door, place);
      CHECK(contains(client.tap("imo").error().message(), "did you mean imu?"));
      CHECK(contains(client.tap("lamp").error().message(), "name one by its number"));
      CHECK(contains(client.tap(std::uint64_t{1'000'000'000}).error().message(),
                     "there is no publisher 1000000000"));
      CHECK(
          contains(client.tap("imu", 7).error().message(), "max_bytes must be a whole number from 1024 to"));
      CHECK(client.tap(client.topics().or_throw().back().publisher).or_throw().topic.hub == "rear");

      Stranger stranger(door->path());
      stranger.hello();
      const auto told = [&](std::uint64_t id, std::string_view text) {
        stranger.say(text);
        const auto answer = stranger.answer_to(id);
        return answer ? answer->error : "closed";
      };
      CHECK(
          contains(told(2, R"({"id": 2, "request": "topcs"})"), R"(did you mean "topics"? known: hello, )"));
      CHECK(contains(told(3, R"({"id": 3})"), R"(there is no "request")"));
      CHECK(contains(told(0, R"({"request": "topics"})"), "id must be a number above 0"));
      CHECK(contains(told(4, R"({"id": 4, "request": "tap"})"), R"(tap needs a "topic")"));
      CHECK(contains(told(5, R"({"id": 5, "request": "tap", "topic": 5})"), "topic must be a text"));
      CHECK(contains(told(6, R"({"id": 6, "request": "tap", "topic": "lamp", "hub": "rear"})"), ""));
      CHECK(told(7, R"({"id": 7, "request": "topics"})").empty());  // it is still welcome
      co_return;
    });
  }

  TEST_CASE("what is no request closes the door for its sender, who is told why") {
    const Place place;
    const auto door = open_door(place);
    const auto farewell_at = [](const Door& at, std::string_view bytes, bool greets) {
      Stranger stranger(at.path());
      if (greets) stranger.hello();
      if (!bytes.empty()) stranger.write(bytes);
      return stranger.farewell();
    };
    const auto farewell = [&](std::string_view bytes, bool greets) {
      return farewell_at(*door, bytes, greets);
    };
    using namespace std::string_literals;
    const auto framed = [](std::string_view text) {
      std::vector<std::byte> frame;
      horus::msg::door::append_text(frame, text);
      return std::string(reinterpret_cast<const char*>(frame.data()), frame.size());
    };
    CHECK(contains(farewell("GET / HTTP/1.1\r\n\r\n", true), "at most 1048576 are allowed"));
    CHECK(contains(farewell(framed("not json"), true), "it is not JSON"));
    CHECK(contains(farewell(framed("[1, 2]"), true), "it is not a JSON object"));
    CHECK(contains(farewell(framed("{\"a\": " + std::string(40, '[') + std::string(40, ']') + "}"), true),
                   "more than 32 deep"));
    CHECK(contains(farewell(framed(R"({"id": 1, "request": "topics"})"), false), "say hello first"));
    CHECK(contains(farewell(framed(R"({"id": 1, "request": "hello", "lowest": 7, "highest": 9})"), false),
                   "speaks versions 1 to 1"));
    DoorLimits short_frames = patient();
    short_frames.frame_limit = 50ms;
    const auto brisk = open_door(place, "brisk", short_frames);
    CHECK(contains(farewell_at(*brisk, "\x10\0\0\0\1{\"id\""s, true), "did not come to its end in time"));
    DoorLimits short_hello = patient();
    short_hello.hello_limit = 50ms;
    const auto shy = open_door(place, "shy", short_hello);
    CHECK(contains(farewell_at(*shy, "", false), "did not say hello in time"));
    // A kind of a later version is no offence.
    Stranger modern(door->path());
    modern.hello();
    modern.write("\x03\0\0\0\x77xyz"s);
    modern.say(R"({"id": 2, "request": "process"})");
    CHECK(modern.answer_to(2).has_value());
  }

  TEST_CASE("a visitor that asks without reading the answers waits, and loses none") {
    const Place place;
    const auto door = open_door(place);
    Stranger hasty(door->path());
    hasty.hello();
    constexpr std::uint64_t kQuestions = 20'000;
    std::uint64_t asked = 1;
    std::uint64_t answered = 1;
    bool refused = false;
    while (asked < kQuestions) {
      std::vector<std::byte> frame;
      horus::msg::door::append_text(frame, fmt::format(R"({{"id": {}, "request": "process"}})", asked + 1));
      if (::send(hasty.fd(), frame.data(), frame.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
        ++asked;
        continue;
      }
      REQUIRE(errno == EAGAIN);
      refused = true;
      break;
    }
    CHECK(refused);  // the door stopped reading, before it had piled up more than its share
    while (answered < asked) {
      const auto answer = hasty.hear();
      REQUIRE(answer.has_value());
      if (answer->id == 0 || answer->id == 1) continue;
      CHECK(answer->id == ++answered);
    }
  }

  TEST_CASE("visitors and their taps have a limit, and the next one is told") {
    const Place place;
    const auto door = open_door(place);
    horus::io::run([&]() -> Task<> {
      Hub hub("front");
      auto imu = hub.advertise<Reading>("imu");
      std::vector<Client> visitors;
      for (int i = 0; i < 16; ++i) visitors.push_back(visit(*door, place));
      const auto late = Client::connect_to(door->path(), place.options());
      REQUIRE_FALSE(late);
      CHECK(contains(late.error().message(), "16 visitors are here already"));
      for (int i = 0; i < 16; ++i) CHECK(visitors.front().tap("imu"));
      CHECK(contains(visitors.front().tap("imu").error().message(), "16 taps at a time"));
      visitors.pop_back();
      auto again = Client::connect_to(door->path(), place.options());
      while (!again)
        again = Client::connect_to(door->path(), place.options());  // its end has to be seen first
      CHECK(again->topics());
      co_return;
    });
  }

  TEST_CASE("a program is found by its number and by its name; two of one name are told apart") {
    const Place place;
    const auto rover = open_door(place, "rover");
    const auto other = open_door(place, "drone");
    CHECK(place.files() == std::vector<std::string>{fmt::format("{}-drone.sock", ::getpid()),
                                                    fmt::format("{}-rover.sock", ::getpid())});
    CHECK(Client::connect("rover", place.options()).or_throw().process().or_throw().name == "rover");
    CHECK(Client::connect(::getpid(), place.options()));
    const auto unknown = Client::connect("rovr", place.options());
    REQUIRE_FALSE(unknown);
    CHECK(unknown.code() == ENOENT);
    CHECK(contains(unknown.error().message(), "did you mean rover?"));
    CHECK(Client::connect(pid_t{1}, place.options()).code() == ENOENT);
    const auto twin = open_door(place, "rover");
    CHECK(twin->path() != rover->path());
    CHECK(Client::processes(place.options()).or_throw().size() == 3);
    const auto both = Client::connect("rover", place.options());
    REQUIRE_FALSE(both);
    CHECK(both.code() == ENOTUNIQ);
    CHECK(contains(both.error().message(), "say which one by its pid"));
    CHECK(visit(*rover, place).process().or_throw().socket == rover->path());
    CHECK(visit(*twin, place).process().or_throw().socket == twin->path());
  }

  TEST_CASE("sockets of dead processes are swept, those of living ones and other files are not") {
    const Place place;
    const auto door = open_door(place);
    const pid_t dead = ::fork();
    if (dead == 0) ::_exit(0);
    ::waitpid(dead, nullptr, 0);
    const auto leave = [&](const std::string& name, bool listens) {
      const std::string path = place.folder() + "/" + name;
      const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un address{};
      address.sun_family = AF_UNIX;
      std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
      REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
      if (listens) {
        ::listen(fd, 1);
        return fd;
      }
      ::close(fd);
      return -1;
    };
    leave(fmt::format("{}-gone.sock", dead), false);
    leave(fmt::format("{}-before-exec.sock", ::getpid()), false);
    leave(fmt::format("{}-parent.sock", ::getppid()), false);  // it may be about to listen
    leave("something.sock", false);
    const int elsewhere = leave(fmt::format("{}-elsewhere.sock", dead), true);  // of another PID namespace
    horus::msg::door::sweep(place.folder());
    const std::vector<std::string> left = place.files();
    const auto there = [&](const std::string& name) {
      return std::count(left.begin(), left.end(), name) == 1;
    };
    CHECK(left.size() == 4);
    CHECK(there(fmt::format("{}-elsewhere.sock", dead)));
    CHECK(there(fmt::format("{}-parent.sock", ::getppid())));
    CHECK(there(fmt::format("{}-rover.sock", ::getpid())));
    CHECK(there("something.sock"));
    ::close(elsewhere);
  }

  TEST_CASE("another process is found, and its messages are read along") {
    const Place place;
    int born[2];
    REQUIRE(::pipe(born) == 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv("HORUS_INSPECT", "1", 1);
      ::setenv("HORUS_RUNTIME_DIR", place.path().c_str(), 1);
      horus::io::run([&]() -> Task<> {
        Hub hub("front");
        auto imu = hub.advertise<Reading>("imu");
        if (::write(born[1], "x", 1) != 1) ::_exit(1);
        for (std::int64_t i = 0;; ++i) {
          imu.send({.number = i});
          co_await horus::sleep(1ms);
        }
      });
    }
    char byte = 0;
    REQUIRE(::read(born[0], &byte, 1) == 1);
    auto found = Client::processes(place.options()).or_throw();
    REQUIRE(found.size() == 1);
    CHECK(found.front().pid == child);
    Client client = Client::connect(child, place.options()).or_throw();
    const auto tap = client.tap("imu").or_throw();
    std::int64_t last = -1;
    for (int i = 0; i < 20; ++i) {
      const auto message = client.next(10s).or_throw();
      REQUIRE(message.has_value());
      CHECK(message->subscription == tap.number);
      if (i > 0) CHECK(number_in(message->bytes) == last + 1);
      last = number_in(message->bytes);
    }
    // Stopped, it does not answer, and that is said; killed, it has ended.
    ::kill(child, SIGSTOP);
    int status = 0;
    REQUIRE(::waitpid(child, &status, WUNTRACED) == child);
    ClientOptions impatient = place.options();
    impatient.timeout = 50ms;
    const auto stopped = Client::connect(child, impatient);
    CHECK(stopped.code() == ETIMEDOUT);
    CHECK(Client::processes(impatient).or_throw().empty());
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    horus::Result<std::optional<Message>> end = client.next(10s);
    while (end && *end) end = client.next(10s);
    CHECK(end.code() == EPIPE);
    CHECK(place.files().size() == 1);  // nobody has swept yet
    CHECK(Client::processes(place.options()).or_throw().empty());
    const auto next = open_door(place);
    while (place.files().size() != 1) ::sched_yield();
    CHECK(place.files().front() == fmt::format("{}-rover.sock", ::getpid()));
    ::close(born[0]);
    ::close(born[1]);
  }

  TEST_CASE("the first hub or scheduler of a process opens its door, and the end of the process removes it") {
    const Place place;
    CHECK(in_child(place, [&] {
            if (threads_named("horus-inspect") != 0) return 1;
            const Hub hub("front");
            await_threads(1);
            if (place.files().size() != 1) return 2;
            const Hub second("rear");
            const horus::Scheduler scheduler;
            if (threads_named("horus-inspect") != 1 || place.files().size() != 1) return 3;
            std::exit(0);
          }) == 0);
    CHECK(place.files().empty());
    CHECK(in_child(place, [&] {
            const horus::Scheduler scheduler;
            return place.files().size() == 1 ? 0 : 1;
          }) == 0);
  }

  TEST_CASE("a program that does not want a door has no socket and no thread") {
    const Place place;
    const auto closed = [&] {
      const std::vector<std::string> files = place.files();
      const bool mine = std::any_of(files.begin(), files.end(), [](const std::string& file) {
        return horus::msg::door::pid_in(file) == ::getpid();
      });
      return threads_named("horus-inspect") == 0 && !mine && horus::msg::door::path_of_process().empty();
    };
    CHECK(in_child(place, [&] {
            ::setenv("HORUS_INSPECT", "0", 1);
            const Hub hub("front");
            return closed() ? 0 : 1;
          }) == 0);
    const auto document = [](std::string_view text) {
      return horus::config::Document::parse(text, "x.toml", horus::config::Format::toml).or_throw();
    };
    CHECK(in_child(place, [&] {
            ::unsetenv("HORUS_INSPECT");
            const Hub early("early");
            if (closed()) return 1;
            const auto config =
                horus::SchedulerConfig::from_document(document("[inspect]\nenabled = false\n")).or_throw();
            const horus::Scheduler scheduler(config);
            const Hub late("late");
            await_threads(0);
            return closed() ? 0 : 2;
          }) == 0);
    CHECK(in_child(place, [&] {
            ::unsetenv("HORUS_INSPECT");
            const auto hub = Hub::from_config(
                document("[hub.front]\nmode = \"inproc\"\n[inspect]\nenabled = false\n"), "front");
            return hub && closed() ? 0 : 1;
          }) == 0);
    CHECK(in_child(place, [&] {  // the environment wins
            const auto hub = Hub::from_config(
                document("[hub.front]\nmode = \"inproc\"\n[inspect]\nenabled = false\n"), "front");
            return hub && !closed() ? 0 : 1;
          }) == 0);
    CHECK(in_child(place, [&] {
            horus::io::set_backend_maker(&horus::sim::make_backend_alone);
            bool none = false;
            horus::io::run([&]() -> Task<> {
              const Hub hub("simulated");
              none = closed();
              co_return;
            });
            return none ? 0 : 1;
          }) == 0);
  }

  TEST_CASE("a program that cannot have a door runs without, and says why in one line") {
    const Place place;
    const auto told = [&](const std::function<void()>& prepare, std::string_view why) {
      return in_child(place, [&] {
        const horus::testing::CapturedLog log;
        prepare();
        int sent = 0;
        {
          const Hub hub("front");
          const Hub second("rear");
          const horus::Scheduler scheduler;
          sent = hub.name() == "front" ? 1 : 0;
        }
        if (sent != 1 || threads_named("horus-inspect") != 0) return 1;
        if (log.count("tools cannot look into this program") != 1) return 2;
        return log.has(why) ? 0 : 3;
      });
    };
    CHECK(told([] { ::setenv("HORUS_RUNTIME_DIR", "/proc/nowhere", 1); }, "/proc/nowhere") == 0);
    const std::string deep = place.path() + "/" + std::string(90, 'd');
    CHECK(told([&] { ::setenv("HORUS_RUNTIME_DIR", deep.c_str(), 1); },
               "set HORUS_RUNTIME_DIR to a shorter one") == 0);
  }

  TEST_CASE("without a descriptor for it a program runs without a door") {
    const Place place;
    CHECK(in_child(place, [&] {
            const horus::testing::CapturedLog log;
            const rlimit before = [] {
              rlimit limit{};
              ::getrlimit(RLIMIT_NOFILE, &limit);
              return limit;
            }();
            rlimit none = before;
            none.rlim_cur = 0;
            ::setrlimit(RLIMIT_NOFILE, &none);
            const Hub hub("front");
            ::setrlimit(RLIMIT_NOFILE, &before);
            return log.count("tools cannot look into this program") == 1 && place.files().empty() ? 0 : 1;
          }) == 0);
  }

  TEST_CASE("a child of fork has none of its parent's door, and opens its own") {
    const Place place;
    CHECK(in_child(place, [&] {
            const Hub hub("front");
            const std::string ours = horus::msg::door::path_of_process();
            auto visitor = Client::connect_to(ours, place.options());
            if (!visitor) return 1;
            int done[2];
            if (::pipe(done) != 0) return 2;
            const pid_t child = ::fork();
            if (child == 0) {
              if (!horus::msg::door::path_of_process().empty()) ::_exit(1);
              const Hub again("front");
              const std::string own = horus::msg::door::path_of_process();
              if (own.empty() || own == ours) ::_exit(2);
              const auto self = Client::connect_to(own, place.options());
              if (!self) ::_exit(3);
              if (::write(done[1], "x", 1) != 1) ::_exit(4);
              ::pause();  // until it is killed
            }
            ::close(done[1]);
            char byte = 0;
            if (::read(done[0], &byte, 1) != 1) return 3;
            if (!visitor->topics()) return 4;  // the parent's door is as it was
            // When the parent closes it, its visitor sees the end although the child lives.
            horus::msg::door::permit(false);
            ::unsetenv("HORUS_INSPECT");
            horus::msg::door::permit(false);
            auto end = visitor->next(10s);
            while (end && *end) end = visitor->next(10s);
            const bool seen = end.code() == EPIPE;
            ::kill(child, SIGKILL);
            ::waitpid(child, nullptr, 0);
            return seen ? 0 : 5;
          }) == 0);
  }

  TEST_CASE("forks while visitors are served leave both processes able to work") {
    const Place place;
    const auto door = open_door(place);
    horus::io::run([&]() -> Task<> {
      Hub hub("front");
      auto imu = hub.advertise<Reading>("imu");
      co_return;
    });
    Stranger busy(door->path());
    busy.hello();
    for (int i = 0; i < 50; ++i) {
      for (int k = 0; k < 20; ++k) busy.say(R"({"id": 9, "request": "topics"})");
      CHECK(in_child(place, [] {
              const Hub hub("front");  // would hang, had the door's thread held the list of ports at the fork
              return horus::published_topics().empty() ? 0 : 1;
            }) == 0);
      for (int k = 0; k < 20; ++k) REQUIRE(busy.answer_to(9).has_value());
    }
  }
}
