// SPDX-License-Identifier: Apache-2.0
// What all loops do: asked from another thread, also while one of them is blocked, and by a signal.
#include <horus/io/dump_all.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/base/symbols.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/sched/scheduler.hpp>
#include <horus/task/event.hpp>

using horus::Task;
using namespace horus::literals;

namespace {

constexpr auto kLongest = 20s;

// Waits on a plain thread; not in a loop.
template <class Condition>
bool comes_true(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + kLongest;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

Task<> wait_for_orders(horus::Event& orders) { co_await orders.wait(); }

// A loop on a thread of its own, in which `task` runs until `end`.
class LoopThread {
 public:
  template <class Body>
  explicit LoopThread(Body body)
      : thread_([this, body] {
          horus::io::run([this, &body]() -> Task<> {
            horus::Event orders;
            horus::Scope scope;
            scope.spawn(wait_for_orders(orders), "orders");
            scope.spawn(body(*this), "body");
            ready.store(true);
            while (!end.load()) co_await horus::sleep(1ms);
            scope.cancel();
            co_await scope.join();
          });
        }) {}
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;
  ~LoopThread() {
    end.store(true);
    thread_.join();
  }
  std::atomic<bool> ready{false};
  std::atomic<bool> blocked{false};
  std::atomic<bool> end{false};

 private:
  std::thread thread_;
};

Task<> nothing(LoopThread&) { co_await horus::sleep(1h); }

[[gnu::noinline]] void search_for_the_map(LoopThread& loop) {
  loop.blocked.store(true);
  while (!loop.end.load()) {
  }
}

Task<> compute(LoopThread& loop) {
  co_await horus::sleep(1ms);
  search_for_the_map(loop);
}

std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 512> part{};
  while (std::fgets(part.data(), part.size(), pipe) != nullptr) text += part.data();
  ::pclose(pipe);
  return text;
}

}  // namespace

TEST_CASE("a thread without a loop sees the tasks of all loops") {
  LoopThread one(&nothing);
  LoopThread two(&nothing);
  REQUIRE(comes_true([&] { return one.ready.load() && two.ready.load(); }));
  const std::string text = horus::io::dump_all_tasks(kLongest);
  CAPTURE(text);
  const auto first = text.find("orders: waits for an event");
  REQUIRE(first != std::string::npos);
  CHECK(text.find("orders: waits for an event", first + 1) != std::string::npos);
  CHECK(has(text, "wait_for_orders"));
  CHECK(has(text, "body: waits for a timer"));
  CHECK_FALSE(has(text, "has not answered"));
}

TEST_CASE("a loop that is blocked is shown with its stack, and with its tasks all the same") {
  LoopThread blocked(&compute);
  LoopThread well(&nothing);
  REQUIRE(comes_true([&] { return blocked.blocked.load() && well.ready.load(); }));
  const std::string text = horus::io::dump_all_tasks(500ms);
  CAPTURE(text);
  CHECK(has(text, "has not answered for 500 ms: its thread "));
  CHECK(has(text, "search_for_the_map"));
  CHECK_FALSE(has(text, "_ZN"));
  const auto stack = text.find("search_for_the_map");
  CHECK(text.find("orders: waits for an event", stack) != std::string::npos);
  CHECK(text.find("wait_for_orders", stack) != std::string::npos);
  CHECK(text.find("body: running or ready to run", stack) != std::string::npos);
}

TEST_CASE("a loop sees its own tasks and those of others") {
  LoopThread other(&nothing);
  REQUIRE(comes_true([&] { return other.ready.load(); }));
  horus::io::run([]() -> Task<> {
    const std::string text = horus::io::dump_all_tasks(kLongest);
    CAPTURE(text);
    CHECK(has(text, "main: running or ready to run"));
    CHECK(has(text, "orders: waits for an event"));
    co_return;
  });
}

TEST_CASE("a loop that has ended is no longer there") {
  {
    LoopThread gone(&nothing);
  }
  CHECK(horus::io::dump_all_tasks() == "no loops\n");
}

TEST_CASE("names of functions are for people, also where templates have requirements") {
  CHECK(horus::detail::demangled("_ZN5rover6Camera4tickEv") == "rover::Camera::tick()");
  CHECK(horus::detail::demangled("_ZN5rover6Camera4tickEv.resume") ==
        "rover::Camera::tick() [clone .resume]");
  // template <class T> int second(T) requires std::integral<T>
  CHECK(horus::detail::demangled("_Z6secondIiEiT_Qsr3stdE8integralIS0_E") == "int second<int>(int)");
  // template <class T> requires is_task<T> void third(int)
  CHECK(horus::detail::demangled("_Z5thirdIiQsr5horusE7is_taskIT_EEvi") == "void third<int>(int)");
  // The version of the binary interface is for the linker.
  CHECK(horus::detail::demangled("_ZN5horus4v0_12io7Reactor3runENS0_4TaskIvEEPKc") ==
        "horus::io::Reactor::run(horus::Task<void>, char const*)");
  CHECK(horus::detail::demangled("_ZN5horus5v12_32io7Reactor4stopEv") == "horus::io::Reactor::stop()");
  for (const char* own :
       {"horus::v0::X", "horus::v_1::X", "horus::v0_1", "horus::view_1::X", "horus::", "v0_1::X"})
    CHECK(horus::detail::without_version(own) == own);
  // A coroutine as g++ names it.
  CHECK(horus::detail::readable(
            "void {anonymous}::wait(wait(Event&)::_ZN12_GLOBAL__N_14waitER5Event.Frame*)") == "wait(Event&)");
  CHECK(horus::detail::readable("f((anonymous namespace)::f(int (*)())::_Z1f.Frame*) [clone .actor]") ==
        "(anonymous namespace)::f(int (*)())");
  CHECK(horus::detail::readable("horus::Task<> f(int)") == "horus::Task<> f(int)");
  for (const char* as_it_is : {"main", "Quit", "_ZQ"}) CHECK(horus::detail::demangled(as_it_is) == as_it_is);
}

TEST_CASE("signals have the names that kill knows") {
  using horus::io::detail::signal_number;
  CHECK(signal_number("USR1") == SIGUSR1);
  CHECK(signal_number("SIGUSR2") == SIGUSR2);
  CHECK(signal_number("RTMIN+3") == SIGRTMIN + 3);
  CHECK(signal_number("10") == 10);
  for (const char* wrong :
       {"", "usr1", "KILL", "9", "STOP", "URG", "0", "-1", "33", "RTMIN+x", "RTMIN+40", "99999999999"}) {
    CAPTURE(wrong);
    CHECK(signal_number(wrong) == 0);
  }
}

// A program of its own: the signal is taken with the first loop of the process.
TEST_CASE("child: is blocked until its own dump has been logged" * doctest::skip()) {
  std::atomic<bool> told{false};
  horus::set_log_sink([&](horus::LogLevel, std::string_view line) {
    std::fprintf(stdout, "%.*s\n", static_cast<int>(line.size()), line.data());
    std::fflush(stdout);
    if (line.find("wait_for_orders") != std::string_view::npos) told.store(true);
  });
  LoopThread blocked(&compute);
  REQUIRE(comes_true([&] { return blocked.blocked.load(); }));
  std::thread sender([] { ::kill(::getpid(), SIGUSR1); });
  sender.join();
  CHECK(comes_true([&] { return told.load(); }));
  horus::set_log_sink({});
}

TEST_CASE("HORUS_DUMP_SIGNAL: a signal has the tasks logged while the loop is blocked") {
  char self[4096] = {};
  REQUIRE(::readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  const std::string child = std::string(self) + " --no-skip --test-case='child:*' 2>&1";
  SUBCASE("a good name") {
    const std::string text = output_of("HORUS_DUMP_SIGNAL=USR1 " + child);
    CAPTURE(text);
    CHECK(has(text, "tasks of all loops (HORUS_DUMP_SIGNAL):\n--- thread "));
    CHECK(has(text, "search_for_the_map"));
    CHECK(has(text, "orders: waits for an event"));
    CHECK(has(text, "Status: SUCCESS"));
  }
  SUBCASE("a wrong name") {
    const std::string text = output_of("HORUS_DUMP_SIGNAL=KILL " + std::string(self) +
                                       " --test-case='a loop that has ended*' 2>&1");
    CAPTURE(text);
    CHECK(has(text, "HORUS_DUMP_SIGNAL: \"KILL\" is no signal for it (use USR1, USR2 or RTMIN+3)"));
  }
}
