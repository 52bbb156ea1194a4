// SPDX-License-Identifier: Apache-2.0
// Messages as ROS 2 programs and MCAP files have them: XCDR1, little end first, behind the four bytes 00 01 00 00.
// https://www.omg.org/spec/DDSI-RTPS/2.5 (10.2), https://www.omg.org/spec/DDS-XTYPES/1.3 (7.4.1).
#pragma once

#include <horus/base/compiler.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/description.hpp>

namespace horus::HORUS_ABI {

namespace msg {
class CdrPlan;
}

/// Converts the messages of one type to CDR and back. What has to be done is found out once, from the description: where a
/// message lies in memory as CDR has it, one copy.
///
/// The fields are those of `ros2msg(description)`: ready messages whose fields ROS has in another shape become ROS' own.
/// Thread safety: const functions may be called on several threads at once.
/// Example:
/// ```
/// const horus::Cdr& cdr = horus::cdr_of<Drive>();
/// std::vector<std::byte> bytes(cdr.size(head, tail).or_throw());
/// cdr.write(head, tail, bytes).or_throw();
/// ```
class HORUS_API Cdr {
 public:
  using Bytes = std::span<const std::byte>;
  static constexpr std::size_t kMostTail = std::size_t{1} << 30;  ///< bytes of a tail that `read` makes

  /// Throws Error (kBadInput) when the description contradicts itself.
  explicit Cdr(const Description& description);
  ~Cdr();
  Cdr(Cdr&&) noexcept;
  Cdr& operator=(Cdr&&) noexcept;

  /// Bytes of the message in CDR, its header included. `head` is the struct (empty for a message that is all tail), `tail`
  /// what stands behind it. Errors: EINVAL when a length is none that this type can have.
  [[nodiscard]] Result<std::size_t> size(Bytes head, Bytes tail = {}) const;
  /// Writes the message into `to`, and gives how many bytes. Equal fields give equal bytes: what pads is zero. A count that is
  /// larger than its Sequence stands for all of it; a time that ROS cannot have (before 1901, after 2038) becomes the next one.
  /// Errors: EINVAL as above; ENOBUFS when `to` is too small; what it has then is no message.
  Result<std::size_t> write(Bytes head, Bytes tail, std::span<std::byte> to) const;
  /// Reads a message that may come from anybody. `head` and `tail` get the struct and what stands behind it.
  /// Errors: kBadInput names byte, field and reason: it ends too early, or text or a list is longer than there is room for.
  /// Lists are not believed: memory is taken only for what has arrived.
  Result<> read(Bytes cdr, std::vector<std::byte>& head, std::vector<std::byte>& tail) const;

 private:
  std::unique_ptr<const msg::CdrPlan> plan_;
};

/// The converter of a type; made once.
template <Message T>
const Cdr& cdr_of() {
  static const Cdr cdr(describe<T>());
  return cdr;
}

}  // namespace horus::HORUS_ABI
