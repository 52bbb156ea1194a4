// SPDX-License-Identifier: Apache-2.0
// Records a drive, and reads it again with its types. Then it is played, twice as fast, to a subscriber.

#include <cstdlib>
#include <filesystem>
#include <string>

#include <unistd.h>

#include <fmt/format.h>

#include <horus/horus.hpp>
#include <horus/record/bag.hpp>
#include <horus/record/player.hpp>
#include <horus/record/recording.hpp>

using namespace horus::literals;
using horus::messages::Twist;

namespace {

horus::Task<> drive() {
  horus::Hub hub("rover");
  auto out = hub.advertise<Twist>("cmd_vel");
  for (int i = 0; i < 5; ++i) {
    Twist command;
    command.linear.x = 0.5 * i;
    out.send(command);
    co_await horus::sleep(20ms);
  }
}

horus::Task<> read(std::string path) {
  auto bag = (co_await horus::Bag::open(std::move(path))).or_throw();
  const auto commands = bag.topic<Twist>("cmd_vel").or_throw();
  while (true) {
    const auto message = (co_await bag.next()).or_throw();
    if (!message) break;
    if (const auto command = commands.from(*message))
      fmt::print("{:4.0f} ms: {} m/s\n",
                 static_cast<double>(command->log_ns() - bag.contents().statistics.first_ns) / 1e6,
                 (*command)->linear.x);
  }
}

horus::Task<> play(std::string path) {
  horus::Hub hub("desk");
  auto in = hub.subscribe<Twist>("cmd_vel");
  auto playing = horus::play(std::move(path), hub, horus::PlayOptions().with_rate(2));
  const auto played = (co_await playing).or_throw();
  double last = 0;
  while (const auto command = in.try_recv()) last = (*command)->linear.x;
  fmt::print("{} messages were played again; the last command was {} m/s\n", played.messages, last);
}

}  // namespace

int main() {
  const auto path =
      std::filesystem::temp_directory_path() / fmt::format("read_recording_{}.mcap", ::getpid());
  auto recording = horus::Recording::start(path).or_throw();
  horus::io::run(drive());
  recording.stop().or_throw();
  horus::io::run(read(path));
  horus::io::run(play(path));
  std::filesystem::remove(path);
}
