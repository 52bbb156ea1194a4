// SPDX-License-Identifier: Apache-2.0
// Serial ports (UARTs, USB adapters, pseudo terminals) as byte streams. One thread. The port owns its descriptor and
// restores the terminal's settings when it is destroyed.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io {

enum class Parity : std::uint8_t { none, even, odd };
enum class FlowControl : std::uint8_t {
  none,
  hardware,  ///< RTS/CTS
  software   ///< XON/XOFF
};

/// Settings of a serial line. Default: 115200 8N1, raw, without flow control.
struct SerialOptions {
  SerialOptions() {}
  explicit SerialOptions(unsigned bits_per_second) : baud(bits_per_second) {}

  /// Bits per second: any number that the hardware can divide, not only the classic ones.
  unsigned baud = 115200;
  int data_bits = 8;  ///< 5 to 8
  Parity parity = Parity::none;
  int stop_bits = 1;  ///< 1 or 2
  FlowControl flow_control = FlowControl::none;
  /// True: bytes pass unchanged. False: the terminal driver handles lines, echo and signals.
  bool raw = true;
  /// No other process except root's may open the port meanwhile (TIOCEXCL).
  bool exclusive = false;

  SerialOptions& with_data_bits(int bits) & { return data_bits = bits, *this; }
  SerialOptions& with_parity(Parity kind) & { return parity = kind, *this; }
  SerialOptions& with_stop_bits(int bits) & { return stop_bits = bits, *this; }
  SerialOptions& with_flow_control(FlowControl kind) & { return flow_control = kind, *this; }
  SerialOptions& with_exclusive() & { return exclusive = true, *this; }
  [[nodiscard]] SerialOptions with_data_bits(int bits) && { return with_data_bits(bits); }
  [[nodiscard]] SerialOptions with_parity(Parity kind) && { return with_parity(kind); }
  [[nodiscard]] SerialOptions with_stop_bits(int bits) && { return with_stop_bits(bits); }
  [[nodiscard]] SerialOptions with_flow_control(FlowControl kind) && { return with_flow_control(kind); }
  [[nodiscard]] SerialOptions with_exclusive() && { return with_exclusive(); }
};

/// An open serial port: a ByteStream (read, read_line, write_all …).
///
/// Semantics: opening does not wait for a carrier. Bytes received before the open are dropped. The former settings
/// are restored when the port is closed, destroyed or assigned to. When the device is unplugged, reads end with an
/// error (EIO) or kEndOfStream.
/// Errors: values with the path. ENOENT, EACCES (is the user in the group dialout?), ENOTTY (no terminal), EBUSY
/// (another process has opened it exclusively), EINVAL (an option that does not exist; a speed that the driver
/// refuses).
/// Thread safety: one thread.
/// Example: `auto gps = co_await horus::io::SerialPort::open("/dev/ttyUSB0", horus::io::SerialOptions(9600));`
/// Source: termios(3), ioctl_tty(2).
class HORUS_API SerialPort : public ByteStream {
 public:
  static Task<Result<SerialPort>> open(std::string path, SerialOptions options = SerialOptions());

  SerialPort() noexcept = default;
  SerialPort(SerialPort&& other) noexcept = default;
  SerialPort& operator=(SerialPort&& other) noexcept;
  ~SerialPort() { restore(); }

  /// Drops bytes that the driver has received; bytes that this stream has already read stay.
  Result<> discard_input();
  /// The speed that the driver has set, in bits per second. A converter may round it.
  [[nodiscard]] Result<unsigned> baud() const;

  [[nodiscard]] Task<Result<>> close();
  void reset() noexcept;

 private:
  // A kernel struct termios2, whose header cannot be included beside <termios.h>.
  struct Settings {
    alignas(8) std::array<std::byte, 64> bytes{};
  };
  SerialPort(Descriptor descriptor, const std::string& path, const Settings& before);
  void restore() noexcept;

  Settings before_;
};

}  // namespace horus::HORUS_ABI::io
