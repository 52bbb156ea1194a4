// SPDX-License-Identifier: Apache-2.0
// Two machines and the cable between them, which is cut: two network namespaces joined by a veth pair, each with a hub.
// The namespaces have no names and end with this program, whatever ends it. Skipped where the kernel or a container
// permits none.
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/pipe.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/run_process.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/hub.hpp>
#include <horus/task/scope.hpp>

#include "../support/eventually.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Hub;
using horus::Task;
using horus::TcpHubOptions;
using horus::TcpRole;
using horus::testing::eventually;

constexpr auto kIdleLimit = 1s;
constexpr auto kPatience = 20s;  // for what must happen; nothing takes so long
constexpr std::string_view kRoverAddress = "10.77.0.1";
constexpr std::string_view kBaseAddress = "10.77.0.2";

struct Reading {
  std::int64_t number = 0;
  std::int64_t report = 0;  // 1: tell what has come
};

TcpHubOptions quick() { return TcpHubOptions().with_retry(5ms, 20ms).with_idle_limit(kIdleLimit); }

// --- The machines -----------------------------------------------------------------------------------------------------

void write_file(const char* path, std::string_view text) {
  const int file = ::open(path, O_WRONLY | O_CLOEXEC);
  if (file < 0) return;
  if (::write(file, text.data(), text.size()) < 0) std::perror(path);
  ::close(file);
}

// A network of this process' own; where only root may have one, as the root of a user namespace.
bool leave_network() {
  if (::unshare(CLONE_NEWNET) == 0) return true;
  const std::string map = fmt::format("0 {} 1", ::getuid());
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return false;
  write_file("/proc/self/setgroups", "deny");
  write_file("/proc/self/uid_map", map);
  return true;
}

bool shell(const std::string& command) { return std::system(command.c_str()) == 0; }

[[noreturn]] void skip(std::string_view reason) {
  fmt::print(stderr, "skipped: {}\n", reason);
  std::_Exit(77);
}

void say(int to, const std::string& line) {
  if (::write(to, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::_Exit(1);
}

// Lines "met" and "lost", as the publisher comes and goes.
Task<> watch(horus::Subscriber<Reading>& in, int to) {
  bool met = false;
  while (true) {
    if (met != (in.publishers() == 1)) {
      met = !met;
      say(to, met ? "met\n" : "lost\n");
    }
    co_await horus::sleep(1ms);
  }
}

// The other machine's program: says its address, then "met" and "lost", and "report RECEIVED MISSED LAST WRONG" when told.
Task<> base(int to) {
  const auto options = quick().with_role(TcpRole::listen).with_insecure();
  const Hub hub = Hub::tcp(fmt::format("{}:0", kBaseAddress), "base", options).or_throw();
  auto in = hub.subscribe<Reading>("imu");
  say(to, hub.address() + "\n");
  horus::Scope scope("base");
  static_cast<void>(scope.spawn(watch(in, to)));
  std::int64_t received = 0;
  std::int64_t last = -1;
  std::int64_t wrong = 0;  // twice, or out of order
  while (true) {
    auto message = (co_await in.recv()).or_throw();
    ++received;
    if (message->number <= last) ++wrong;
    last = message->number;
    if (message->report == 1)
      say(to, fmt::format("report {} {} {} {}\n", received, in.missed(), last, wrong));
  }
}

// This process becomes one machine, a child the other. Before the first reactor.
class Machines {
 public:
  Machines() {
    int lines[2];
    int go[2];
    if (!leave_network()) skip(fmt::format("no network namespace: {}", std::strerror(errno)));
    if (::pipe2(lines, O_CLOEXEC) != 0 || ::pipe2(go, O_CLOEXEC) != 0) std::terminate();
    child_ = ::fork();
    if (child_ == 0) play_base(lines[1], go[0]);
    ::close(lines[1]);
    ::close(go[0]);
    lines_ = lines[0];
    char ready = 0;
    if (child_ < 0 || ::read(lines_, &ready, 1) != 1) skip("no second network namespace");
    if (!shell("ip -V >/dev/null")) skip("no ip (install iproute2)");
    if (!shell(fmt::format("ip link add rover type veth peer name base netns {}", child_)))
      skip("no veth pair");
    REQUIRE(shell(fmt::format("ip address add {}/24 dev rover && ip link set rover up", kRoverAddress)));
    REQUIRE(::write(go[1], "g", 1) == 1);
    ::close(go[1]);
  }
  Machines(const Machines&) = delete;
  Machines& operator=(const Machines&) = delete;
  ~Machines() {
    ::kill(child_, SIGKILL);
    ::waitpid(child_, nullptr, 0);
  }

  /// What the other machine says.
  [[nodiscard]] int lines() const noexcept { return lines_; }

 private:
  [[noreturn]] static void play_base(int lines, int go) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    char word = 0;
    if (::unshare(CLONE_NEWNET) != 0) std::_Exit(1);
    say(lines, "r");
    if (::read(go, &word, 1) != 1 ||
        !shell(fmt::format("ip address add {}/24 dev base && ip link set base up", kBaseAddress)))
      std::_Exit(1);
    try {
      horus::io::run(base(lines));
    } catch (const std::exception& error) {
      fmt::print(stderr, "base: {}\n", error.what());
    }
    std::_Exit(1);
  }

  pid_t child_ = -1;
  int lines_ = -1;
};

// --- The publisher ----------------------------------------------------------------------------------------------------

struct Report {
  std::int64_t received = 0;
  std::int64_t missed = 0;
  std::int64_t last = 0;
  std::int64_t wrong = 0;
};

// The publisher's program, and what it knows of the other one.
struct Rover {
  explicit Rover(int lines) : said(horus::io::Descriptor(lines), "the base's lines") {}

  horus::io::PipeReader said;
  horus::Publisher<Reading> out;
  std::int64_t next = 0;
  std::uint64_t nowhere = 0;  // published while nobody subscribed
  bool streaming = false;

  void publish() {
    const std::uint64_t before = out.metrics().sent;
    out.send({.number = next++});
    const auto metrics = out.metrics();
    if (metrics.sent == before) ++nowhere;
    if (metrics.sent != metrics.delivered + metrics.dropped + metrics.queued + metrics.in_flight)
      FAIL_CHECK("the account does not add up");
  }
  Task<> stream() {
    while (streaming) {
      publish();
      co_await horus::sleep(1ms);
    }
  }
  Task<std::string> hear() {
    auto reading = said.read_line();
    auto line = co_await horus::with_timeout(kPatience, std::move(reading));
    co_return std::move(line).or_throw();
  }
  Task<> settle() {
    const bool settled = co_await eventually([&] {
      const auto metrics = out.metrics();
      return metrics.queued + metrics.in_flight == 0;
    });
    CHECK(settled);
  }
  Task<Report> ask() {
    const Reading question{.number = next++, .report = 1};
    (co_await out.send_wait(question, kPatience)).or_throw();
    const std::string line = co_await hear();
    Report report;
    const int read = std::sscanf(line.c_str(), "report %ld %ld %ld %ld", &report.received, &report.missed,
                                 &report.last, &report.wrong);
    CAPTURE(line);
    CHECK(read == 4);
    CHECK(report.wrong == 0);
    CHECK(report.last == next - 1);
    co_await settle();
    co_return report;
  }
};

Task<> ip(std::string arguments) {
  auto output =
      (co_await horus::io::run_process(horus::io::ProcessOptions("sh", "-c", "ip " + arguments))).or_throw();
  INFO("ip ", arguments, ": ", output.err);
  CHECK(output.status.success());
}

// While the two are connected every message is either received or known to be missed, a flood of them too.
Task<> check_connection(Rover& rover) {
  const Report before = co_await rover.ask();
  const auto sent = rover.out.metrics().sent;
  for (int i = 0; i < 1000; ++i) rover.publish();
  co_await rover.settle();
  const Report after = co_await rover.ask();
  const auto all = static_cast<std::int64_t>(rover.out.metrics().sent - sent);
  CHECK(all == 1001);
  CHECK(after.received + after.missed - before.received - before.missed == all);
  CHECK(after.missed > before.missed);
}

struct Cut {
  const char* what;
  const char* cut;
  const char* mend;
};

Task<> cut_and_heal(Rover& rover, const Hub& hub, const Cut& cut) {
  INFO(cut.what);
  horus::Scope scope("stream");
  rover.streaming = true;
  static_cast<void>(scope.spawn(rover.stream()));
  const auto dropped_before = rover.out.metrics().dropped;
  auto cutting = ip(cut.cut);
  co_await cutting;
  const auto since = horus::now_ns();
  // Each end finds out by itself, in any order.
  const std::string heard = co_await rover.hear();
  CHECK(heard == "lost");
  const bool noticed = co_await eventually([&] { return rover.out.subscribers() == 0; });
  CHECK(noticed);
  CHECK(horus::now_ns() - since < horus::Duration(3 * kIdleLimit).count());
  CHECK_FALSE(hub.connection_state().connected);
  // What was under way is accounted for as soon as the connection is given up.
  const auto lost = rover.out.metrics();
  CHECK(lost.queued + lost.in_flight == 0);
  CHECK(lost.sent == lost.delivered + lost.dropped);
  CHECK(lost.dropped > dropped_before);
  const auto nowhere = rover.nowhere;
  const bool goes_on = co_await eventually([&] { return rover.nowhere > nowhere; });
  CHECK(goes_on);

  auto mending = ip(cut.mend);
  co_await mending;
  const std::string healed = co_await rover.hear();
  CHECK(healed == "met");
  const bool met = co_await eventually([&] { return rover.out.subscribers() == 1; });
  CHECK(met);
  rover.streaming = false;
  co_await scope.join();
  co_await rover.settle();

  // Whatever was published either was received, or counts as dropped, or was published while nobody was there. More can
  // have been received than the publisher knows: the acknowledgements of the last messages were cut off.
  const Report report = co_await rover.ask();
  const auto account = rover.out.metrics();
  CHECK(account.sent == account.delivered + account.dropped);
  CHECK(account.sent + rover.nowhere == static_cast<std::uint64_t>(rover.next));
  const auto received = static_cast<std::uint64_t>(report.received);
  CHECK(received >= account.delivered);
  CHECK(received <= account.sent);
  // The subscriber knows of every one that it did not get, also of those that nobody was there for.
  CHECK(received + static_cast<std::uint64_t>(report.missed) == static_cast<std::uint64_t>(rover.next));
}

TEST_CASE(
    "a cut cable, both ways and one way: both ends notice, find each other again, and nothing is lost "
    "silently") {
  const Machines machines;
  horus::io::run([&]() -> Task<> {
    Rover rover(machines.lines());
    const std::string address = co_await rover.hear();
    const Hub hub = Hub::tcp(address, "rover", quick().with_role(TcpRole::connect)).or_throw();
    rover.out = hub.advertise<Reading>("imu");
    const std::string heard = co_await rover.hear();
    CHECK(heard == "met");
    const bool met = co_await eventually([&] { return rover.out.subscribers() == 1; });
    REQUIRE(met);
    auto checking = check_connection(rover);
    co_await checking;
    const std::array cuts = {
        Cut{"the cable", "link set rover down", "link set rover up"},
        Cut{"the rover's way to the base; the other way stays", "route add blackhole 10.77.0.2/32",
            "route delete blackhole 10.77.0.2/32"},
    };
    for (const Cut& cut : cuts) {
      auto round = cut_and_heal(rover, hub, cut);
      co_await round;
      auto checking_again = check_connection(rover);
      co_await checking_again;
    }
  });
}

}  // namespace
