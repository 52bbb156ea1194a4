// SPDX-License-Identifier: Apache-2.0
#include <horus/io/exact.hpp>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include <unistd.h>

#include <horus/base/log.hpp>
#include <horus/io/replay/format.hpp>
#include <horus/io/replay/log_file.hpp>

namespace horus::HORUS_ABI::io {

Result<ExactRecording> describe_exact_recording(const std::string& path) {
  auto log = replay::LogFile::open(path);
  if (!log) return log.error();
  replay::Cursor cursor(log->events());
  if (cursor.kind() != replay::Kind::program)
    return Error(kBadInput, "replay", path).with_detail("(it does not begin with the program)");
  cursor.take_kind();
  const replay::Program program = replay::read_program(cursor);
  if (cursor.broken()) return Error(kBadInput, "replay", path).with_detail("(its beginning cannot be read)");
  ExactRecording recording;
  recording.program = program.file;
  recording.folder = program.folder;
  recording.version = program.version;
  recording.machine = program.machine;
  for (std::size_t at = 0; at < program.arguments.size();) {
    const std::size_t end = program.arguments.find('\0', at);
    recording.arguments.push_back(program.arguments.substr(at, end - at));
    at = end == std::string::npos ? program.arguments.size() : end + 1;
  }
  recording.bytes = log->events().size();
  recording.ended = log->last() == replay::Kind::end;
  recording.full = log->last() == replay::Kind::limit;
  return recording;
}

Error replay_exactly(const std::string& path, const std::string& program, std::vector<std::string> under) {
  auto recording = describe_exact_recording(path);
  if (!recording) return recording.error();
  std::error_code failed;
  const std::string whole = std::filesystem::absolute(path, failed).string();
  std::string file =
      program.empty() ? recording->program : std::filesystem::absolute(program, failed).string();
  if (::chdir(recording->folder.c_str()) != 0)
    log_warning(Error(errno, "go to", recording->folder).message() + ": it is replayed in this folder");
  ::unsetenv("HORUS_RECORD_SEAM");
  if (::setenv("HORUS_REPLAY_SEAM", whole.c_str(), 1) != 0) return Error(errno, "replay", path);
  std::vector<std::string> words = std::move(under);
  const std::string first = words.empty() ? file : words.front();
  if (!words.empty()) words.push_back(file);
  const std::size_t own = words.empty() || recording->arguments.empty() ? 0 : 1;
  words.insert(words.end(), recording->arguments.begin() + static_cast<std::ptrdiff_t>(own),
               recording->arguments.end());
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  static_cast<void>(flush_log());
  ::execvp(first.c_str(), arguments.data());
  return Error(errno, "run", first);
}

}  // namespace horus::HORUS_ABI::io
