// SPDX-License-Identifier: Apache-2.0
// Mistakes as people make them, each planted in a program that is right without it: the simulation must find every one
// within a thousand seeds, and nothing where nothing is planted.
#include <array>
#include <charconv>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include <doctest/doctest.h>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/sim/world.hpp>

using horus::Scope;
using horus::Task;
using horus::io::Address;
using horus::io::TcpStream;
using horus::io::UdpSocket;
using horus::sim::World;
using namespace horus::literals;

namespace {

// The first seed of a thousand for which `scenario` fails; 0 when there is none.
std::uint64_t first_failure(const std::function<void(World&)>& scenario, std::uint64_t seeds) {
  horus::LogSink before = horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  std::uint64_t found = 0;
  for (std::uint64_t seed = 1; seed <= seeds && found == 0; ++seed) {
    World world(seed);
    scenario(world);
    if (!world.report().passed) found = seed;
  }
  horus::set_log_sink(before);
  return found;
}

void check_found(const std::function<void(World&, bool)>& scenario) {
  const auto right = [&](World& world) { scenario(world, false); };
  const auto wrong = [&](World& world) { scenario(world, true); };
  CHECK(first_failure(right, 300) == 0);
  const std::uint64_t found = first_failure(wrong, 1000);
  CHECK(found != 0);
  MESSAGE("found with seed " << found);
}

// --- A wake-up is lost: the event is reset after the look at the queue, with a wait between the two. ---

constexpr int kJobs = 20;

Task<> send_jobs(TcpStream stream) {
  for (int job = 1; job <= kJobs; ++job) {
    auto written = co_await stream.write_all("job\n");
    if (!written) co_return;
    co_await horus::sleep(job % 5 == 0 ? 300ms : 1ms);
  }
  co_await horus::sleep(10min);
}

Task<> take_jobs(std::deque<std::string>& jobs, horus::Event& arrived) {
  auto stream = (co_await TcpStream::connect("10.0.0.2:7000")).or_throw();
  while (true) {
    auto line = co_await stream.read_line();
    if (!line) co_return;
    jobs.push_back(*line);
    arrived.set();
  }
}

Task<int> worker(int& worked, bool bug) {
  std::deque<std::string> jobs;
  horus::Event arrived;
  Scope scope("worker", horus::Failures::log);
  static_cast<void>(scope.spawn(take_jobs(jobs, arrived)));
  while (true) {
    if (jobs.empty()) {
      if (!bug) arrived.reset();
      try {
        if (bug) {
          co_await horus::sleep(200us);  // "let the others go first"
          arrived.reset();
        }
        co_await arrived.wait();
      } catch (const horus::Error&) {
        break;
      }
      continue;
    }
    jobs.pop_front();
    ++worked;
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

void lost_wake_up(World& world, bool bug) {
  int worked = 0;
  world.tcp_peer("10.0.0.2:7000", send_jobs);
  world.process("worker", [&worked, bug] { return worker(worked, bug); });
  world.eventually("all jobs are done", [&] { return worked == kJobs; }, 5s);
  world.run_for(10s);
}

// --- A buffer is used again before those who read it have ended. ---

std::uint64_t sum_of(const std::string* text) {
  std::uint64_t sum = 0;
  for (const char c : *text) sum = sum * 31 + static_cast<unsigned char>(c);
  return sum;
}

Task<> check_sum(const std::string& text, std::uint64_t expected, int& wrong) {
  auto sum = co_await horus::io::offload(&sum_of, &text);
  if (sum && *sum != expected) ++wrong;
}

Task<int> summer(int& wrong, bool bug) {
  std::string buffer;
  for (int i = 0; i < 20; ++i) {
    buffer = "frame " + std::to_string(i);
    Scope scope;
    static_cast<void>(scope.spawn(check_sum(buffer, sum_of(&buffer), wrong)));
    bool stopped = false;
    try {
      co_await horus::sleep(1ms);  // the camera's next frame
    } catch (const horus::Error&) {
      stopped = true;
    }
    if (bug) buffer = "the next frame";
    co_await scope.join();
    if (stopped) break;
  }
  co_return 0;
}

void buffer_used_too_early(World& world, bool bug) {
  int wrong = 0;
  world.process("summer", [&wrong, bug] { return summer(wrong, bug); });
  world.always("sums are right", [&] { return wrong == 0; });
  world.run_for(10s);
}

// --- A completion is dropped: a late answer to the first try clears the entry that the second try waits for. ---

Task<int> answer() {
  auto socket = UdpSocket::bind("0.0.0.0:7000").or_throw();
  std::array<std::byte, 64> buffer{};
  while (true) {
    auto request = co_await socket.recv_from(buffer);
    if (!request) co_return 0;
    auto sent = co_await socket.send_to(horus::io::Bytes(buffer.data(), request->size), request->from);
    if (!sent) co_return 0;
  }
}

struct Call {
  int attempt = 0;
  horus::Event answered;
};

Task<> hear(UdpSocket& socket, std::map<int, Call>& calls, bool bug) {
  std::array<std::byte, 64> buffer{};
  while (true) {
    auto got = co_await socket.recv_from(buffer);
    if (!got) co_return;
    const std::string text(reinterpret_cast<const char*>(buffer.data()), got->size);  // "call attempt"
    const int number = std::stoi(text);
    const int attempt = std::stoi(text.substr(text.find(' ')));
    const auto call = calls.find(number);
    if (call == calls.end()) continue;
    const bool late = attempt != call->second.attempt;
    call->second.attempt = -1;  // answered: no further tries
    if (bug && late) continue;
    call->second.answered.set();
  }
}

Task<> wait_for_answer(Call& call) { co_await call.answered.wait(); }

Task<> make_calls(UdpSocket& socket, std::map<int, Call>& calls, int& answered) {
  const Address server = Address::parse("10.0.0.2:7000").or_throw();
  for (int number = 1; number <= 50; ++number) {
    Call& call = calls[number];
    while (true) {
      if (call.attempt >= 0) {
        const std::string text = std::to_string(number) + " " + std::to_string(++call.attempt);
        auto sent = co_await socket.send_to(text, server);
        std::move(sent).or_throw();
      }
      auto got = co_await horus::with_timeout(20ms, wait_for_answer(call));
      if (got) break;
    }
    ++answered;
    calls.erase(number);
  }
}

Task<int> caller(int& answered, bool bug) {
  auto socket = UdpSocket::bind("0.0.0.0:0").or_throw();
  std::map<int, Call> calls;
  Scope scope("caller", horus::Failures::log);
  static_cast<void>(scope.spawn(hear(socket, calls, bug)));
  auto calling = scope.spawn(make_calls(socket, calls, answered));
  try {
    co_await calling;
  } catch (const horus::Error&) {
    // The end of the run.
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

void dropped_completion(World& world, bool bug) {
  int answered = 0;
  horus::sim::Faults faults;
  faults.datagram_late = 100;
  faults.datagram_loss = 50;
  world.faults(faults);
  world.process("server", answer, "10.0.0.2");
  world.process("caller", [&answered, bug] { return caller(answered, bug); });
  world.eventually("all calls are answered", [&] { return answered == 50; }, 20s);
  world.run_for(30s);
}

// --- A retry is wrong: after a short write all is sent again, not the rest. ---

Task<int> record(const std::string& text, bool bug) {
  auto file = (co_await horus::io::File::create("/tmp/record")).or_throw();
  std::size_t done = 0;
  while (done < text.size()) {
    const std::string_view rest = std::string_view(text).substr(bug ? 0 : done);
    auto wrote = co_await file.write_at(horus::io::Bytes(rest), done);
    done += std::move(wrote).or_throw();
  }
  auto closed = co_await file.close();
  std::move(closed).or_throw();
  co_return 0;
}

void wrong_retry(World& world, bool bug) {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "sample " + std::to_string(i) + "\n";
  horus::sim::Faults faults;
  faults.short_transfer = 20;
  world.faults(faults);
  world.process("recorder", [&text, bug] { return record(text, bug); });
  world.always("the record is what was recorded", [&] {
    const auto recorded = world.file("recorder", "/tmp/record");
    return !recorded || text.starts_with(*recorded);
  });
  world.run_for(10s);
}

}  // namespace

TEST_CASE("a lost wake-up is found") { check_found(lost_wake_up); }
TEST_CASE("a buffer that is used again too early is found") { check_found(buffer_used_too_early); }
TEST_CASE("a dropped completion is found") { check_found(dropped_completion); }
TEST_CASE("a wrong retry is found") { check_found(wrong_retry); }
