// SPDX-License-Identifier: Apache-2.0
// `horus bag cat`, and `horus bag convert` into text: messages as lines of JSON, or as a table.
#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include <sys/stat.h>

#include <fmt/format.h>

#include <horus/bag/edit/distinct.hpp>
#include <horus/cli/bag_command.hpp>
#include <horus/cli/bag_text.hpp>
#include <horus/cli/csv.hpp>
#include <horus/cli/json.hpp>
#include <horus/cli/message_json.hpp>

namespace horus::cli {
namespace {

// Standard output, or a new file that is removed unless it gets whole.
class TextFile {
 public:
  TextFile() : file_(stdout) {}
  TextFile(std::FILE* file, std::string path) : file_(file), path_(std::move(path)) {}
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  ~TextFile() {
    if (path_.empty() || file_ == nullptr) return;
    const bool removes = is_regular();
    std::fclose(file_);
    if (removes) std::remove(path_.c_str());
  }

  static std::unique_ptr<TextFile> create(const std::string& path, bool overwrite) {
    std::FILE* file = std::fopen(path.c_str(), overwrite ? "wbe" : "wbxe");
    return file == nullptr ? nullptr : std::make_unique<TextFile>(file, path);
  }

  bool write(std::string_view text) {
    if (std::fwrite(text.data(), 1, text.size(), file_) == text.size()) return true;
    return complain_of_it();
  }
  // All of it is there.
  bool keep() {
    if (std::fflush(file_) != 0) return complain_of_it();
    if (!path_.empty()) std::fclose(std::exchange(file_, nullptr));
    return true;
  }

 private:
  bool complain_of_it() const {
    complain(Error(errno, "write", path_.empty() ? "standard output" : path_));
    return false;
  }
  // And no device, which somebody else needs.
  [[nodiscard]] bool is_regular() const {
    struct stat status{};
    return ::fstat(::fileno(file_), &status) == 0 && S_ISREG(status.st_mode);
  }

  std::FILE* file_;
  std::string path_;  // empty: standard output
};

// Both give false when nothing more can be written, or the messages are none for a table.
Task<bool> write_lines(ChosenMessages& messages, MessageJson& json, Complaints& complaints, TextFile& to,
                       std::uint64_t& count) {
  while (true) {
    const auto message = co_await messages.next();
    if (!message) break;
    const bag::Channel& channel = messages.channel(*message);
    const auto shown = json.show(*message);
    complaints.tell(shown, *message, channel);
    if (!to.write(to_line(*message, channel, shown))) co_return false;
    ++count;
  }
  co_return true;
}

Task<bool> write_table(ChosenMessages& messages, MessageJson& json, Complaints& complaints, TextFile& to,
                       std::size_t list_columns, std::uint64_t& count) {
  CsvColumns columns(list_columns);
  while (true) {
    const auto message = co_await messages.next();
    if (!message) break;
    const auto shown = json.show(*message);
    if (shown.outcome != MessageJson::Outcome::json) continue;
    if (auto learnt = columns.learn(shown.text); !learnt) {
      complain(learnt.error());
      co_return false;
    }
  }
  if (!to.write("log_ns,publish_ns,seconds" + columns.names() + '\n')) co_return false;
  messages.restart();
  const std::uint64_t first_ns = messages.contents().statistics.first_ns;
  while (true) {
    const auto message = co_await messages.next();
    if (!message) break;
    auto shown = json.show(*message);
    if (shown.outcome == MessageJson::Outcome::bytes)
      shown = {MessageJson::Outcome::no_schema, "they are neither CDR nor JSON"};
    complaints.tell(shown, *message, messages.channel(*message));
    if (shown.outcome != MessageJson::Outcome::json) continue;
    const std::uint64_t since = message->log_ns - std::min(first_ns, message->log_ns);
    if (!to.write(fmt::format("{},{},{}.{:09}{}\n", message->log_ns, message->publish_ns,
                              since / kNsPerSecond, since % kNsPerSecond, columns.cells(shown.text))))
      co_return false;
    ++count;
  }
  co_return true;
}

Task<int> write_text(const BagArguments& arguments, bool is_table) {
  auto messages = co_await ChosenMessages::open(arguments.files[0], arguments);
  if (!messages) co_return complain(messages.error());
  if (const auto missing = missing_topic(arguments, messages->contents(), messages->name());
      !missing.empty()) {
    fmt::print(stderr, "horus: {}\n", missing);
    co_return 2;
  }
  const auto topics = messages->topics();
  if (is_table && topics.size() != 1) {
    fmt::print(stderr, "horus: a table is of one topic, and {} are chosen: choose one with -t\n",
               topics.size());
    for (const std::string& topic : topics) fmt::print(stderr, "  {}\n", printable(topic));
    co_return 2;
  }
  auto to = std::make_unique<TextFile>();
  if (!arguments.out.empty()) {
    const auto distinct = co_await bag::check_distinct(arguments.files[0], arguments.out);
    if (!distinct) co_return complain(distinct.error());
    to = TextFile::create(arguments.out, arguments.overwrite);
    if (to == nullptr) {
      const Error error(errno, "create", arguments.out);
      co_return complain(errno == EEXIST ? error.with_detail("(--overwrite replaces it)") : error);
    }
  }
  MessageJson json(messages->contents());
  Complaints complaints(messages->name());
  std::uint64_t count = 0;
  auto writing = is_table ? write_table(*messages, json, complaints, *to, arguments.list_columns, count)
                          : write_lines(*messages, json, complaints, *to, count);
  const bool done = co_await writing;
  complaints.finish();
  if (!done || !to->keep()) co_return 1;
  if (!arguments.out.empty()) put(fmt::format("{} messages of {} topics\n", count, topics.size()));
  co_return messages->damaged() || complaints.damaged() ? 1 : 0;
}

}  // namespace

Task<int> cat_bag(const BagArguments& arguments) { return write_text(arguments, arguments.format == "csv"); }

std::string converted_to(const BagArguments& arguments) {
  const std::string& out = arguments.out;
  if (!arguments.format.empty()) return arguments.format;
  return out.ends_with(".csv")                                 ? "csv"
         : out.ends_with(".ndjson") || out.ends_with(".jsonl") ? "ndjson"
                                                               : "mcap";
}

Task<int> convert_bag(const BagArguments& arguments) {
  const std::string format = converted_to(arguments);
  return format == "mcap" ? copy_bag(arguments) : write_text(arguments, format == "csv");
}

}  // namespace horus::cli
