// SPDX-License-Identifier: Apache-2.0
// What a visitor of a door asks and is told, as values and as the JSON of a frame. Pure functions; any thread. Internal.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/door/frames.hpp>
#include <horus/msg/inspect.hpp>

namespace horus::HORUS_ABI::msg::door {

inline constexpr std::uint32_t kLowestVersion = 1;
inline constexpr std::uint32_t kHighestVersion = 1;
/// Lists and objects within each other.
inline constexpr int kDeepestText = 32;
inline constexpr std::uint64_t kLeastKept = 1024;
inline constexpr std::uint64_t kMostKept = std::uint64_t{16} << 20;

/// `{"id": 7, "request": "tap", "topic": "imu", "max_bytes": 65536}`
struct Request {
  enum class Kind : std::uint8_t { hello, process, topics, describe, nodes, tasks, act, tap, untap };

  std::uint64_t id = 0;  ///< the answer has the same
  Kind kind = Kind::hello;
  std::uint32_t lowest = kLowestVersion;    ///< hello: versions that the visitor speaks
  std::uint32_t highest = kHighestVersion;  ///< hello
  std::uint64_t after =
      0;  ///< topics: of publishers with higher numbers alone; nodes: without so many of the first
  std::uint64_t publisher = 0;  ///< tap, describe: its number; tap: 0 for the one of `topic`
  std::string topic;            ///< tap
  std::string hub;              ///< tap: of the topic; empty: any
  std::uint64_t max_bytes = std::uint64_t{1} << 20;          ///< tap
  std::uint32_t subscription = 0;                            ///< untap
  inspect::Action action = inspect::Action::emergency_stop;  ///< act
  std::string node;                                          ///< act
};

/// A request that is not one.
struct Refused {
  std::uint64_t id = 0;
  std::string why;
  bool hopeless = false;  ///< it is not JSON: what follows would be nothing either
};

HORUS_API std::variant<Request, Refused> read_request(FrameBytes text);
HORUS_API std::string write_request(const Request& request);

/// An answer, or, with id 0, what the door says by itself.
struct Answer {
  std::uint64_t id = 0;
  std::string error;  ///< why there is no answer
  std::string event;  ///< "missed", "ended": of a subscription; "closing": an `error` says why
  std::optional<std::uint32_t> lowest;   ///< hello
  std::optional<std::uint32_t> highest;  ///< hello
  std::vector<std::string> features;     ///< hello
  std::optional<inspect::Process> process;
  std::optional<std::vector<inspect::Topic>> topics;
  std::optional<inspect::MessageType> type;  ///< describe
  std::optional<std::vector<inspect::Node>> nodes;
  std::optional<std::string> tasks;
  std::optional<std::uint64_t> done;  ///< act: for so many schedulers
  std::uint64_t more_after = 0;       ///< topics, nodes: ask again, with this as `after`; 0: these were all
  std::optional<std::uint32_t> subscription;
  std::optional<std::uint64_t> missed;
};

HORUS_API Result<Answer> read_answer(FrameBytes text);
/// At most kLongestText bytes as long as topics and nodes are chosen with room_for().
HORUS_API std::string write_answer(const Answer& answer);
/// How many bytes one of them takes in an answer, at most.
HORUS_API std::size_t room_for(const inspect::Topic& topic);
HORUS_API std::size_t room_for(const inspect::Node& node);

}  // namespace horus::HORUS_ABI::msg::door
