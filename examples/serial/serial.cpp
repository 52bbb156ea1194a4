// SPDX-License-Identifier: Apache-2.0
// A serial port at 9600 baud, read line by line. The device behind it is a pseudo terminal, so that this runs anywhere.
#include <cstdlib>

#include <fcntl.h>

#include <horus/horus.hpp>

using namespace horus::literals;
using namespace horus::io;

// The device: a compass that answers each request with its heading.
horus::Task<> compass(ByteStream& line) {
  double heading = 90;
  while (true) {
    auto request = co_await line.read_line();
    if (!request) co_return;
    (co_await line.write_all(fmt::format("$HCHDM,{:.1f},M\r\n", heading))).or_throw();
    heading += 0.5;
  }
}

horus::Task<> run() {
  const int device = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (device < 0 || ::grantpt(device) != 0 || ::unlockpt(device) != 0)
    throw horus::Error(errno, "open a pty");
  ByteStream line{Descriptor(device), "compass"};
  horus::Scope scope;
  auto answering = scope.spawn(compass(line), "compass");

  const std::string path = ::ptsname(device);  // on a robot: /dev/ttyUSB0
  auto port = (co_await SerialPort::open(path, SerialOptions(9600))).or_throw();
  fmt::print("{} baud\n", port.baud().or_throw());
  for (int i = 0; i < 3; ++i) {
    (co_await port.write_all("?\n")).or_throw();
    auto reading = port.read_line();
    auto answer = co_await horus::with_timeout(500ms, std::move(reading));
    fmt::print("{}\n", answer ? *answer : answer.error().message());
  }
  (co_await port.close()).or_throw();
  scope.cancel();
  co_await scope.join();

  auto missing = co_await SerialPort::open("/dev/ttyUSB99");
  fmt::print("{}\n", missing.error().message());
}

int main() { horus::io::run(run()); }
