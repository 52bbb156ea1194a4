// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/bag.hpp>

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/bag/edit.hpp>
#include <horus/bag/reader.hpp>
#include <horus/cli/bag_command.hpp>
#include <horus/cli/bag_text.hpp>
#include <horus/cli/json.hpp>
#include <horus/io/reactor.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

Task<int> info(const BagArguments& arguments) {
  bag::ReaderOptions options;
  options.ignore_index = arguments.scan;
  const auto reader = co_await bag::Reader::open(arguments.files[0], options);
  if (!reader) co_return complain(reader.error());
  const bag::Contents& contents = reader->contents();
  if (!put(arguments.json ? to_json(contents, reader->name()) : to_text(contents, reader->name())))
    co_return 1;
  co_return contents.damages.empty() ? 0 : 1;
}

Task<int> recover(const BagArguments& arguments) {
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

using Command = Task<int>(const BagArguments&);

int run(Command* command, const BagArguments& arguments) {
  auto running = command(arguments);
  const int outcome = io::run(std::move(running));
  if (std::fflush(stdout) == 0) return outcome;
  std::perror("horus: standard output");
  return 1;
}

class Commands {
 public:
  Commands(CLI::App& bag, std::function<int()>& action)
      : bag_(bag), action_(action), arguments_(std::make_shared<BagArguments>()) {}

  CLI::App& add(const char* name, const char* text, Command* command) {
    CLI::App* made = bag_.add_subcommand(name, text);
    made->callback([command, &action = action_, arguments = arguments_] {
      check_selection(*arguments);
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
  void with_format(CLI::App& command, const std::vector<std::string>& formats) {
    const bool has_file = formats.front() == "mcap";
    command
        .add_option("--format", arguments_->format,
                    has_file ? "mcap, ndjson or csv; without it as the new file ends, or mcap"
                             : "ndjson (lines of JSON) or csv (the table of one topic)")
        ->check(CLI::IsMember(formats));
    command.add_option("--list-columns", arguments_->list_columns,
                       "Of csv: lists that are longer are one column (2048); 0: all lists");
  }
  BagArguments& arguments() { return *arguments_; }

 private:
  CLI::App& bag_;
  std::function<int()>& action_;
  std::shared_ptr<BagArguments> arguments_;
};

}  // namespace

Task<int> copy_bag(const BagArguments& arguments) {
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

void add_bag(CLI::App& app, std::function<int()>& action) {
  CLI::App* bag = app.add_subcommand("bag", "Look at recordings (MCAP files), and work on them");
  bag->require_subcommand(1);
  bag->footer(
      "Exit code: 0; 1 when a file cannot be read or something in it is damaged; 2 for wrong arguments.");
  Commands commands(*bag, action);
  BagArguments& given = commands.arguments();

  CLI::App& show = commands.add("info", "What is in a recording", info);
  commands.with_file(show);
  show.add_flag("--json", given.json, "The same as JSON");
  show.add_flag("--scan", given.scan, "Read the whole file and check it, although it has an index");

  CLI::App& print = commands.add("cat", "Print messages, each as one line of JSON", cat_bag);
  commands.with_file(print);
  commands.with_selection(print);
  print.add_option("--limit", given.limit, "At most so many messages");
  commands.with_format(print, {"ndjson", "csv"});

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

  CLI::App& part = commands.add("filter", "A part of a recording as a new one", copy_bag);
  commands.with_file(part);
  commands.with_output(part, true);
  commands.with_selection(part);

  CLI::App& join =
      commands.add("merge", "Several recordings as one, in the order of their log time", copy_bag);
  join.add_option("FILES", given.files, "The recordings")->required()->expected(1, -1);
  commands.with_output(join, true);

  CLI::App& convert = commands.add(
      "convert", "The same recording with other chunks, as lines of JSON, or a topic of it as a table",
      convert_bag);
  commands.with_file(convert);
  commands.with_output(convert, true);
  commands.with_selection(convert);
  commands.with_format(convert, {"mcap", "ndjson", "csv"});
  convert.add_option("--compression", given.compression, "Of mcap: zstd or none")
      ->check(CLI::IsMember({"zstd", "none"}));
  convert.add_option("--level", given.level, "Of zstd, 1 to 19")->check(CLI::Range(1, 19));
  convert.add_option("--chunk-size", given.chunk_bytes, "Of mcap, bytes")
      ->check(CLI::Range(std::size_t{1024}, bag::kMostMessage));

  convert.callback([&action, &convert, arguments = &given] {
    check_selection(*arguments);
    if (converted_to(*arguments) != "mcap")
      for (const char* name : {"--compression", "--level", "--chunk-size"})
        if (convert.get_option(name)->count() > 0)
          throw CLI::ValidationError(fmt::format("{}: that is for --format mcap", name));
    action = [arguments] { return run(convert_bag, *arguments); };
  });

  CLI::App& compare = commands.add("diff", "What two recordings do not have in common", diff_bags);
  compare.footer("Exit code: 0 equal, 1 different, 2 for wrong arguments and what cannot be read.");
  compare.add_option("A B", given.files, "The recordings")->required()->expected(2);
  commands.with_selection(compare);
  compare.add_flag("--ignore-times", given.ignore_times,
                   "The times do not count at which messages were sent and recorded");
  compare
      .add_option("--ignore-field", given.ignored,
                  "Values do not count in whose path (header.stamp.sec) this regular expression is found; "
                  "may be repeated")
      ->allow_extra_args(false);
  compare.add_option("--tolerance", given.tolerance, "Numbers may differ by so much")
      ->check(CLI::NonNegativeNumber);
  compare
      .add_option("--limit", given.limit, "At most so many differences (10); further messages are counted")
      ->check(CLI::Range(1, 100000));
  compare.add_flag("--json", given.json, "The same as JSON");
}

}  // namespace horus::cli
