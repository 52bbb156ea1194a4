// SPDX-License-Identifier: Apache-2.0
// What a service manager hears, from a socket of the test's own.
#include <horus/sched/run/service_notifier.hpp>

#include <chrono>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/address.hpp>
#include <horus/sched/scheduler.hpp>

#include "../support/captured_log.hpp"

namespace {

using namespace std::chrono_literals;
using horus::ServiceNotifier;

// An environment variable while it lives.
class Variable {
 public:
  Variable(const char* name, const std::string& value) : name_(name) {
    const char* before = std::getenv(name);
    if (before != nullptr) before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { before_ ? ::setenv(name_, before_->c_str(), 1) : ::unsetenv(name_); }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

// The other end of the protocol.
class Manager {
 public:
  explicit Manager(const horus::io::Address& address)
      : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    REQUIRE(socket_ >= 0);
    REQUIRE(::bind(socket_, address.data(), address.size()) == 0);
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;
  ~Manager() { ::close(socket_); }

  /// The next datagram; "" when there is none.
  std::string hear() const {
    char text[4096];
    const ssize_t size = ::recv(socket_, text, sizeof text, MSG_DONTWAIT);
    return size < 0 ? std::string() : std::string(text, static_cast<std::size_t>(size));
  }

 private:
  int socket_;
};

std::string own_name() { return fmt::format("horus-notifier-test-{}", ::getpid()); }
Manager abstract_manager() { return Manager(horus::io::Address::unix_abstract(own_name()).or_throw()); }

TEST_SUITE("sched/service_notifier") {
  TEST_CASE("ready, status, watchdog and stopping are heard, one datagram each") {
    const Manager manager = abstract_manager();
    const Variable socket("NOTIFY_SOCKET", "@" + own_name());
    ServiceNotifier service;
    CHECK(service.active());
    service.ready();
    CHECK(manager.hear() == "READY=1");
    service.status("driving");
    CHECK(manager.hear() == "STATUS=driving");
    service.watchdog();
    CHECK(manager.hear() == "WATCHDOG=1");
    service.stopping();
    CHECK(manager.hear() == "STOPPING=1");
    CHECK(manager.hear().empty());
  }

  TEST_CASE("a scheduler that runs tells when it is ready, alive and stopping") {
    const Manager manager = abstract_manager();
    const Variable socket("NOTIFY_SOCKET", "@" + own_name());
    const Variable watchdog("WATCHDOG_USEC", "20000");
    const Variable process("WATCHDOG_PID", std::to_string(::getpid()));
    horus::Scheduler scheduler;
    std::string first;
    scheduler
        .add("node",
             [&, ticks = 0]() mutable {
               if (++ticks == 1) first = manager.hear() + " " + manager.hear();
               if (ticks == 10) scheduler.stop();
             })
        .rate(horus::Rate(100));
    CHECK(scheduler.run_for(20s) == 0);
    CHECK(first.find("READY=1") != std::string::npos);
    std::string last, all;
    for (std::string heard = manager.hear(); !heard.empty(); heard = manager.hear()) {
      last = heard;
      all += heard + " ";
    }
    CHECK(all.find("WATCHDOG=1") != std::string::npos);
    CHECK(last == "STOPPING=1");
  }

  TEST_CASE("a socket in the file system") {
    char folder[] = "/tmp/horus-notifier-XXXXXX";
    REQUIRE(::mkdtemp(folder) != nullptr);
    const std::string path = std::string(folder) + "/notify";
    {
      const Manager manager(horus::io::Address::unix_path(path).or_throw());
      const Variable socket("NOTIFY_SOCKET", path);
      ServiceNotifier service;
      service.ready();
      CHECK(manager.hear() == "READY=1");
    }
    ::unlink(path.c_str());
    ::rmdir(folder);
  }

  TEST_CASE("without the variable nothing happens") {
    const Variable socket("NOTIFY_SOCKET", "");
    const Variable watchdog("WATCHDOG_USEC", "1000000");
    ServiceNotifier service;
    CHECK_FALSE(service.active());
    CHECK_FALSE(service.watchdog_interval());
    service.ready();
    service.status("nobody reads this");
    service.watchdog();
    service.stopping();
  }

  TEST_CASE("a status is one line of bounded length, whatever it holds") {
    const Manager manager = abstract_manager();
    const Variable socket("NOTIFY_SOCKET", "@" + own_name());
    ServiceNotifier service;
    service.status("fine\nMAINPID=1\r\n");
    CHECK(manager.hear() == "STATUS=fine MAINPID=1  ");
    std::string letters(ServiceNotifier::kMaxStatusBytes - 1, 'a');
    service.status(letters + "\u00e4 and more");  // the cut would halve it
    CHECK(manager.hear() == "STATUS=" + letters);
  }

  TEST_CASE("what a full queue refused goes with the next call, without waiting") {
    const Manager manager = abstract_manager();
    const Variable socket("NOTIFY_SOCKET", "@" + own_name());
    ServiceNotifier service;
    constexpr int kMoreThanAQueue = 100'000;  // net.unix.max_dgram_qlen is 10, or some hundreds
    for (int i = 0; i < kMoreThanAQueue; ++i) service.watchdog();
    service.ready();
    service.status("first");
    service.status("second");
    int watchdogs = 0;
    while (manager.hear() == "WATCHDOG=1") ++watchdogs;
    REQUIRE(watchdogs < kMoreThanAQueue);
    service.watchdog();
    CHECK(manager.hear() == "READY=1\nSTATUS=second\nWATCHDOG=1");
    service.watchdog();
    CHECK(manager.hear() == "WATCHDOG=1");
  }

  TEST_CASE("the watchdog is to be fed at half of its limit, by the process that it watches") {
    const Manager manager = abstract_manager();
    const Variable socket("NOTIFY_SOCKET", "@" + own_name());
    const auto interval = [] { return ServiceNotifier().watchdog_interval(); };
    const Variable nobody("WATCHDOG_PID", "");
    {
      const Variable none("WATCHDOG_USEC", "");
      CHECK_FALSE(interval());
    }
    for (const char* wrong : {"0", "-5", "1s", "99999999999999999999", "9223372036854775807"}) {
      CAPTURE(wrong);
      const Variable limit("WATCHDOG_USEC", wrong);
      CHECK_FALSE(interval());
    }
    const Variable limit("WATCHDOG_USEC", "3000000");
    CHECK(interval() == 1500ms);
    {
      const Variable self("WATCHDOG_PID", std::to_string(::getpid()));
      CHECK(interval() == 1500ms);
    }
    const Variable other("WATCHDOG_PID", std::to_string(::getppid()));
    CHECK_FALSE(interval());
  }

  TEST_CASE("a manager that cannot be reached is one line of the log, and nothing else") {
    const horus::testing::CapturedLog log;
    {
      const Variable socket("NOTIFY_SOCKET", "@nobody-" + own_name());
      ServiceNotifier service;
      service.ready();
      service.watchdog();
    }
    CHECK(log.has("nobody-" + own_name()));
    CHECK(log.lines().size() == 1);
    {
      const Variable socket("NOTIFY_SOCKET", "vsock:2:1234");
      const ServiceNotifier service;
      CHECK_FALSE(service.active());
    }
    CHECK(log.has("vsock:2:1234"));
  }
}

}  // namespace
