// SPDX-License-Identifier: Apache-2.0
// The rover of examples/rover, its own graph unchanged, with a receiver, a camera program and an operator that are played:
// it drives by GPS, stops when blind, keeps its controller's ticks and its log, whatever happens. `./dev sim` runs it for
// many seeds.
#include <array>
#include <csignal>
#include <cstdint>
#include <string>
#include <utility>

#include <horus/base/log.hpp>
#include <horus/horus.hpp>
#include <horus/sim/campaign.hpp>

#include "controller.hpp"
#include "dashboard.hpp"
#include "drive.hpp"
#include "inputs.hpp"
#include "receiver.hpp"

using horus::Task;
using horus::io::TcpStream;
using horus::io::UdpSocket;
using horus::sim::Launch;
using horus::sim::World;
using namespace horus::literals;

namespace {

constexpr horus::Duration kTrouble = 6s;  // then all is well
constexpr horus::Duration kEnd = 14s;
constexpr std::uint16_t kCommandPort = 4000;
constexpr const char* kCamera = "/usr/bin/rover_camera";
constexpr const char* kLog = "/var/rover.log";

/// What the scenario sees of the rover, and what it plays.
struct Scene {
  explicit Scene(World& simulated) : world(simulated) {
    quiet_from = world.random().between(500ms, kTrouble);
    const bool quiet = world.random().chance(1, 2);
    quiet_until = quiet ? world.random().between(quiet_from, kTrouble) : quiet_from;
    camera_trouble = world.random().below(4) == 0 ? 8 : 0;
  }
  [[nodiscard]] bool receiver_is_quiet() const {
    return world.now() >= quiet_from && world.now() < quiet_until;
  }
  [[nodiscard]] bool camera_misbehaves() {
    return camera_trouble > 0 && world.now() < kTrouble && world.random().chance(camera_trouble, 100);
  }

  World& world;
  horus::Duration quiet_from{0}, quiet_until{0};  // the receiver is there and says nothing
  std::uint64_t camera_trouble = 0;               // per picture, in hundredths
  const rover::World* rover = nullptr;            // while it lives
  std::uint64_t pictures = 0;
  std::uint64_t missed = 0;  // ticks of the controller
  bool log_is_torn = false;
  std::uint64_t answers = 0, wrong_answers = 0;
};

// --- The rover ---

Task<int> rover_main(Scene& scene) {
  struct Shown {
    Scene& scene;
    rover::World world;
    explicit Shown(Scene& by) : scene(by) { scene.rover = &world; }
    ~Shown() { scene.rover = nullptr; }
  };
  Shown shown(scene);
  shown.world.log.path = kLog;
  rover::Options options;
  options.camera_program = kCamera;
  options.nmea_address = "gps.local:10110";
  options.command_port = kCommandPort;
  options.realtime = false;
  auto driving =
      rover::drive(shown.world, options, rover::add_nodes, rover::scheduler_config(false), 0, "sim");
  const rover::Journey journey = co_await driving;
  for (const horus::NodeStatistics& node : journey.nodes) {
    if (node.name == "control") scene.missed += rover::missed_of(node);
  }
  const std::string failed = rover::what_failed(shown.world, journey);
  if (failed.empty()) co_return 0;
  horus::log_error(failed);
  co_return 1;
}

// --- Who is around it ---

Task<> receiver(TcpStream stream, Scene& scene) {
  while (true) {
    const rover::Drive drive = scene.rover != nullptr ? scene.rover->drive : rover::Drive();
    const std::string epoch = rover::receiver_epoch(drive, horus::wall_clock_ns() / 1'000'000);
    if (!scene.receiver_is_quiet()) {
      auto written = co_await stream.write_all(epoch);
      if (!written) co_return;
    }
    co_await horus::sleep(100ms);
  }
}

Task<int> camera(Launch launch, Scene& scene) {
  const std::string picture = "P6\n16 12\n255\n" + std::string(16 * 12 * 3, '\x60');
  while (true) {
    if (scene.camera_misbehaves()) {
      const std::uint64_t how = scene.world.random().below(3);
      if (how == 0) co_return 1;
      if (how == 1) co_await horus::sleep(1000s);  // it hangs
      auto garbage = co_await launch.out.write_all("Segmentation fault\n");
      if (!garbage) co_return 1;
    }
    auto written = co_await launch.out.write_all(picture);
    if (!written) co_return 0;
    co_await horus::sleep(50ms);
  }
}

Task<int> camera_program(Launch launch, Scene& scene) {
  auto playing = camera(std::move(launch), scene);
  const int code = co_await playing;
  co_return code;
}

Task<std::string> answer_of(UdpSocket& socket) {
  std::array<std::byte, 512> buffer{};
  auto answer = co_await socket.recv_from(buffer);
  const std::size_t size = std::move(answer).or_throw().size;
  co_return std::string(reinterpret_cast<const char*>(buffer.data()), size);
}

Task<int> operator_main(Scene& scene) {
  auto socket = UdpSocket::bind("127.0.0.1:0").or_throw();
  const auto rover = horus::io::Address::loopback_v4(kCommandPort);
  constexpr std::array<const char*, 4> kCommands{"speed 1.2", "status", "route", "speed 1.5"};
  try {
    for (std::size_t i = 0;; ++i) {
      co_await horus::sleep(300ms);
      auto sent = co_await socket.send_to(std::string_view(kCommands[i % kCommands.size()]), rover);
      if (!sent) continue;
      auto answer = co_await horus::with_timeout(200ms, answer_of(socket));
      if (!answer) continue;
      ++scene.answers;
      if (!answer->starts_with("ok")) ++scene.wrong_answers;
    }
  } catch (const horus::Error&) {
    co_return 0;
  }
}

// --- What must hold ---

// Records are whole lines, whatever the disk refused on the way.
bool log_is_whole(const std::string& log) {
  std::size_t at = 0;
  while (at < log.size()) {
    const std::size_t end = log.find('\n', at);
    if (end == std::string::npos || log.compare(at, 5, "{\"t\":") != 0 || log[end - 1] != '}') return false;
    at = end + 1;
  }
  return !log.empty();
}

void add_promises(World& world, Scene& scene) {
  world.always("within its speed", [&] {
    return scene.rover == nullptr ||
           (scene.rover->drive.speed_mps >= 0 && scene.rover->drive.speed_mps <= 1.5);
  });
  // Three seconds of patience, one to brake, and what is on its way.
  world.always("stands still when blind", [&] {
    if (scene.rover == nullptr) return true;
    const double blind_s = static_cast<double>(world.now_ns() - scene.rover->gps.last_position_ns) * 1e-9;
    return blind_s < rover::Controller::kPatience_s + 1.1 || scene.rover->drive.speed_mps == 0;
  });
  world.always("every tick of the controller is kept", [&] { return scene.missed == 0; });
  world.always("the log is whole", [&] { return !scene.log_is_torn; });
  world.always("commands are understood", [&] { return scene.wrong_answers == 0; });
  world.eventually(
      "drives",
      [&] {
        return scene.rover == nullptr || scene.receiver_is_quiet() || scene.rover->drive.speed_mps > 0.1;
      },
      5s);
  world.eventually(
      "pictures come",
      [&, last = std::uint64_t{0}]() mutable {
        return scene.rover == nullptr ||
               std::exchange(last, scene.rover->camera.pictures) != scene.rover->camera.pictures;
      },
      7s);
  world.eventually(
      "commands are answered",
      [&, last = std::uint64_t{0}]() mutable {
        return scene.rover == nullptr || std::exchange(last, scene.answers) != scene.answers;
      },
      2s);
  world.eventually(
      "knows its temperature",
      [&] { return scene.rover == nullptr || scene.rover->health.temperature_c.has_value(); }, 5s);
}

void rover_in_trouble(World& world) {
  Scene scene(world);
  world.tcp_peer("10.0.0.2:10110", [&](TcpStream stream) { return receiver(std::move(stream), scene); });
  world.name("gps.local", "10.0.0.2");
  world.program(kCamera, [&](Launch launch) { return camera_program(std::move(launch), scene); });
  world.process("rover", [&] { return rover_main(scene); }, "10.0.0.1");
  world.process("operator", [&] { return operator_main(scene); }, "10.0.0.1");
  world.file("rover", rover::kStatFile, "cpu  100 0 50 800 10 0 0 0 0 0\n");
  world.file("rover", rover::kMeminfoFile, "MemTotal: 8000000 kB\nMemAvailable: 6000000 kB\n");
  world.file("rover", rover::kStatusFile, "VmRSS: 20000 kB\nThreads: 1\n");
  world.file("rover", rover::kTemperatureFile, "48500\n");
  world.cost("control", horus::sim::uniform(20us, 100us));
  world.cost("camera", horus::sim::uniform(50us, 1ms));
  world.cost("view", horus::sim::normal(500us, 100us));
  world.cost("log", horus::sim::uniform(20us, 200us));
  add_promises(world, scene);
  world.swarm(kTrouble, {"rover", kCamera});
  world.at(kEnd - 1s).signal("rover", SIGTERM);
  world.at(kEnd - 100ms).call([&] {
    const auto log = world.file("rover", kLog);
    scene.log_is_torn = !log || !log_is_whole(*log);
  });
  world.run_for(kEnd);
}

}  // namespace

int main(int argc, char** argv) {
  // Of many seeds nobody reads the rover's own lines.
  if (argc > 1) horus::set_log_sink([](horus::LogLevel, std::string_view) {});
  return horus::sim::run_campaign(argc, argv, "rover", rover_in_trouble);
}
