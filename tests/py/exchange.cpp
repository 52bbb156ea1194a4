// SPDX-License-Identifier: Apache-2.0
// The C++ side of tests/py/hub_test.py: on the hub "exchange" in the directory that it is given, it answers what comes on
// to/NAME with something of its own on from/NAME, until it is killed.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <horus/horus.hpp>
#include <horus/msg/hub.hpp>
#include <horus/msg/messages.hpp>

namespace m = horus::messages;

struct Base {
  std::int64_t stamp_ns;
  float speed;
  std::array<double, 2> gains;
  bool on;
};
HORUS_MESSAGE(Base, stamp_ns, speed, gains, on);

namespace {

template <class T, class Answer>
horus::Task<> answer(horus::Hub hub, std::string name, Answer answer) {
  auto in = hub.subscribe<T>("to/" + name);
  auto out = hub.advertise<T>("from/" + name);
  while (true) {
    auto sample = co_await in.recv();
    const auto message = std::move(sample).or_throw();
    answer(message, out);
  }
}

template <class T>
void send_back(const horus::Sample<T>& got, horus::Publisher<T>& out) {
  out.send(*got);
}

// A head, and its tail changed element by element.
template <class T, class Change>
auto with_tail(Change change) {
  return [change](const horus::Sample<T>& got, horus::Publisher<T>& out) {
    std::vector<typename T::Tail> tail(got.tail().begin(), got.tail().end());
    change(tail);
    out.send(*got, tail);
  };
}

horus::Task<> main_task(std::string directory) {
  const auto hub =
      horus::Hub::shm("exchange", horus::ShmOptions().with_directory(std::move(directory))).or_throw();
  horus::Scope scope("exchange");
  using Bytes = std::vector<std::uint8_t>;
  scope.spawn(answer<Bytes>(hub, "bytes", [](const auto& got, auto& out) {
    Bytes bytes(got.tail().begin(), got.tail().end());
    std::reverse(bytes.begin(), bytes.end());
    out.send(bytes);
  }));
  scope.spawn(answer<std::string>(hub, "text", [](const auto& got, auto& out) {
    std::string text(*got);
    std::reverse(text.begin(), text.end());
    out.send(text);
  }));
  scope.spawn(answer<m::Twist>(hub, "Twist", [](const auto& got, auto& out) {
    out.send({.linear = got->angular, .angular = got->linear});
  }));
  scope.spawn(answer<m::Imu>(hub, "Imu", [](const auto& got, auto& out) {
    m::Imu imu = *got;
    ++imu.header.stamp_ns;
    out.send(imu);
  }));
  scope.spawn(answer<m::Imu>(hub, "Imu2", send_back<m::Imu>));  // Python sends something else there
  scope.spawn(answer<m::Pose>(hub, "Pose", send_back<m::Pose>));
  scope.spawn(answer<m::Odometry>(hub, "Odometry", send_back<m::Odometry>));
  scope.spawn(answer<m::BatteryState>(hub, "BatteryState", send_back<m::BatteryState>));
  scope.spawn(answer<m::NavSatFix>(hub, "NavSatFix", send_back<m::NavSatFix>));
  scope.spawn(answer<m::LaserScan>(hub, "LaserScan", with_tail<m::LaserScan>([](auto& tail) {
                                     for (float& range : tail) range *= 2;
                                   })));
  scope.spawn(answer<m::Image>(
      hub, "Image", with_tail<m::Image>([](auto& tail) { std::reverse(tail.begin(), tail.end()); })));
  scope.spawn(answer<m::JointState>(hub, "JointState", with_tail<m::JointState>([](auto& tail) {
                                      for (m::Joint& joint : tail) joint.position = -joint.position;
                                    })));
  scope.spawn(answer<m::PointCloud>(hub, "PointCloud", with_tail<m::PointCloud>([](auto& tail) {
                                      for (m::CloudPoint& point : tail) point.x = -point.x;
                                    })));
  scope.spawn(answer<Base>(hub, "Base", [](const auto& got, auto& out) {
    out.send({.stamp_ns = got->stamp_ns + 1,
              .speed = got->speed * 2,
              .gains = {got->gains[1], got->gains[0]},
              .on = !got->on});
  }));
  co_await scope.join();
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 2;
  horus::io::run(main_task(arguments[1]));
  return 0;
}
