// SPDX-License-Identifier: Apache-2.0
// Programs for exact_test: each prints all that it sees, times included. What it prints at a replay has to be the same.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <horus/horus.hpp>

namespace {

using namespace horus::literals;
using horus::Result;
using horus::Task;
namespace io = horus::io;

template <class... Arguments>
void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  const std::string line = fmt::format(format, std::forward<Arguments>(arguments)...) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
}

std::string argument;

// A peer that sends lines at its own times; a line that does not come in time; a timer between them.
Task<> lines() {
  auto connecting = io::TcpStream::connect(argument);
  auto stream = (co_await connecting).or_throw();
  const std::int64_t begin = horus::now_ns();
  for (int i = 0;; ++i) {
    auto reading = stream.read_line();
    auto line = co_await horus::with_timeout(5ms, std::move(reading));
    say("{} at {}", line ? *line : line.error().message(), horus::now_ns() - begin);
    if (line && *line == "end") break;
    if (!line && !line.error().timed_out()) break;
    if (i % 8 == 0) co_await horus::sleep(1ms);
  }
  (co_await stream.close()).or_throw();
}

// Buffers that the kernel chooses.
Task<> chunks() {
  auto connecting = io::TcpStream::connect(argument);
  auto stream = (co_await connecting).or_throw();
  std::string all;
  io::BufferPool pool(512, 8);
  io::ChunkReader reader(stream.fd(), pool);
  while (true) {
    auto chunk = co_await reader.next();
    if (!chunk) break;
    say("{} bytes at {}", chunk->bytes().size(), horus::now_ns());
    all.append(reinterpret_cast<const char*>(chunk->bytes().data()), chunk->bytes().size());
  }
  say("{}", all);
}

Task<> files() {
  const std::string folder = argument;
  for (int i = 0; i < 3; ++i) {
    const std::string path = folder + "/file_" + std::to_string(i);
    const std::string text = fmt::format("written at {}", horus::wall_clock_ns());
    (co_await io::write_file(path, text)).or_throw();
    auto reading = io::read_file(path);
    say("{}", (co_await reading).or_throw());
  }
  (co_await io::fs::rename(folder + "/file_0", folder + "/renamed")).or_throw();
  auto listing = io::fs::read_directory(folder);
  for (const auto& entry : (co_await listing).or_throw()) say("{}", entry.name);
  auto missing = io::read_file(folder + "/missing");
  auto nothing = co_await missing;
  say("{}", nothing.error().message());
}

Task<> children() {
  auto running = io::run_process(io::ProcessOptions("sh", "-c", "date +%s%N; echo $$ >&2; exit 3"));
  auto done = (co_await running).or_throw();
  say("{} {} {}", done.out, done.err, done.status.to_string());
  auto spawning = io::Process::spawn(io::ProcessOptions("sleep", "100"));
  auto process = (co_await spawning).or_throw();
  say("pid {}", process.pid());
  process.kill(SIGTERM).or_throw();
  auto waiting = process.wait();
  say("{}", (co_await waiting).or_throw().to_string());
  auto failing = io::Process::spawn(io::ProcessOptions("/no/such/program"));
  auto nothing = co_await failing;
  say("{}", nothing ? "started" : nothing.error().message());
  io::SignalSet signals({SIGUSR1});
  ::kill(::getpid(), SIGUSR1);
  auto next = signals.next();
  say("signal {}", (co_await next).or_throw().number);
}

unsigned dice() { return std::random_device()(); }
Result<std::vector<std::string>> words() {
  return std::vector<std::string>{std::to_string(std::random_device()()), "and", "more"};
}
Result<double> fails() { return horus::Error(EIO, "measure", std::to_string(std::random_device()())); }

Task<unsigned> throw_dice() {
  auto throwing = io::offload(dice);
  co_return (co_await throwing).or_throw();
}
Task<std::vector<std::string>> ask_for_words() {
  auto asking = io::offload(words);
  co_return (co_await asking).or_throw();
}

Task<> offloads() {
  for (int i = 0; i < 5; ++i) {
    auto both = co_await horus::when_all(throw_dice(), ask_for_words());
    say("{} {}", std::get<0>(both), std::get<1>(both).front());
    auto failing = io::offload(fails);
    const auto failed = co_await failing;
    say("{}", failed.error().message());
  }
}

Task<> posts() {
  io::Reactor& reactor = *io::Reactor::current();
  int taken = 0;
  std::thread other([&] {
    for (int i = 0; i < 50; ++i) {
      while (!reactor.post([&, i] { say("post {} after {} at {}", i, taken++, horus::now_ns()); }))
        ::usleep(100);
      if (i % 10 == 0) ::usleep(1000);
    }
  });
  while (taken < 50) co_await horus::sleep(1ms);
  other.join();
}

Task<> datagrams() {
  auto socket = io::UdpSocket::bind("127.0.0.1:0").or_throw();
  auto sender = io::UdpSocket::bind("127.0.0.1:0").or_throw();
  const io::Address to = socket.local_address().or_throw();
  for (int i = 0; i < 10; ++i) {
    const std::string text = fmt::format("datagram {} of {}", i, horus::now_ns());
    auto sending = sender.send_to(std::as_bytes(std::span(text)), to);
    (co_await sending).or_throw();
    std::array<std::byte, 100> buffer;
    auto receiving = socket.recv_from(buffer);
    const auto got = (co_await receiving).or_throw();
    say("{} from {}", std::string_view(reinterpret_cast<const char*>(buffer.data()), got.size),
        got.from.to_string());
  }
}

// Nodes with a hub between them, a random number each, and a deadline that is missed.
int nodes() {
  horus::Hub hub;
  horus::Scheduler scheduler(horus::SchedulerConfig::standard());
  class Source : public horus::Node {
   public:
    Source() : Node("source") {}
    Task<> tick() override {
      co_await horus::sleep(horus::Duration(200'000));
      out_.send(horus::now_ns());
    }

   private:
    horus::Publisher<std::int64_t> out_ = advertise<std::int64_t>("stamps");
  };
  class Sink : public horus::Node {
   public:
    Sink() : Node("sink") {}
    Task<> tick() override {
      auto receiving = in_.recv();
      auto stamp = (co_await receiving).or_throw();
      say("{} after {}", *stamp, horus::now_ns() - *stamp);
    }

   private:
    horus::Subscriber<std::int64_t> in_ = subscribe<std::int64_t>("stamps");
  };
  scheduler.add<Source>().rate(500_hz).watchdog(50ms);
  scheduler.add<Sink>();
  scheduler.add("counter", [n = 0]() mutable { say("tick {} at {}", ++n, horus::now_ns()); })
      .rate(100_hz)
      .deadline(5ms);
  const int code = scheduler.run_for(100ms);
  say("{} ticks, code {}", scheduler.statistics("source")->total_ticks, code);
  return code;
}

// Ends in the middle, as programs do.
Task<> crashes() {
  for (int i = 0;; ++i) {
    co_await horus::sleep(1ms);
    say("step {} at {}", i, horus::now_ns());
    std::fflush(stdout);
    if (i == 5) ::kill(::getpid(), SIGKILL);
    if (argument == "abort" && i == 3) std::abort();
  }
}

// Does something else where it is told to.
Task<> differs() {
  for (int i = 0; i < 10; ++i) {
    co_await horus::sleep(1ms);
    if (i == 5 && std::getenv("DIFFERENT") != nullptr) (co_await io::write_file("/dev/null", "x")).or_throw();
    say("{}", horus::now_ns());
  }
}

Task<> busy() {
  for (int i = 0; i < 600'000; ++i) static_cast<void>(horus::now_ns());
  co_await horus::sleep(1ms);
  say("done");
}

}  // namespace

int main(int count, char** arguments) {
  const std::map<std::string, Task<> (*)()> all = {
      {"lines", &lines},       {"chunks", &chunks}, {"files", &files},         {"children", &children},
      {"offloads", &offloads}, {"posts", &posts},   {"datagrams", &datagrams}, {"crashes", &crashes},
      {"differs", &differs},   {"busy", &busy}};
  const std::string name = count > 1 ? arguments[1] : "";
  argument = count > 2 ? arguments[2] : "";
  try {
    if (name == "nodes") return nodes();
    const auto found = all.find(name);
    if (found == all.end()) return 2;
    io::run(found->second());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
