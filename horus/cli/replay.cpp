// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/replay.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/cli/json.hpp>
#include <horus/io/exact.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

struct ReplayArguments {
  std::string file;
  std::string program;
  bool info = false;
  bool debug = false;
  bool json = false;
};

const char* end_of(const io::ExactRecording& recording) {
  if (recording.ended) return "the program's own";
  return recording.full ? "no more room (the largest size of the file, or the disk)"
                        : "a kill or a crash, or it runs still";
}

int describe(const io::ExactRecording& recording, bool json) {
  std::string command;
  for (const std::string& argument : recording.arguments) {
    if (!command.empty()) command += ' ';
    command += printable(argument);
  }
  if (json) {
    fmt::print(
        R"({{"program": {}, "folder": {}, "command": {}, "version": {}, "machine": {}, "bytes": {}, "ended": {}}})"
        "\n",
        json_string(recording.program), json_string(recording.folder), json_string(command),
        json_string(recording.version), json_string(recording.machine), recording.bytes, recording.ended);
    return 0;
  }
  fmt::print("program  {}\ncommand  {}\nfolder   {}\nHorus    {}, {}\nevents   {:.1f} MB\nend      {}\n",
             printable(recording.program), command, printable(recording.folder), printable(recording.version),
             printable(recording.machine), static_cast<double>(recording.bytes) / 1e6, end_of(recording));
  return 0;
}

// Whoever replays wants the build that was recorded, or one of the same source.
void warn_if_newer(const ReplayArguments& given, const std::string& program) {
  struct stat recording{}, file{};
  if (::stat(given.file.c_str(), &recording) != 0 || ::stat(program.c_str(), &file) != 0) return;
  if (file.st_mtim.tv_sec > recording.st_mtim.tv_sec)
    fmt::print(stderr, "horus: {} is newer than the recording: it replays as far as it does the same\n",
               printable(program));
}

int replay(const ReplayArguments& given) {
  const auto recording = io::describe_exact_recording(given.file);
  if (!recording) {
    fmt::print(stderr, "horus: {}\n", recording.error().message());
    return 1;
  }
  if (given.info || given.json) return describe(*recording, given.json);
  const std::string program = given.program.empty() ? recording->program : given.program;
  warn_if_newer(given, program);
  std::vector<std::string> under;
  if (given.debug) under = {"gdb", "-q", "--args"};
  std::fflush(nullptr);
  fmt::print(stderr, "horus: {}\n",
             io::replay_exactly(given.file, given.program, std::move(under)).message());
  return 1;
}

}  // namespace

void add_replay(CLI::App& app, std::function<int()>& action) {
  CLI::App* command = app.add_subcommand(
      "replay", "Run a program again, step by step, from its exact recording (HORUS_RECORD_SEAM=FILE)");
  command->footer(
      "Exit code: that of the program; 73 where it does not do what was recorded, 74 where the recording "
      "ends before it; 1 when the recording "
      "cannot be\n"
      "read or the program cannot be run; 2 for wrong arguments.");
  const auto given = std::make_shared<ReplayArguments>();
  command->add_option("FILE", given->file, "The recording")->required();
  command->add_option("--program", given->program,
                      "Run this one instead: the same source, built with sanitizers or without optimisation");
  command->add_flag("--gdb", given->debug, "Under gdb");
  command->add_flag("--info", given->info, "Say what was recorded, and run nothing");
  command->add_flag("--json", given->json, "The same as JSON");
  command->callback([&action, given] { action = [given] { return replay(*given); }; });
}

}  // namespace horus::cli
