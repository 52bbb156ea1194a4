// SPDX-License-Identifier: Apache-2.0
#include <horus/io/serial.hpp>

#include <cstdlib>
#include <string>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

using horus::Result;
using horus::Task;
using horus::io::FlowControl;
using horus::io::Parity;
using horus::io::SerialOptions;
using horus::io::SerialPort;
using namespace horus::literals;
namespace io = horus::io;

namespace {

// A pseudo terminal stands for the device: `device` is the wire's far end, `path` what the port opens.
struct Wire {
  int device = -1;
  int keeper = -1;  // keeps the settings between two opens
  std::string path;
  Wire() {
    device = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(device >= 0);
    REQUIRE(::grantpt(device) == 0);
    REQUIRE(::unlockpt(device) == 0);
    char name[64];
    REQUIRE(::ptsname_r(device, name, sizeof name) == 0);
    path = name;
    keeper = ::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(keeper >= 0);
  }
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  ~Wire() {
    if (device >= 0) ::close(device);
    ::close(keeper);
  }
  [[nodiscard]] termios settings() const {
    termios now{};
    REQUIRE(::tcgetattr(keeper, &now) == 0);
    return now;
  }
};

bool same(const termios& a, const termios& b) {
  return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag &&
         a.c_lflag == b.c_lflag && ::cfgetospeed(&a) == ::cfgetospeed(&b);
}

Task<SerialPort> open(std::string path, SerialOptions options = SerialOptions()) {
  auto opening = SerialPort::open(std::move(path), options);
  auto port = co_await opening;
  co_return std::move(port).or_throw();
}

Task<Result<std::string>> line_of(SerialPort& port) {
  auto line = co_await port.read_line();
  co_return line;
}

}  // namespace

TEST_CASE("bytes pass a serial port unchanged in both directions") {
  NEEDS_REAL_KERNEL("a pseudo terminal");
  auto body = []() -> Task<> {
    const Wire wire;
    auto opening = open(wire.path);
    auto port = co_await opening;
    horus::Scope scope;
    auto reading = scope.spawn(line_of(port));
    co_await horus::sleep(1ms);
    CHECK_FALSE(reading.done());
    // Ctrl-C, Ctrl-S, carriage return and 0xff are plain bytes on a raw line
    const std::string odd = "\x03\x13 \x7f\xff\x04 x\n";
    REQUIRE(::write(wire.device, odd.data(), odd.size()) == static_cast<ssize_t>(odd.size()));
    auto line = co_await reading;
    REQUIRE(line.ok());
    CHECK(*line + "\n" == odd);
    auto writing = port.write_all("$PMTK\r\n");
    auto written = co_await writing;
    CHECK(written.ok());
    char got[16] = {};
    CHECK(::read(wire.device, got, sizeof got) == 7);
    CHECK(std::string(got) == "$PMTK\r\n");
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("speed, parity, stop bits and flow control are set as asked") {
  NEEDS_REAL_KERNEL("a pseudo terminal");
  auto body = []() -> Task<> {
    const Wire wire;
    {
      auto opening =
          open(wire.path, SerialOptions(9600).with_stop_bits(2).with_flow_control(FlowControl::software));
      auto port = co_await opening;
      const termios now = wire.settings();
      CHECK(*port.baud() == 9600);
      CHECK((now.c_cflag & CSTOPB) != 0);
      CHECK((now.c_iflag & IXON) != 0);
      CHECK((now.c_lflag & (ICANON | ECHO | ISIG)) == 0);
      CHECK((now.c_oflag & OPOST) == 0);
    }
    auto opening = open(wire.path, SerialOptions(123'456));  // no classic speed
    auto port = co_await opening;
    CHECK(*port.baud() == 123'456);
  };
  io::run(body());
}

TEST_CASE("the settings of before come back on close, destruction and assignment") {
  NEEDS_REAL_KERNEL("a pseudo terminal");
  auto body = []() -> Task<> {
    const Wire wire;
    const termios before = wire.settings();
    for (const int way : {0, 1, 2}) {
      CAPTURE(way);
      {
        auto opening = open(wire.path, SerialOptions(9600));
        auto port = co_await opening;
        SerialPort moved = std::move(port);
        CHECK_FALSE(same(wire.settings(), before));
        if (way == 0) {
          auto closing = moved.close();
          auto closed = co_await closing;
          CHECK(closed.ok());
          CHECK(same(wire.settings(), before));
        } else if (way == 1) {
          moved = SerialPort();
          CHECK(same(wire.settings(), before));
        }
      }
      CHECK(same(wire.settings(), before));
    }
  };
  io::run(body());
}

TEST_CASE("what is no terminal, does not exist or cannot be set up is an error with its path") {
  NEEDS_REAL_KERNEL("a pseudo terminal");
  auto body = []() -> Task<> {
    const Wire wire;
    const termios before = wire.settings();
    auto missing_task = SerialPort::open("/dev/horus-no-such-tty");
    auto missing = co_await missing_task;
    CHECK(missing.code() == ENOENT);
    CHECK(missing.error().target() == "/dev/horus-no-such-tty");
    auto null_task = SerialPort::open("/dev/null");
    auto null = co_await null_task;
    CHECK(null.code() == ENOTTY);
    for (const SerialOptions& wrong :
         {SerialOptions(0), SerialOptions().with_data_bits(9), SerialOptions().with_data_bits(4),
          SerialOptions().with_stop_bits(3)}) {
      auto task = SerialPort::open(wire.path, wrong);
      auto refused = co_await task;
      CHECK(refused.code() == EINVAL);
      CHECK(refused.error().target().find(wire.path) == 0);
    }
    // A pseudo terminal has 8 bits and no parity, and says so only when asked.
    auto parity_task = SerialPort::open(wire.path, SerialOptions().with_parity(Parity::even));
    auto parity = co_await parity_task;
    CHECK(parity.code() == EINVAL);
    CHECK(same(wire.settings(), before));
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("what came in before the open is dropped") {
  NEEDS_REAL_KERNEL("a pseudo terminal");
  auto body = []() -> Task<> {
    const Wire wire;
    REQUIRE(::write(wire.device, "half a li", 9) == 9);
    auto opening = open(wire.path);
    auto port = co_await opening;
    REQUIRE(::write(wire.device, "whole\n", 6) == 6);
    auto line = co_await port.read_line();
    CHECK(*line == "whole");
  };
  io::run(body());
}

TEST_CASE("a device that is unplugged ends the pending read") {
  NEEDS_REAL_KERNEL("a pseudo terminal");
  auto body = []() -> Task<> {
    Wire wire;
    auto opening = open(wire.path);
    auto port = co_await opening;
    horus::Scope scope;
    auto reading = scope.spawn(line_of(port));
    co_await horus::sleep(1ms);
    CHECK_FALSE(reading.done());
    ::close(wire.device);
    wire.device = -1;
    auto ended = co_await reading;
    REQUIRE_FALSE(ended.ok());
    const bool told = ended.code() == EIO || ended.code() == horus::kEndOfStream;
    CHECK(told);
    co_await scope.join();
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}

TEST_CASE("a read that was stopped in time loses nothing") {
  NEEDS_REAL_KERNEL("a pseudo terminal");
  auto body = []() -> Task<> {
    const Wire wire;
    auto opening = open(wire.path);
    auto port = co_await opening;
    REQUIRE(::write(wire.device, "begin", 5) == 5);
    auto late = co_await horus::with_timeout(2ms, line_of(port));
    CHECK(late.code() == ETIMEDOUT);
    REQUIRE(::write(wire.device, " end\n", 5) == 5);
    auto line = co_await port.read_line();
    CHECK(*line == "begin end");
  };
  io::run(body());
  CHECK(horus::live_frames() == 0);
}
