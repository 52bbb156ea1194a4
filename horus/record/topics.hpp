// SPDX-License-Identifier: Apache-2.0
// All that the publishers of this process send, in the order in which it was sent, as a recording has it. Internal; one
// thread at a time.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <horus/bag/records.hpp>
#include <horus/base/quiet_log.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/cdr.hpp>
#include <horus/msg/tap.hpp>
#include <horus/record/log_lines.hpp>
#include <horus/record/recorded_type.hpp>
#include <horus/record/recording.hpp>

namespace horus::HORUS_ABI::record {

/// Whether one of the patterns fits; `*` in a pattern stands for any characters, none too.
[[nodiscard]] bool fits(std::string_view name, const std::vector<std::string>& patterns) noexcept;

/// What a recording says about a topic: how its messages are encoded, and by which schema.
struct ChannelText {
  std::string topic;
  std::string
      encoding;  ///< "cdr"; "json" for data of Python; "application/octet-stream" where nobody described the type
  std::string schema_name;
  std::string schema_encoding;  ///< "ros2msg", "jsonschema"; empty: no schema
  std::string schema;
  bag::Properties metadata;
};

/// Where messages go. `channel` gives the number of a channel, or an error: then the topic is left out.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual Result<std::uint16_t> channel(const ChannelText& text) = 0;
  virtual void message(const bag::Message& message) = 0;
  /// So many messages of a channel came faster than they were taken, or cannot be read.
  virtual void lost(std::uint16_t channel, std::uint64_t messages) = 0;
};

/// The taps of a recording.
class Topics {
 public:
  /// `topics` and `left_out` are patterns; no `topics`: all. `clock_offset_ns` makes the recording's times of those of the
  /// monotonic clock.
  Topics(std::vector<std::string> topics, std::vector<std::string> left_out, std::int64_t clock_offset_ns);

  /// Hands up to `most` messages over, those that were published first before the others. Gives how many.
  std::size_t pump(Sink& sink, std::size_t most);
  /// A message of topic "diagnostics", where that is wanted.
  void add_diagnostics(Sink& sink, std::int64_t now_ns, const std::vector<Diagnostic>& parts);
  /// Closes the taps: nothing more comes.
  void close() noexcept;

 private:
  struct Source {
    Tap tap;
    std::uint16_t channel = 0;
    std::optional<Cdr> cdr;
    const Tap::Message* next = nullptr;  // taken, and not handed over yet
    std::uint64_t missed = 0;            // messages that the sink was told of
    explicit Source(Tap from) : tap(std::move(from)) {}
  };
  // A topic that no publisher has: the recording makes its messages, and CDR of them lies in bytes_.
  struct OwnTopic {
    const char* name;
    OwnType (*type)();
    bool wanted = true;
    std::optional<std::uint16_t> channel;
    std::uint32_t sequence = 0;
  };
  bool open(Sink& sink, OwnTopic& topic);

  using Key = std::tuple<std::string, std::string, std::uint64_t>;  // topic, hub, layout

  void adopt(Sink& sink);
  void leave_out(const Error& problem);
  void hand_over(Sink& sink, Source& source);
  void look(Sink& sink);
  void hand_over_log(Sink& sink);
  void add_own(Sink& sink, OwnTopic& topic, std::int64_t at_ns);
  static void tell_missed(Sink& sink, Source& source);
  static bool is_later(const Source* a, const Source* b) noexcept;

  const std::int64_t clock_offset_ns_;
  std::optional<TapFeed> feed_;
  std::optional<LogLines> log_;
  OwnTopic rosout_{"rosout", &log_type, true, std::nullopt, 0};
  OwnTopic diagnostics_{"diagnostics", &diagnostics_type, true, std::nullopt, 0};
  std::vector<std::unique_ptr<Source>> sources_;
  std::vector<Source*> ready_;  // a heap: on top what was published first
  std::map<Key, std::uint16_t> channels_;
  std::uint64_t last_ns_ = 0;
  std::vector<std::byte> bytes_;
  detail::QuietLog warnings_;
};

}  // namespace horus::HORUS_ABI::record
