// SPDX-License-Identifier: Apache-2.0
// The messages of a recording as JSON, whatever their encoding is. The main thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include <horus/bag/contents.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/ros_definition.hpp>

namespace horus::cli {

/// Reads messages by the schemas of their recording, each of which is read once.
class MessageJson {
 public:
  enum class Outcome : std::uint8_t {
    json,
    bytes,      ///< nobody can tell what they mean
    no_schema,  ///< its schema is not understood: `text` says why
    damaged,    ///< they are not what the schema says: `text` says where and why
  };
  struct Shown {
    Outcome outcome;
    std::string text;  ///< one line of JSON, or why there is none
  };

  /// `contents` must live as long.
  explicit MessageJson(const bag::Contents& contents) : contents_(contents) {}

  Shown show(const bag::Message& message);

 private:
  const Result<RosDefinition>& definition(const bag::Channel& channel);

  const bag::Contents& contents_;
  std::map<std::uint16_t, Result<RosDefinition>> definitions_;  // by the schema's id
};

/// Says on standard error why messages are not shown as JSON: of each topic once that its schema is not understood, and of the
/// first few what is wrong with their bytes.
class Complaints {
 public:
  explicit Complaints(std::string file) : file_(std::move(file)) {}
  /// Says how many more there were.
  void finish();

  void tell(const MessageJson::Shown& shown, const bag::Message& message, const bag::Channel& channel);
  /// There were messages that are not what their schema says.
  [[nodiscard]] bool damaged() const noexcept { return damages_ > 0; }

 private:
  std::string file_;
  std::set<std::string> told_;
  std::uint64_t damages_ = 0;
};

}  // namespace horus::cli
