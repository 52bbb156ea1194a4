// SPDX-License-Identifier: Apache-2.0
#include <horus/io/resolve.hpp>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/base/thread_pool.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/seam/forwarding.hpp>
#include <horus/io/tcp.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"
#include "backend_seam.hpp"

using horus::Task;
namespace io = horus::io;

TEST_CASE("a numeric address is its own answer and never reaches the pool") {
  auto body = []() -> Task<> {
    const std::size_t threads = io::ThreadPool::standard().threads();
    auto four = co_await io::resolve("127.0.0.1", 80);
    REQUIRE(four.ok());
    REQUIRE(four->size() == 1);
    CHECK((*four)[0] == io::Address::loopback_v4(80));
    auto six = co_await io::resolve("::1", 8080);
    REQUIRE(six.ok());
    CHECK((*six)[0] == io::Address::loopback_v6(8080));
    CHECK(io::ThreadPool::standard().threads() == threads);
  };
  io::run(body());
}

TEST_CASE("localhost is this machine, each address once, with the port that was asked for") {
  auto body = []() -> Task<> {
    auto found = co_await io::resolve("localhost", 4321);
    REQUIRE(found.ok());
    CHECK_FALSE(found->empty());
    for (std::size_t i = 0; i < found->size(); ++i) {
      const io::Address& one = (*found)[i];
      CHECK(one.is_ip());
      CHECK(one.port() == 4321);
      for (std::size_t j = 0; j < i; ++j) CHECK_FALSE((*found)[j] == one);
    }
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a name that does not exist is an error that names it and says what to do") {
  auto body = []() -> Task<> {
    auto none = co_await io::resolve("no-such-host.invalid", 80);
    REQUIRE_FALSE(none.ok());
    // Without any name server the resolver cannot even ask.
    CHECK((none.code() == horus::kNameNotFound || none.code() == horus::kResolverFailed));
    CHECK(none.error().message().find("no-such-host.invalid") != std::string::npos);
    auto empty = co_await io::resolve("", 80);
    CHECK(empty.code() == EINVAL);
    auto spaced = co_await io::resolve("not a name", 80);
    REQUIRE_FALSE(spaced.ok());
    CHECK((spaced.code() == horus::kNameNotFound || spaced.code() == horus::kResolverFailed));
  };
  io::run(body());
}

TEST_CASE("an error of a connection by name shows name and port beside what to do, or that names are taken") {
  auto body = []() -> Task<> {
    auto looking = io::TcpStream::connect("no-such-host.invalid:9000");
    const auto unknown = co_await looking;
    const std::string message = unknown.error().message();
    CHECK(message.starts_with("connect no-such-host.invalid:9000: "));
    CHECK(message.ends_with(")"));
    for (const std::string text : {"robot", "robot:", "robot:x", "robot 9000", "[robot]:80"}) {
      CAPTURE(text);
      auto connecting = io::TcpStream::connect(text);
      const auto mistyped = co_await connecting;
      CHECK(mistyped.code() == EINVAL);
      const std::string words = mistyped.error().message();
      CHECK(words.starts_with("connect \"" + text + "\" ("));
      CHECK((words.find("(expected name:port, IPv4:port or [IPv6]:port)") != std::string::npos ||
             words.find("(the port must be a number from 0 to 65535)") != std::string::npos));
    }
  };
  io::run(body());
}

namespace {

using namespace horus::literals;

// A name server that says nothing until it is told to.
class SilentServer {
 public:
  static io::System::NameLookUp instance() noexcept { return &ask; }
  void answer() {
    const std::lock_guard lock(mutex_);
    silent_ = false;
    changed_.notify_all();
  }
  [[nodiscard]] int asked() {
    const std::lock_guard lock(mutex_);
    return asked_;
  }
  [[nodiscard]] int asked(const std::string& name) {
    const std::lock_guard lock(mutex_);
    return names_[name];
  }
  // After a test nobody may be on the way any more.
  void wait_until_idle() {
    answer();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return inside_ == 0; });
  }
  static SilentServer& get() {
    static SilentServer server;
    return server;
  }
  void reset() {
    const std::lock_guard lock(mutex_);
    silent_ = true;
    asked_ = 0;
    names_.clear();
  }

 private:
  static horus::Result<std::vector<io::Address>> ask(const std::string& name, std::uint16_t port) {
    SilentServer& self = get();
    std::unique_lock lock(self.mutex_);
    ++self.asked_;
    ++self.names_[name];
    ++self.inside_;
    self.changed_.wait(lock, [&] { return !self.silent_; });
    --self.inside_;
    self.changed_.notify_all();
    return std::vector<io::Address>{io::Address::loopback_v4(port)};
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool silent_ = true;
  int asked_ = 0;
  std::map<std::string, int> names_;
  int inside_ = 0;
};

class SilentNames final : public io::ForwardingSystem {
 public:
  using ForwardingSystem::ForwardingSystem;
  [[nodiscard]] NameLookUp name_look_up() noexcept override { return SilentServer::instance(); }
};

// Runs `body` where no name server answers.
template <class Body>
void run_in_silence(Body body) {
  SilentServer::get().reset();
  {
    const io::ReactorConfig config;
    io::Backend backend = seam::make_backend(config).or_throw();
    backend.system = std::make_shared<SilentNames>(backend.system);
    io::Reactor reactor(std::move(backend), config);
    reactor.run(body());
  }
  SilentServer::get().wait_until_idle();
  CHECK(horus::live_frames() == 0);
}

Task<> look_up(std::string name, std::vector<int>& codes) {
  auto found = co_await io::resolve(std::move(name), 80);
  codes.push_back(found.code());
}

}  // namespace

TEST_CASE("a connect keeps its time limit although the name server is silent, and says what it waited for") {
  NEEDS_REAL_KERNEL("threads that wait");
  run_in_silence([]() -> Task<> {
    auto connecting = io::TcpStream::connect("robot.example:80", io::ConnectOptions().with_timeout(20_ms));
    auto connected = co_await connecting;
    REQUIRE_FALSE(connected.ok());
    CHECK(connected.error().message() ==
          "connect robot.example:80 (while its name was looked up): timed out after 20 ms");
  });
}

TEST_CASE("a look-up that is given up is left behind, and tries of one name share it") {
  NEEDS_REAL_KERNEL("threads that wait");
  run_in_silence([]() -> Task<> {
    for (int i = 0; i < 50; ++i) {
      auto late = co_await horus::with_timeout(100_us, io::resolve("camera.example", 80));
      REQUIRE(late.code() == ETIMEDOUT);
      CHECK(late.error().message() == "resolve camera.example: timed out after 100 us");
    }
    horus::Scope scope;
    std::vector<int> codes;
    for (int i = 0; i < 10; ++i) static_cast<void>(scope.spawn(look_up("camera.example", codes)));
    co_await horus::sleep(1_ms);
    CHECK(codes.empty());
    CHECK(SilentServer::get().asked("camera.example") <= 1);
    SilentServer::get().answer();
    co_await scope.join();
    CHECK(codes == std::vector<int>(10, 0));
  });
}

TEST_CASE("look-ups that hang hold up neither calls of the user nor the end of the reactor") {
  NEEDS_REAL_KERNEL("threads that wait");
  run_in_silence([]() -> Task<> {
    horus::Scope scope;
    std::vector<int> codes;
    const auto names = static_cast<int>(io::ThreadPool::names().thread_limit()) + 4;
    for (int i = 0; i < names; ++i)
      static_cast<void>(scope.spawn(look_up("host" + std::to_string(i) + ".example", codes)));
    co_await horus::sleep(1_ms);
    auto offloaded = co_await io::offload([] { return 42; });
    REQUIRE(offloaded.ok());
    CHECK(*offloaded == 42);
    scope.cancel();
    co_await scope.join();
    CHECK(codes == std::vector<int>(static_cast<std::size_t>(names), ECANCELED));
  });
}

TEST_CASE("more hanging names than the resolver takes are refused with the reason") {
  NEEDS_REAL_KERNEL("threads that wait");
  run_in_silence([]() -> Task<> {
    horus::Scope scope;
    std::vector<int> codes;
    // Some may be refused while threads have not yet taken theirs from the queue: on until it stays full.
    for (int i = 0; io::ThreadPool::names().queued() < io::ThreadPool::names().queue_limit(); ++i) {
      static_cast<void>(scope.spawn(look_up("host" + std::to_string(i) + ".example", codes)));
      if (i % 64 == 0 || i > 512) co_await horus::sleep(1_ms);
      co_await horus::yield();
      if (SilentServer::get().asked() < static_cast<int>(io::ThreadPool::names().thread_limit()))
        co_await horus::sleep(1_ms);
    }
    auto one_more = co_await io::resolve("late.example", 80);
    CHECK(one_more.code() == EAGAIN);
    CHECK(one_more.error().message().find("get no answer") != std::string::npos);
    scope.cancel();
    co_await scope.join();
  });
}

TEST_CASE("without a descriptor left a look-up says so, not that the name is wrong") {
  NEEDS_REAL_KERNEL("the process's own limits");
  auto body = []() -> Task<> {
    auto warm = co_await io::resolve("localhost", 80);  // the thread, and what the resolver loads once
    static_cast<void>(warm);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const int first_free = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    const rlimit tight{static_cast<rlim_t>(first_free) + 1, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    std::vector<int> taken{first_free};
    for (int fd = ::dup(first_free); fd >= 0; fd = ::dup(first_free)) taken.push_back(fd);
    auto found = co_await io::resolve("robot.invalid", 80);
    for (const int fd : taken) ::close(fd);
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
    CHECK(found.code() == EMFILE);
    CHECK(found.error().message().find("robot.invalid: too many open files") != std::string::npos);
  };
  io::run(body());
}
