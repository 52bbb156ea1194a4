// SPDX-License-Identifier: Apache-2.0
// Child processes of a simulated world: programs that coroutines play.
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>

#include <doctest/doctest.h>

#include <horus/horus.hpp>
#include <horus/sim/world.hpp>

using horus::Task;
using horus::io::ExitStatus;
using horus::io::Process;
using horus::io::ProcessOptions;
using horus::io::ProcessOutput;
using horus::io::Redirect;
using horus::io::SignalSet;
using horus::sim::Faults;
using horus::sim::Launch;
using horus::sim::Report;
using horus::sim::World;
using namespace horus::literals;

namespace {

// --- Programs ---

Task<int> cat(Launch launch) {
  while (true) {
    auto line = co_await launch.in.read_line();
    if (!line) co_return 0;
    auto written = co_await launch.out.write_all(*line + "\n");
    if (!written) co_return 1;
  }
}

Task<int> sleeper(Launch) {
  co_await horus::sleep(1000s);
  co_return 0;
}

// Says what it was started with, and ends with 3.
Task<int> tell(Launch launch) {
  std::string text = launch.directory;
  for (const std::string& argument : launch.arguments) text += "|" + argument;
  text += "|" + launch.environment["COLOUR"] + "|" + launch.environment["PATH"];
  auto written = co_await launch.out.write_all(text + "\n");
  auto complained = co_await launch.err.write_all("oh\n");
  co_return written.ok() && complained.ok() ? 3 : 1;
}

// Ends with 7 at SIGTERM; with "stubborn" it does not listen.
Task<int> listener(Launch launch) {
  SignalSet signals{SIGTERM};
  const bool stubborn = launch.arguments.size() > 1;
  auto ready = co_await launch.out.write_all("ready\n");
  while (ready.ok()) {
    auto signal = co_await signals.next();
    if (!signal || !stubborn) break;
  }
  co_return 7;
}

// Writes until nobody reads.
Task<int> chatter(Launch launch) {
  while (true) {
    auto written = co_await launch.out.write_all("tick\n");
    if (!written) co_return written.code() == EPIPE ? 0 : 1;
    co_await horus::sleep(10ms);
  }
}

// Starts a child of its own, in its own group, and waits for ever.
Task<int> parent_of_sleeper(Launch launch) {
  auto spawning = Process::spawn(ProcessOptions("sleep").with_output(Redirect::inherit()));
  auto child = (co_await spawning).or_throw();
  auto told = co_await launch.out.write_all("ready\n");
  auto waiting = child.wait();
  auto ended = co_await waiting;
  co_return told.ok() && ended.ok() ? 0 : 1;
}

void add_programs(World& world) {
  world.program("/usr/bin/cat", cat);
  world.program("/usr/bin/sleep", sleeper);
  world.program("/usr/bin/tell", tell);
  world.program("/usr/bin/listener", listener);
  world.program("/usr/bin/chatter", chatter);
  world.program("/usr/bin/parent", parent_of_sleeper);
}

Task<Process> spawn(ProcessOptions options) {
  auto spawning = Process::spawn(std::move(options));
  auto process = co_await spawning;
  co_return std::move(process).or_throw();
}

// Runs `body` as a process of a world with these programs.
Report run(Task<int> (*body)(), horus::Duration length = 60s) {
  World world(7);
  add_programs(world);
  world.process("parent", body);
  return world.run_for(length);
}

}  // namespace

TEST_CASE("a conversation with a child through pipes goes line by line") {
  const Report report = run([]() -> Task<int> {
    auto spawning = spawn(ProcessOptions("cat").with_input(Redirect::pipe()).with_output(Redirect::pipe()));
    auto child = co_await spawning;
    CHECK(child.pid() > 0);
    for (const char* line : {"one", "two"}) {
      auto written = co_await child.standard_in().write_all(std::string(line) + "\n");
      CHECK(written.ok());
      auto answer = co_await child.standard_out().read_line();
      CHECK(*answer == line);
    }
    auto closed = co_await child.standard_in().close();
    CHECK(closed.ok());
    auto end = co_await child.standard_out().read_line();
    CHECK(end.code() == horus::kEndOfStream);
    auto waiting = child.wait();
    auto status = co_await waiting;
    CHECK(*status == ExitStatus::exited_with(0));
    co_return 0;
  });
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("a child gets its arguments, environment, directory and streams, and its code comes back") {
  const Report report = run([]() -> Task<int> {
    auto options = ProcessOptions("tell", "x").with_directory("/tmp").with_variable("COLOUR", "red");
    auto running = horus::io::run_process(std::move(options));
    auto output = (co_await running).or_throw();
    CHECK(output.out == "/tmp|tell|x|red|/usr/local/bin:/usr/bin:/bin\n");
    CHECK(output.err == "oh\n");
    CHECK(output.status == ExitStatus::exited_with(3));
    auto merging = Process::spawn(ProcessOptions("/usr/bin/tell")
                                      .without_environment()
                                      .with_output(Redirect::pipe())
                                      .with_error(Redirect::to_standard_out()));
    auto merged = (co_await merging).or_throw();
    auto first = co_await merged.standard_out().read_line();
    CHECK(*first == "/|/usr/bin/tell||");
    auto second = co_await merged.standard_out().read_line();
    CHECK(*second == "oh");
    auto waiting = merged.wait();
    auto status = co_await waiting;
    CHECK(status->code() == 3);
    co_return 0;
  });
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("what cannot be started says why, as the kernel would") {
  World world(1);
  add_programs(world);
  world.process("parent", [] {
    return []() -> Task<int> {
      auto making = horus::io::fs::create_directories("/opt/tools");
      auto made = co_await making;
      CHECK(made.ok());
      auto writing = horus::io::write_file("/opt/script", "not registered");
      auto written = co_await writing;
      CHECK(written.ok());
      struct Case {
        const char* program;
        const char* directory;
        int code;
        const char* blamed;
      };
      const Case cases[] = {
          {"/no/such", "", ENOENT, "/no/such"},
          {"nothing", "", ENOENT, "nothing"},
          {"/opt/script", "", EACCES, "/opt/script"},
          {"/opt/tools", "", EACCES, "/opt/tools"},
          {"cat", "/no/folder", ENOENT, "cat, in the directory /no/folder"},
          {"cat", "/opt/script", ENOTDIR, "cat, in the directory /opt/script"},
      };
      for (const Case& one : cases) {
        CAPTURE(one.program);
        auto spawning = Process::spawn(ProcessOptions(one.program).with_directory(one.directory));
        auto child = co_await spawning;
        CHECK(child.code() == one.code);
        CHECK(child.error().target() == one.blamed);
      }
      auto closed_task = Process::spawn(ProcessOptions("cat").with_output(Redirect::descriptor(987'654)));
      auto closed = co_await closed_task;
      CHECK(closed.code() == EBADF);
      co_return 0;
    }();
  });
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("signals end a child, and terminate kills only who does not listen") {
  const Report report = run([]() -> Task<int> {
    auto spawning = spawn(ProcessOptions("sleep"));
    auto child = co_await spawning;
    auto late = co_await horus::with_timeout(1s, child.wait());
    CHECK(late.code() == ETIMEDOUT);
    CHECK(child.kill(SIGUSR1).ok());
    auto waiting = child.wait();
    auto status = co_await waiting;
    CHECK(*status == ExitStatus::ended_by(SIGUSR1));
    CHECK(child.kill().code() == ESRCH);

    auto polite_task = spawn(ProcessOptions("listener").with_output(Redirect::pipe()));
    auto polite = co_await polite_task;
    auto ready = co_await polite.standard_out().read_line();
    CHECK(ready.ok());
    auto ending = polite.terminate(30s);
    auto ended = co_await ending;
    CHECK(*ended == ExitStatus::exited_with(7));

    auto deaf_task = spawn(ProcessOptions("listener", "stubborn").with_output(Redirect::pipe()));
    auto deaf = co_await deaf_task;
    ready = co_await deaf.standard_out().read_line();
    CHECK(ready.ok());
    const std::int64_t before = horus::now_ns();
    ending = deaf.terminate(5s);
    ended = co_await ending;
    CHECK(*ended == ExitStatus::ended_by(SIGKILL));
    CHECK(horus::now_ns() - before >= 5'000'000'000);
    co_return 0;
  });
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("a group dies with its grandchildren") {
  const Report report = run([]() -> Task<int> {
    auto spawning = spawn(ProcessOptions("parent").with_output(Redirect::pipe()).with_own_group());
    auto child = co_await spawning;
    auto ready = co_await child.standard_out().read_line();
    CHECK(ready.ok());
    CHECK(child.kill_group(SIGTERM).ok());
    auto waiting = child.wait();
    auto status = co_await waiting;
    CHECK(*status == ExitStatus::ended_by(SIGTERM));
    // The grandchild had the same pipe: its end tells that both are dead.
    auto end = co_await child.standard_out().read_line();
    CHECK(end.code() == horus::kEndOfStream);
    co_return 0;
  });
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("a Process that is destroyed takes its child with it") {
  const Report report = run([]() -> Task<int> {
    {
      auto spawning = spawn(ProcessOptions("sleep"));
      auto child = co_await spawning;
      CHECK(child.running());
    }
    co_return 0;
  });
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("SIGCHLD comes to a parent that waits for it") {
  const Report report = run([]() -> Task<int> {
    SignalSet signals{SIGCHLD};
    auto spawning = spawn(ProcessOptions("tell"));
    auto child = co_await spawning;
    auto signal = (co_await signals.next()).or_throw();
    CHECK(signal.number == SIGCHLD);
    CHECK(signal.pid == child.pid());
    auto waiting = child.wait();
    auto status = co_await waiting;
    CHECK(status->code() == 3);
    co_return 0;
  });
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("a child outlives a killed parent until it writes to nobody") {
  World world(3);
  std::uint64_t seen = 0;
  bool child_ended = false;
  world.program("/usr/bin/chatter", [&](Launch launch) {
    return [](Launch with, bool& ended) -> Task<int> {
      auto chatting = chatter(std::move(with));
      const int code = co_await chatting;
      ended = true;
      co_return code;
    }(std::move(launch), child_ended);
  });
  world.process("parent", [&] {
    return [](std::uint64_t& lines) -> Task<int> {
      auto spawning = spawn(ProcessOptions("chatter").with_output(Redirect::pipe()));
      auto child = co_await spawning;
      while (true) {
        auto line = co_await child.standard_out().read_line();
        if (!line) co_return 1;
        ++lines;
      }
    }(seen);
  });
  world.at(1s).kill("parent");
  world.at(2s).call([&] { CHECK(child_ended); });
  world.at(3s).restart("parent");
  const Report report = world.run_for(2500ms);
  CHECK_MESSAGE(report.passed, report.to_string());
  CHECK(seen > 50);
}

TEST_CASE("a grandchild that nobody owns is nobody's leak") {
  World world(1);
  add_programs(world);
  world.process("parent", [] {
    return []() -> Task<int> {
      auto spawning = spawn(ProcessOptions("parent").with_output(Redirect::pipe()));
      auto child = co_await spawning;
      auto ready = co_await child.standard_out().read_line();
      CHECK(ready.ok());
      CHECK(child.kill(SIGKILL).ok());
      auto waiting = child.wait();
      auto status = co_await waiting;
      co_return status.ok() ? 0 : 1;
    }();
  });
  const Report report = world.run_for(10s);
  CHECK_MESSAGE(report.passed, report.to_string());
}

TEST_CASE("a supervisor bears children that do not start, start late and die") {
  std::uint64_t refused = 0;
  std::uint64_t died = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    World world(seed);
    add_programs(world);
    Faults faults;
    faults.spawn_failure = 300;
    faults.slow_start = 300;
    faults.child_death = 500;
    world.faults(faults);
    std::uint64_t lines = 0;
    world.process("supervisor", [&] {
      return [](std::uint64_t& count, std::uint64_t& eagain, std::uint64_t& deaths) -> Task<int> {
        try {
          while (true) {
            auto spawning = Process::spawn(ProcessOptions("chatter").with_output(Redirect::pipe()));
            auto child = co_await spawning;
            if (!child) {
              if (child.error().cancelled()) co_return 0;
              eagain += child.code() == EAGAIN ? 1 : 0;
              co_await horus::sleep(100ms);
              continue;
            }
            while (true) {
              auto line = co_await child->standard_out().read_line();
              if (!line) break;
              ++count;
            }
            auto waiting = child->wait();
            auto status = co_await waiting;
            if (status && status->signalled()) ++deaths;
          }
        } catch (const horus::Error&) {
          co_return 0;
        }
      }(lines, refused, died);
    });
    const Report report = world.run_for(30s);
    CHECK_MESSAGE(report.passed, report.to_string());
    CHECK(lines > 100);
  }
  CHECK(refused > 10);
  CHECK(died > 10);
}
