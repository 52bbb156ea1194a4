// SPDX-License-Identifier: Apache-2.0
// What has to be done to a message of one type, step by step: both directions follow the same list. Const once made; any
// thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/codec/cdr_stream.hpp>
#include <horus/msg/codec/ready_messages.hpp>
#include <horus/msg/description.hpp>

namespace horus::HORUS_ABI::msg {

class HORUS_API CdrPlan {
 public:
  enum class Op : std::uint8_t {
    copy,      ///< `bytes` from `offset`
    booleans,  ///< `count` of them
    text,      ///< characters and zeroes in `bytes`
    stamp,     ///< an i64 of nanoseconds
    repeat,    ///< the steps up to `end`, `count` times
    sequence,  ///< a length, and the steps up to `end` so often; the u32 at `count_offset` counts, at most `count`
    tail,       ///< a length, and the steps up to `end` for all that stands behind the struct
    tail_text,  ///< what stands behind the struct
  };
  struct Step {
    Op op;
    std::uint8_t align = 1;
    bool packed = false;       ///< the steps up to `end` are one copy of all values together
    std::uint16_t name = 0;    ///< in names_
    std::uint32_t offset = 0;  ///< from where the innermost repeated value begins
    std::uint32_t bytes = 0;   ///< of a repetition: from one value to the next
    std::uint32_t count = 0;
    std::uint32_t count_offset = 0;
    std::uint32_t unit = 1;   ///< so many values of the wire are one here
    std::uint32_t least = 1;  ///< bytes of one value on the wire, at least
    std::uint32_t end = 0;
  };

  explicit CdrPlan(const Description& description);

  [[nodiscard]] std::uint32_t head_bytes() const noexcept { return head_bytes_; }
  [[nodiscard]] std::uint32_t tail_bytes() const noexcept { return tail_bytes_; }  ///< of one element
  [[nodiscard]] const std::string& ros_name() const noexcept { return ros_name_; }
  [[nodiscard]] const std::vector<Step>& steps() const noexcept { return steps_; }

  void write(CdrWriter& to, const std::byte* head, std::span<const std::byte> tail) const;
  /// `head` is zero and has head_bytes(). False: `from` says where and why.
  bool read(CdrReader& from, std::byte* head, std::vector<std::byte>& tail) const;

 private:
  friend class CdrPlanner;
  void write(CdrWriter& to, std::size_t first, std::size_t last, const std::byte* base,
             std::span<const std::byte> tail) const;
  void write_values(CdrWriter& to, std::size_t at, const std::byte* base, std::size_t count) const;
  bool read(CdrReader& from, std::size_t first, std::size_t last, std::byte* base,
            std::vector<std::byte>& tail) const;
  bool read_step(CdrReader& from, std::size_t at, std::byte* base, std::vector<std::byte>& tail) const;
  bool read_list(CdrReader& from, std::size_t at, std::byte* base) const;
  bool read_tail(CdrReader& from, std::size_t at, std::vector<std::byte>& tail) const;
  bool read_values(CdrReader& from, std::size_t at, std::byte* base, std::size_t count) const;

  std::vector<Step> steps_;
  std::vector<std::string> names_;
  std::string ros_name_;
  std::uint32_t head_bytes_ = 0;
  std::uint32_t tail_bytes_ = 0;
  const ReadyMessage* ready_ = nullptr;  ///< writes and reads instead
};

}  // namespace horus::HORUS_ABI::msg
