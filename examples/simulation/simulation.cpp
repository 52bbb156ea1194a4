// SPDX-License-Identifier: Apache-2.0
// A rover that must stand still when its GPS goes quiet, simulated for thousands of seeds of network trouble.
//
//   simulation [--seeds 1000]           the rover as it should be: all seeds pass
//   simulation --bug [--seeds 1000]     a rover that trusts its connection: found, reproduced, drawn
//   simulation --bug --seed 7           one seed again
#include <string>
#include <string_view>

#include <horus/horus.hpp>
#include <horus/sim/campaign.hpp>

using horus::Task;
using horus::sim::World;
using namespace horus::literals;

namespace {

bool trust_the_connection = false;  // the bug: a connection that is cut off is still a connection

struct Rover {
  double speed = 0;  // m/s
  bool connected = false;
  std::int64_t last_fix_ns = -1'000'000'000'000;

  [[nodiscard]] horus::Duration blind_for(std::int64_t now_ns) const {
    return horus::Duration(now_ns - last_fix_ns);
  }
};

// Ordinary code from here: nothing in it knows that it is simulated.
class Gps : public horus::Node {
 public:
  explicit Gps(Rover& rover) : Node("gps"), rover_(rover) {}
  Task<> tick() override {
    auto stream = co_await horus::io::TcpStream::connect("10.0.0.2:10110");
    if (!stream) {
      co_await horus::sleep(200ms);
      co_return;
    }
    rover_.connected = true;
    while (true) {
      auto line = co_await horus::with_timeout(2s, stream->read_line());
      if (!line) break;
      rover_.last_fix_ns = horus::now_ns();
    }
    rover_.connected = false;
  }

 private:
  Rover& rover_;
};

Task<int> rover_main(Rover& rover) {
  rover = Rover();
  horus::Scheduler scheduler(horus::SchedulerConfig::standard());
  scheduler.add<Gps>(rover);
  scheduler
      .add("control",
           [&rover] {
             const bool sees = rover.blind_for(horus::now_ns()) < 500ms;
             rover.speed = (trust_the_connection ? rover.connected : sees) ? 1.5 : 0;
           })
      .rate(50_hz)
      .priority(0);
  int code = co_await scheduler.run_async();
  co_return code;
}

// The world around it, and what it promises.
void drive(World& world) {
  Rover rover;
  world.tcp_peer("10.0.0.2:10110", horus::sim::repeat_lines({"$GPGGA,123519,4807.038,N,01131.000,E"}, 100ms));
  world.process("rover", [&] { return rover_main(rover); });
  world.cost("control", horus::sim::normal(200us, 50us));
  world.always("stands still when blind",
               [&] { return rover.speed == 0 || rover.blind_for(world.now_ns()) < 1s; });
  world.eventually("moves again", [&] { return rover.speed > 0; }, 5s);
  world.swarm(20s);
  world.run_for(30s);
}

}  // namespace

int main(int argc, char** argv) {
  std::string command = argc > 0 ? argv[0] : "simulation";
  if (argc > 1 && std::string_view(argv[1]) == "--bug") {
    trust_the_connection = true;
    command += " --bug";  // so that the line which reproduces a failure has it
    ++argv;
    --argc;
  }
  if (argc > 0) argv[0] = command.data();
  return horus::sim::run_campaign(argc, argv, "rover", drive);
}
