// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/bag.hpp>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <memory>
#include <regex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/bag/edit.hpp>
#include <horus/bag/reader.hpp>
#include <horus/cli/bag_text.hpp>
#include <horus/cli/json.hpp>
#include <horus/io/reactor.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

constexpr double kSecond_ns = 1e9;

// What all commands may be told.
struct Arguments {
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
  std::uint64_t limit = 0;
  std::string compression = "zstd";
  int level = 1;
  std::size_t chunk_bytes = bag::kChunkBytes;
};

int complain(const Error& error) {
  fmt::print(stderr, "horus: {}\n", printable(error.message()));
  return 1;
}

bool put(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return true;
  std::perror("horus: standard output");
  return false;
}

// "12.5": seconds after the first message. "@1764000000.5": seconds since 1970.
std::uint64_t time_of(const std::string& text, std::uint64_t first_ns) {
  const bool absolute = text.starts_with('@');
  double seconds = 0;
  const char* begin = text.data() + (absolute ? 1 : 0);
  const auto [rest, problem] = std::from_chars(begin, text.data() + text.size(), seconds);
  if (problem != std::errc() || rest != text.data() + text.size() || !(seconds >= 0) || seconds > 1e10) {
    throw CLI::ValidationError(
        fmt::format("{}: a time is seconds after the first message, or @ and seconds since 1970", text));
  }
  const double whole = std::floor(seconds);
  const auto ns = static_cast<std::uint64_t>(whole) * 1'000'000'000 +
                  static_cast<std::uint64_t>(std::llround((seconds - whole) * kSecond_ns));
  return absolute ? ns : first_ns + std::min(ns, std::numeric_limits<std::uint64_t>::max() - first_ns);
}

bag::Selection selection_of(const Arguments& arguments, std::uint64_t first_ns) {
  bag::Selection selection;
  if (!arguments.start.empty()) selection.first_ns = time_of(arguments.start, first_ns);
  if (!arguments.end.empty()) selection.last_ns = time_of(arguments.end, first_ns);
  if (arguments.topics.empty() && arguments.regex.empty() && arguments.exclude.empty()) return selection;
  const std::regex wanted(arguments.regex);
  const std::regex unwanted(arguments.exclude);
  selection.channel = [arguments, wanted, unwanted](const bag::Channel& channel) {
    bool chosen = arguments.topics.empty() && arguments.regex.empty();
    for (const std::string& topic : arguments.topics) chosen = chosen || topic == channel.topic;
    if (!arguments.regex.empty()) chosen = chosen || std::regex_search(channel.topic, wanted);
    return chosen && (arguments.exclude.empty() || !std::regex_search(channel.topic, unwanted));
  };
  return selection;
}

// Bad ones are told before anything is done.
void check(const Arguments& arguments) {
  try {
    static_cast<void>(selection_of(arguments, 0));
  } catch (const std::regex_error& error) {
    throw CLI::ValidationError(fmt::format("{}{}: this is no regular expression ({})", arguments.regex,
                                           arguments.exclude, error.what()));
  }
}

Task<int> info(const Arguments& arguments) {
  bag::ReaderOptions options;
  options.ignore_index = arguments.scan;
  const auto reader = co_await bag::Reader::open(arguments.files[0], options);
  if (!reader) co_return complain(reader.error());
  const bag::Contents& contents = reader->contents();
  if (!put(arguments.json ? to_json(contents, reader->name()) : to_text(contents, reader->name())))
    co_return 1;
  co_return contents.damages.empty() ? 0 : 1;
}

Task<int> cat(const Arguments& arguments) {
  auto reader = co_await bag::Reader::open(arguments.files[0]);
  if (!reader) co_return complain(reader.error());
  const bag::Contents& contents = reader->contents();
  int outcome = 0;
  for (const bag::Damage& damage : contents.damages) {
    fmt::print(stderr, "horus: {} at byte {}: {}\n", printable(reader->name()), damage.offset, damage.reason);
    outcome = 1;
  }
  reader->select(selection_of(arguments, contents.statistics.first_ns));
  for (std::uint64_t count = 0; arguments.limit == 0 || count < arguments.limit;) {
    const auto message = co_await reader->next();
    if (!message) {
      if (message.error().end_of_stream()) break;
      outcome = complain(message.error());
      if (message.code() != kBadInput) break;
      continue;
    }
    if (!put(to_line(*message, contents.channels.at(message->channel)))) co_return 1;
    ++count;
  }
  co_return outcome;
}

Task<int> recover(const Arguments& arguments) {
  const std::string& file = arguments.files[0];
  auto recovering = arguments.in_place ? bag::recover_in_place(file)
                                       : bag::recover(file, arguments.out, arguments.overwrite);
  const auto recovery = co_await recovering;
  if (!recovery) co_return complain(recovery.error());
  for (const bag::Damage& damage : recovery->damages)
    fmt::print(stderr, "{} at byte {}: {}\n", printable(file), damage.offset, damage.reason);
  const bool unchanged = arguments.in_place && recovery->was_whole;
  put(fmt::format("{} messages in {} chunks{}; {} bytes at the end were dropped\n", recovery->messages,
                  recovery->chunks, unchanged ? ", nothing to do" : "", recovery->dropped_bytes));
  co_return 0;
}

Task<int> copy(const Arguments& arguments) {
  bag::CopyOptions options;
  options.overwrite = arguments.overwrite;
  options.writer.compression =
      arguments.compression == "none" ? bag::Compression::none : bag::Compression::zstd;
  options.writer.level = arguments.level;
  options.writer.chunk_bytes = arguments.chunk_bytes;
  std::uint64_t first_ns = 0;
  if (!arguments.start.empty() || !arguments.end.empty()) {
    const auto reader = co_await bag::Reader::open(arguments.files[0]);
    if (!reader) co_return complain(reader.error());
    first_ns = reader->contents().statistics.first_ns;
  }
  options.selection = selection_of(arguments, first_ns);
  const auto copied = co_await bag::copy(arguments.files, arguments.out, options);
  if (!copied) co_return complain(copied.error());
  for (const std::string& error : copied->errors)
    fmt::print(stderr, "horus: left out: {}\n", printable(error));
  if (copied->more_errors > 0) fmt::print(stderr, "horus: left out: {} more\n", copied->more_errors);
  put(fmt::format("{} messages of {} channels\n", copied->messages, copied->channels));
  co_return copied->errors.empty() ? 0 : 1;
}

using Command = Task<int>(const Arguments&);

int run(Command* command, const Arguments& arguments) {
  auto running = command(arguments);
  const int outcome = io::run(std::move(running));
  if (std::fflush(stdout) == 0) return outcome;
  std::perror("horus: standard output");
  return 1;
}

class Commands {
 public:
  Commands(CLI::App& bag, std::function<int()>& action)
      : bag_(bag), action_(action), arguments_(std::make_shared<Arguments>()) {}

  CLI::App& add(const char* name, const char* text, Command* command) {
    CLI::App* made = bag_.add_subcommand(name, text);
    made->callback([command, &action = action_, arguments = arguments_] {
      check(*arguments);
      action = [command, arguments] { return run(command, *arguments); };
    });
    return *made;
  }
  void with_file(CLI::App& command) {
    command.add_option("FILE", arguments_->files, "The recording")->required()->expected(1);
  }
  void with_output(CLI::App& command, bool required) {
    CLI::Option* out = command.add_option("-o,--output", arguments_->out, "The new recording");
    if (required) out->required();
    command.add_flag("--overwrite", arguments_->overwrite, "Replace the new recording where it exists");
  }
  void with_selection(CLI::App& command) {
    command.add_option("-t,--topic", arguments_->topics, "Only this topic; may be repeated")
        ->allow_extra_args(false);
    command.add_option("--regex", arguments_->regex, "And topics in which this regular expression is found");
    command.add_option("--exclude-regex", arguments_->exclude, "But not topics in which this one is found");
    command.add_option("--start", arguments_->start,
                       "From this time: seconds after the first message, or @ and seconds since 1970");
    command.add_option("--end", arguments_->end, "Up to this time");
  }
  Arguments& arguments() { return *arguments_; }

 private:
  CLI::App& bag_;
  std::function<int()>& action_;
  std::shared_ptr<Arguments> arguments_;
};

}  // namespace

void add_bag(CLI::App& app, std::function<int()>& action) {
  CLI::App* bag = app.add_subcommand("bag", "Look at recordings (MCAP files), and work on them");
  bag->require_subcommand(1);
  bag->footer(
      "Exit code: 0; 1 when a file cannot be read or something in it is damaged; 2 for wrong arguments.");
  Commands commands(*bag, action);
  Arguments& given = commands.arguments();

  CLI::App& show = commands.add("info", "What is in a recording", info);
  commands.with_file(show);
  show.add_flag("--json", given.json, "The same as JSON");
  show.add_flag("--scan", given.scan, "Read the whole file and check it, although it has an index");

  CLI::App& print = commands.add("cat", "Print messages, each as one line of JSON", cat);
  commands.with_file(print);
  commands.with_selection(print);
  print.add_option("--limit", given.limit, "At most so many messages");

  CLI::App& rescue =
      commands.add("recover", "Write the index that a killed recorder could not write", recover);
  commands.with_file(rescue);
  commands.with_output(rescue, false);
  rescue.add_flag("--inplace", given.in_place, "Change the file itself: drop its torn end and add the index");
  rescue.callback([&action, arguments = &given] {
    if (arguments->in_place != arguments->out.empty())
      throw CLI::ValidationError("either -o with a new recording, or --inplace");
    action = [arguments] { return run(recover, *arguments); };
  });

  CLI::App& part = commands.add("filter", "A part of a recording as a new one", copy);
  commands.with_file(part);
  commands.with_output(part, true);
  commands.with_selection(part);

  CLI::App& join = commands.add("merge", "Several recordings as one, in the order of their log time", copy);
  join.add_option("FILES", given.files, "The recordings")->required()->expected(1, -1);
  commands.with_output(join, true);

  CLI::App& convert =
      commands.add("convert", "The same recording with other chunks, in the order of log time", copy);
  commands.with_file(convert);
  commands.with_output(convert, true);
  convert.add_option("--compression", given.compression, "zstd or none")
      ->check(CLI::IsMember({"zstd", "none"}));
  convert.add_option("--level", given.level, "Of zstd, 1 to 19")->check(CLI::Range(1, 19));
  convert.add_option("--chunk-size", given.chunk_bytes, "Bytes")
      ->check(CLI::Range(std::size_t{1024}, bag::kMostMessage));
}

}  // namespace horus::cli
