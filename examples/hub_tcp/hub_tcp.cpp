// SPDX-License-Identifier: Apache-2.0
// Two programs that find each other at an address: a rover that publishes, a base that subscribes and answers. Start them
// in either order, end one and start it again: they go on.
//
//   hub_tcp rover 127.0.0.1:7400        in one terminal
//   hub_tcp base 127.0.0.1:7400         in another one
//   hub_tcp                             both, the rover as a child process, for a moment
//
// Across machines: the rover with `with_insecure()` at its own address, the base with that address.
#include <cstdlib>
#include <string>
#include <string_view>

#include <horus/horus.hpp>

using horus::Hub;
using horus::Task;
using namespace horus::literals;

struct Pose {
  double x = 0, y = 0;  // m
  std::uint64_t number = 0;
};
HORUS_MESSAGE(Pose, x, y, number);

Task<> rover(std::string address) {
  const Hub hub = Hub::tcp(std::move(address), "rover").or_throw();
  auto pose = hub.advertise<Pose>("pose");
  auto commands = hub.subscribe<std::string>("command");
  Pose now;
  while (true) {
    now.x += 0.015;
    ++now.number;
    pose.send(now);
    if (auto command = commands.try_recv()) {
      fmt::print("rover: told to {}\n", **command);
      if (**command == "stop") break;
    }
    co_await horus::sleep(10ms);
  }
}

Task<> base(std::string address) {
  const Hub hub = Hub::tcp(std::move(address), "base").or_throw();
  auto pose = hub.subscribe<Pose>("pose", horus::SubscribeOptions().with_overflow(horus::Overflow::latest));
  auto commands = hub.advertise<std::string>("command");
  for (int i = 0; i < 5; ++i) {
    auto seen = (co_await pose.recv()).or_throw();
    fmt::print("base: the rover is at {:.3f} m ({} missed)\n", seen->x, pose.missed());
  }
  for (const auto& peer : hub.connection_state().peers)
    fmt::print("base: {} at {}\n", peer.name, peer.address);
  (co_await commands.send_wait("stop")).or_throw();
  // Leave when it has been heard: then nothing is under way any more.
  while (commands.metrics().queued + commands.metrics().in_flight > 0) co_await horus::sleep(1ms);
}

// A base at an address that the kernel chooses, and a rover that is told it.
Task<> both(std::string program) {
  auto free = horus::io::TcpListener::listen("127.0.0.1:0").or_throw();
  const std::string address = free.local_address().to_string();
  (co_await free.close()).or_throw();
  auto child =
      (co_await horus::io::Process::spawn(horus::io::ProcessOptions(program, "rover", address))).or_throw();
  auto talking = base(address);
  co_await talking;
  const auto ended = (co_await child.wait()).or_throw();
  fmt::print("rover: {}\n", ended.to_string());
}

int main(int argc, char** argv) {
  const std::string_view role = argc > 1 ? argv[1] : "both";
  const std::string address = argc > 2 ? argv[2] : "127.0.0.1:7400";
  horus::io::run(role == "rover" ? rover(address) : role == "base" ? base(address) : both("/proc/self/exe"));
}
