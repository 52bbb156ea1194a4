// SPDX-License-Identifier: Apache-2.0
// What the verbs of `horus bag` share: what they may be told, and how messages are chosen and complained about. The main
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <horus/bag/reader.hpp>
#include <horus/base/error.hpp>
#include <horus/task/task.hpp>

namespace horus::cli {

inline constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
inline constexpr std::size_t kListColumns = 2048;  ///< of one list in CSV

/// What all verbs may be told.
struct BagArguments {
  std::vector<std::string> files;
  std::string out;
  bool overwrite = false;
  bool json = false;
  bool scan = false;
  bool in_place = false;
  std::vector<std::string> topics;
  std::string regex;
  std::string exclude;
  std::string start;
  std::string end;
  std::optional<std::uint64_t> limit;
  std::string compression = "zstd";
  int level = 1;
  std::size_t chunk_bytes = bag::kChunkBytes;
  std::string format;
  std::size_t list_columns = kListColumns;
  bool ignore_times = false;
  double tolerance = 0;
  std::vector<std::string> ignored;  ///< regular expressions for paths of fields
};

/// On standard error; gives 1.
int complain(const Error& error);
/// False: it could not be written, and standard error says so.
bool put(std::string_view text);

/// "12.5": seconds after the first message. "@1764000000.5": seconds since 1970. Throws CLI::ValidationError.
std::uint64_t time_of(const std::string& text, std::uint64_t first_ns);
/// Throws CLI::ValidationError, or std::regex_error.
bag::Selection selection_of(const BagArguments& arguments, std::uint64_t first_ns);
/// Throws CLI::ValidationError for arguments that cannot be.
void check_selection(const BagArguments& arguments);

/// The chosen messages of one recording. What is damaged is told on standard error, and left out.
class ChosenMessages {
 public:
  /// 2 when a topic is named that the recording does not have.
  [[nodiscard]] static Task<Result<ChosenMessages>> open(std::string path, const BagArguments& arguments);

  /// Nothing: that was the last one.
  [[nodiscard]] Task<std::optional<bag::Message>> next();
  /// From the first one again.
  void restart();
  /// The same with one topic only.
  void restart(std::string topic);

  /// The chosen topics.
  [[nodiscard]] std::vector<std::string> topics() const;
  [[nodiscard]] const bag::Contents& contents() const noexcept { return reader_.contents(); }
  [[nodiscard]] const std::string& name() const noexcept { return reader_.name(); }
  [[nodiscard]] const bag::Channel& channel(const bag::Message& message) const {
    return contents().channels.at(message.channel);
  }
  /// Something was damaged.
  [[nodiscard]] bool damaged() const noexcept { return damaged_; }

 private:
  ChosenMessages(bag::Reader reader, const BagArguments& arguments);

  bag::Reader reader_;
  bag::Selection selection_;
  std::uint64_t limit_;
  std::uint64_t given_ = 0;
  bool damaged_ = false;
  bool told_ = false;  // of what is damaged
};

/// "horus: run.mcap has no topic /nope (it has: /imu, /scan)", when arguments name such; empty otherwise.
std::string missing_topic(const BagArguments& arguments, const bag::Contents& contents,
                          const std::string& name);

/// "mcap", "ndjson" or "csv": as --format says, or the name of the new file.
std::string converted_to(const BagArguments& arguments);

// The verbs; they give the exit code.
[[nodiscard]] Task<int> cat_bag(const BagArguments& arguments);
[[nodiscard]] Task<int> convert_bag(const BagArguments& arguments);
[[nodiscard]] Task<int> copy_bag(const BagArguments& arguments);
[[nodiscard]] Task<int> diff_bags(const BagArguments& arguments);

}  // namespace horus::cli
