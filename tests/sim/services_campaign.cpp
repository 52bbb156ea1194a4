// SPDX-License-Identifier: Apache-2.0
// A sensor that streams numbered lines and hears commands, a controller that follows it, a logger that hears both: every
// kind of wait under every kind of trouble. `./dev sim` runs it for many seeds.
#include <array>
#include <cstdint>
#include <string>
#include <utility>

#include <horus/horus.hpp>
#include <horus/sim/campaign.hpp>

using horus::Scope;
using horus::Task;
using horus::io::TcpListener;
using horus::io::TcpStream;
using horus::io::UdpSocket;
using horus::sim::World;
using namespace horus::literals;

namespace {

struct Observed {
  std::uint64_t lines = 0;  // that the controller has read
  std::uint64_t torn = 0;   // that no sensor has sent, or not there
  std::uint64_t controls = 0;
  std::uint64_t heard = 0;     // datagrams of the logger
  std::uint64_t computed = 0;  // by the pool
  std::uint64_t wrong = 0;     // values of the pool that are not what they must be
};

// "line 17 of 17": a reader sees at once whether bytes were lost, doubled or swapped.
std::string numbered(std::uint64_t number) {
  return "line " + std::to_string(number) + " of " + std::to_string(number);
}

Task<> serve(TcpStream stream) {
  for (std::uint64_t number = 1;; ++number) {
    auto written = co_await stream.write_all(numbered(number) + "\n");
    if (!written) co_return;
    co_await horus::sleep(20ms);
  }
}

Task<int> sensor() {
  auto listener = TcpListener::listen("0.0.0.0:7000").or_throw();
  Scope scope("sensor", horus::Failures::log);
  while (true) {
    auto stream = co_await listener.accept();
    if (!stream) break;
    static_cast<void>(scope.spawn(serve(*std::move(stream)), "connection"));
  }
  scope.cancel();
  co_await scope.join();
  co_return 0;
}

class Follower : public horus::Node {
 public:
  explicit Follower(Observed& observed) : Node("follower"), observed_(observed) {}
  Task<> tick() override {
    auto stream = co_await TcpStream::connect("10.0.0.2:7000");
    if (!stream) {
      co_await horus::sleep(100ms);
      co_return;
    }
    std::uint64_t last = 0;
    while (true) {
      auto line = co_await horus::with_timeout(3s, stream->read_line());
      if (!line) co_return;
      const std::string expected = numbered(last + 1);
      if (*line != expected) {
        // A sensor that is killed in the middle of a line leaves the half of it as the last one.
        if (!expected.starts_with(*line)) ++observed_.torn;
        co_return;
      }
      ++last;
      ++observed_.lines;
    }
  }

 private:
  Observed& observed_;
};

// Sends what it has to the logger; work of the pool goes on meanwhile.
class Reporter : public horus::Node {
 public:
  explicit Reporter(Observed& observed) : Node("reporter"), observed_(observed) {}
  Task<> init() override {
    socket_ = UdpSocket::bind("0.0.0.0:0").or_throw();
    logger_ = horus::io::Address::parse("10.0.0.3:7001").or_throw();
    co_return;
  }
  Task<> tick() override {
    const std::uint64_t input = observed_.lines;
    auto squared = co_await horus::io::offload([](std::uint64_t x) { return x * x; }, input);
    if (!squared) co_return;  // the end of the run
    ++observed_.computed;
    if (*squared != input * input) ++observed_.wrong;
    const std::string text = "lines " + std::to_string(input);
    auto sent = co_await socket_.send_to(text, logger_);
    std::move(sent).or_throw();
  }

 private:
  Observed& observed_;
  UdpSocket socket_;
  horus::io::Address logger_;
};

Task<int> controller(Observed& observed) {
  horus::Scheduler scheduler(horus::SchedulerConfig::standard());
  scheduler.add<Follower>(observed);
  scheduler.add<Reporter>(observed).rate(20_hz).priority(1);
  scheduler.add("control", [&observed] { ++observed.controls; }).rate(100_hz).priority(0);
  int code = co_await scheduler.run_async();
  co_return code;
}

Task<int> logger(Observed& observed) {
  auto socket = UdpSocket::bind("0.0.0.0:7001").or_throw();
  std::array<std::byte, 256> buffer{};
  while (true) {
    auto got = co_await socket.recv_from(buffer);
    if (!got) co_return 0;
    ++observed.heard;
  }
}

void services(World& world) {
  Observed observed;
  world.process("sensor", sensor, "10.0.0.2");
  world.process("controller", [&] { return controller(observed); }, "10.0.0.1");
  world.process("logger", [&] { return logger(observed); }, "10.0.0.3");
  world.cost("control", horus::sim::uniform(50us, 500us));
  world.cost("reporter", horus::sim::normal(1ms, 300us));
  world.always("lines are whole and in order", [&] { return observed.torn == 0; });
  world.always("the pool computes", [&] { return observed.wrong == 0; });
  const auto advances = [](std::uint64_t& counter) {
    return [&counter, last = std::uint64_t{0}]() mutable { return std::exchange(last, counter) != counter; };
  };
  world.eventually("lines come", advances(observed.lines), 10s);
  world.eventually("the controller ticks", advances(observed.controls), 20ms);
  world.eventually("the pool works", advances(observed.computed), 1s);
  world.eventually("datagrams come", advances(observed.heard), 5s);
  world.swarm(6s, {"sensor", "controller", "logger"});
  world.run_for(10s);
}

}  // namespace

int main(int argc, char** argv) { return horus::sim::run_campaign(argc, argv, "services", services); }
