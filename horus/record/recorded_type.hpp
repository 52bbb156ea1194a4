// SPDX-License-Identifier: Apache-2.0
// What a channel of a recording says about the type of its messages, and how they become what they were in memory. Internal;
// one thread at a time.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <horus/bag/contents.hpp>
#include <horus/base/export.hpp>
#include <horus/base/log.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/cdr.hpp>
#include <horus/msg/description.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/session/port.hpp>
#include <horus/record/field_map.hpp>
#include <horus/record/recording.hpp>

namespace horus::HORUS_ABI::record {

enum class Coding : std::uint8_t {
  cdr,
  json,
  bytes,  ///< as it was in memory
};

/// The type of a channel's messages.
struct RecordedType {
  std::string name;  ///< for people
  Coding coding = Coding::bytes;
  Layout layout;  ///< in memory; of JSON that of Python's data
  /// Of CDR, and of nothing else.
  std::shared_ptr<const Description> description;
};

/// What a recording keeps of a type beyond its schema, so that it can be published again.
void keep_type(const Layout& layout, const Description* description, bag::Properties& metadata);

/// From what keep_type() kept; for a recording of others, one of the ready messages whose ROS definition is the recorded one.
/// Errors: ENOTSUP says what is not known; kBadInput when the metadata is damaged.
HORUS_API Result<RecordedType> recorded_type(const bag::Channel& channel, const bag::Schema* schema);

/// A publisher's port for messages::Clock, and one message of it. Here, where the ready messages are known.
std::shared_ptr<msg::Port> clock_port(std::string topic);
void send_clock(const msg::Port& port, std::int64_t ns);

/// The type of what a recording itself has to say.
struct OwnType {
  const Description& description;
  const Layout& layout;
};
/// A line of a log, as ROS has it on "rosout", and one of them in CDR.
OwnType log_type();
void write_log(std::vector<std::byte>& cdr, LogLevel level, std::int64_t stamp_ns, std::string_view text);

/// How parts of the robot are, as ROS has it on "diagnostics". What is too long is cut off.
OwnType diagnostics_type();
void write_diagnostics(std::vector<std::byte>& cdr, std::int64_t stamp_ns,
                       const std::vector<Diagnostic>& parts);

/// Turns recorded messages of one channel into a head and a tail in memory.
class HORUS_API Decoder {
 public:
  using Bytes = std::span<const std::byte>;

  /// What a program wants them to be.
  struct Wanted {
    const Description& description;
    const Layout& layout;
    Bytes blank_head = {};     ///< the struct's defaults
    Bytes blank_element = {};  ///< the tail's
    bool strict = false;       ///< nothing but the same layout
  };

  /// As they were published.
  explicit Decoder(RecordedType type);
  /// As a program wants them. Errors: kTypeMismatch with the topic, both types and the first field that differs; those of
  /// recorded_type().
  static Result<Decoder> make(const bag::Channel& channel, const bag::Schema* schema, const Wanted& wanted);

  /// Errors: kBadInput.
  Result<> read(Bytes message, std::vector<std::byte>& head, std::vector<std::byte>& tail);

 private:
  Decoder() = default;
  Result<> split(Bytes message, std::vector<std::byte>& head, std::vector<std::byte>& tail) const;

  Coding coding_ = Coding::bytes;
  Layout layout_;
  std::optional<Cdr> cdr_;
  std::optional<FieldMap> map_;
  const Description* json_ = nullptr;  // whose fields JSON has
  std::vector<std::byte> old_head_;
  std::vector<std::byte> old_tail_;
};

}  // namespace horus::HORUS_ABI::record
