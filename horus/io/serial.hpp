// SPDX-License-Identifier: Apache-2.0
// Serial ports (UARTs, USB adapters, pseudo terminals) as byte streams. One thread; the port owns its descriptor and
// puts the terminal's settings back when it dies.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/task/task.hpp>

namespace horus::io {

enum class Parity : std::uint8_t { none, even, odd };
enum class FlowControl : std::uint8_t {
  none,
  hardware,
  software
};  ///< hardware: RTS/CTS; software: XON/XOFF

/// How a serial line is spoken. Default: 115200 8N1, raw, without flow control.
struct SerialOptions {
  SerialOptions() {}
  explicit SerialOptions(unsigned bits_per_second) : baud(bits_per_second) {}

  unsigned baud =
      115200;         ///< bits per second; any number that the hardware can divide, not only the classic ones
  int data_bits = 8;  ///< 5 to 8
  Parity parity = Parity::none;
  int stop_bits = 1;  ///< 1 or 2
  FlowControl flow_control = FlowControl::none;
  bool raw = true;  ///< bytes as they are; false: lines, echo and signals as the terminal driver makes them
  bool exclusive = false;  ///< nobody else may open it meanwhile (TIOCEXCL; root may)

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
/// Semantics: opening does not wait for a carrier. What was received before the open is dropped. The settings of before
/// come back when the port is closed, destroyed or assigned to. A device that is unplugged ends reads with an error
/// (EIO) or kEndOfStream.
/// Errors: values with the path. ENOENT, EACCES (is the user in the group dialout?), ENOTTY (no terminal), EBUSY (opened
/// exclusively by somebody else), EINVAL (an option that does not exist; a speed that the driver refuses).
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

  /// Drops what was received and not yet read; bytes that this stream holds already stay.
  Result<> discard_input();
  /// The speed that the driver has set, in bits per second. A converter may round.
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

}  // namespace horus::io
