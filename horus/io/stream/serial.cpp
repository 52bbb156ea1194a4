// SPDX-License-Identifier: Apache-2.0
// termios2 rather than termios: it takes any speed as a number. Its header excludes <termios.h>.
#include <horus/io/serial.hpp>

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/ioctl.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/loop/awaiter.hpp>
#include <horus/io/reactor.hpp>

#include <asm/termbits.h>

namespace horus::HORUS_ABI::io {
namespace {

struct OpenTerminal : OperationAwaiter<OpenTerminal> {
  static constexpr const char* kName = "open";
  explicit OpenTerminal(const std::string& path) noexcept : path_(path) {}
  void prepare(io_uring_sqe& entry) const noexcept {
    // O_NONBLOCK: not waiting for a carrier. O_NOCTTY: the line's hang-up and Ctrl-C are not ours.
    fill::open(entry, AT_FDCWD, path_.c_str(), O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0);
  }
  [[nodiscard]] int await_resume() const noexcept {
    if (result < 0) return result;
    const int fd = above_standard(result);
    return fd < 0 ? -errno : fd;
  }

 private:
  const std::string& path_;  // the caller's, in its frame
};

// ≥ 0, or -errno. Nothing when the reactor is gone: the port has died with it.
int control(int fd, unsigned long request, void* argument = nullptr) noexcept {
  Reactor* reactor = Reactor::current();
  return reactor != nullptr ? reactor->system().control_device(fd, request, argument) : -EBADF;
}

Error refuse(const std::string& path, std::string_view why) {
  return Error(EINVAL, "open", fmt::format("{} ({})", path, why));
}

// The settings that `options` ask for, made from those of before.
Result<termios2> settings_for(const SerialOptions& options, termios2 settings, const std::string& path) {
  static constexpr tcflag_t kSizes[] = {CS5, CS6, CS7, CS8};
  if (options.data_bits < 5 || options.data_bits > 8) return refuse(path, "data bits are 5 to 8");
  if (options.stop_bits != 1 && options.stop_bits != 2) return refuse(path, "stop bits are 1 or 2");
  if (options.baud == 0) return refuse(path, "a speed of 0 hangs up");

  if (options.raw) {  // cfmakeraw(3)
    settings.c_iflag &= ~static_cast<tcflag_t>(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL);
    settings.c_oflag &= ~static_cast<tcflag_t>(OPOST);
    settings.c_lflag &= ~static_cast<tcflag_t>(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    settings.c_cc[VMIN] = 1;
    settings.c_cc[VTIME] = 0;
  }
  settings.c_iflag &= ~static_cast<tcflag_t>(IXON | IXOFF | IXANY | INPCK);
  if (options.flow_control == FlowControl::software) settings.c_iflag |= IXON | IXOFF;
  if (options.parity != Parity::none) settings.c_iflag |= INPCK;

  settings.c_cflag &=
      ~static_cast<tcflag_t>(CSIZE | CSTOPB | PARENB | PARODD | CRTSCTS | CBAUD | CBAUD << IBSHIFT);
  settings.c_cflag |= CREAD | CLOCAL | BOTHER | BOTHER << IBSHIFT | kSizes[options.data_bits - 5];
  if (options.stop_bits == 2) settings.c_cflag |= CSTOPB;
  if (options.parity != Parity::none) settings.c_cflag |= PARENB;
  if (options.parity == Parity::odd) settings.c_cflag |= PARODD;
  if (options.flow_control == FlowControl::hardware) settings.c_cflag |= CRTSCTS;
  settings.c_ispeed = options.baud;
  settings.c_ospeed = options.baud;
  return settings;
}

}  // namespace

Task<Result<SerialPort>> SerialPort::open(std::string path, SerialOptions options) {
  const int fd = co_await OpenTerminal(path);
  if (fd < 0) co_return Error(-fd, "open", path);
  Descriptor descriptor(fd);
  termios2 before{};
  if (const int result = control(fd, TCGETS2, &before); result < 0) co_return Error(-result, "open", path);
  const auto wanted = settings_for(options, before, path);
  if (!wanted) co_return wanted.error();
  if (options.exclusive) {
    if (const int result = control(fd, TIOCEXCL); result < 0) co_return Error(-result, "open", path);
  }
  static_assert(sizeof before <= sizeof(Settings::bytes));
  Settings saved;
  std::memcpy(saved.bytes.data(), &before, sizeof before);
  SerialPort port(std::move(descriptor), path, saved);  // from here on it restores
  termios2 settings = *wanted;
  if (const int result = control(fd, TCSETS2, &settings); result < 0)
    co_return Error(-result, "set up", path);
  // The driver takes what it can and says nothing: ask what it took.
  termios2 taken{};
  if (const int result = control(fd, TCGETS2, &taken); result < 0) co_return Error(-result, "set up", path);
  constexpr tcflag_t kChecked = CSIZE | CSTOPB | PARENB | PARODD | CRTSCTS;
  if ((taken.c_cflag & kChecked) != (settings.c_cflag & kChecked)) {
    co_return refuse(path, "the driver does not take these data bits, parity, stop bits or flow control");
  }
  auto discarded = port.discard_input();
  if (!discarded) co_return discarded.error();
  co_return std::move(port);
}

// Shared: the descriptor stays non-blocking, so operations poll first.
SerialPort::SerialPort(Descriptor descriptor, const std::string& path, const Settings& before)
    : ByteStream(std::move(descriptor), path, Ownership::shared), before_(before) {}

SerialPort& SerialPort::operator=(SerialPort&& other) noexcept {
  if (this != &other) {
    restore();
    before_ = other.before_;
    ByteStream::operator=(std::move(other));
  }
  return *this;
}

void SerialPort::restore() noexcept {
  if (!is_open()) return;
  termios2 before;
  std::memcpy(&before, before_.bytes.data(), sizeof before);
  static_cast<void>(control(fd(), TCSETS2, &before));
  static_cast<void>(control(fd(), TIOCNXCL));
}

Result<> SerialPort::discard_input() {
  // TCFLSH takes its argument by value.
  const int result = control(fd(), TCFLSH, reinterpret_cast<void*>(std::uintptr_t{TCIFLUSH}));
  if (result < 0) return Error(-result, "discard the input of", name());
  return {};
}

Result<unsigned> SerialPort::baud() const {
  termios2 settings{};
  const int result = control(fd(), TCGETS2, &settings);
  if (result < 0) return Error(-result, "read the speed of", name());
  return settings.c_ospeed;
}

Task<Result<>> SerialPort::close() {
  restore();
  return ByteStream::close();
}

void SerialPort::reset() noexcept {
  restore();
  ByteStream::reset();
}

}  // namespace horus::HORUS_ABI::io
