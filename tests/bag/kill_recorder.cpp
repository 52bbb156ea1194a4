// SPDX-License-Identifier: Apache-2.0
// Kills a recorder at random instants (kill -9). Each file must give every message that the recorder had reported as written,
// without a gap, and the same again after recovery in place. Argument: how many kills.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/bag/edit.hpp>
#include <horus/bag/reader.hpp>
#include <horus/bag/recorder.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

namespace {

using namespace horus;
using namespace std::chrono_literals;

constexpr auto kChunk = 50ms;    // a message is written at the latest so long after it was recorded
constexpr auto kStarved = 2s;    // what a busy machine may add
constexpr int kMostTurns = 150;  // of the recorder, until the kill

// What the recorder has told before it died.
struct Report {
  std::atomic<std::uint64_t> written{0};
  std::atomic<std::uint64_t> last_ns{0};  // log time of the last message
};

// Writes a byte to `turns` for each turn.
Task<> record(std::string path, Report& report, int turns) {
  bag::RecorderOptions options;
  options.overwrite = true;
  options.writer.chunk_bytes = 32768;
  options.writer.chunk_ns = std::chrono::nanoseconds(kChunk).count();
  bag::Recorder recorder(std::move(path), options);
  const auto schema = recorder.add_schema("Status", "jsonschema", R"({"type":"object"})").or_throw();
  const auto channel = recorder.add_channel("/status", "json", schema).or_throw();
  Scope scope;
  auto running = scope.spawn(recorder.run());
  std::string data = R"({"text":")";
  data += std::string(200, 'x') + "\"}";
  bag::Message message;
  message.channel = channel;
  message.data = std::as_bytes(std::span(data));
  while (::write(turns, "", 1) == 1) {
    for (int i = 0; i < 20; ++i) {
      message.log_ns = message.publish_ns = static_cast<std::uint64_t>(now_ns());
      if (recorder.record(message)) {
        ++message.sequence;
        report.last_ns = message.log_ns;
      }
    }
    report.written = recorder.counts().written;
    co_await sleep(1ms);
  }
}

struct Found {
  std::uint64_t messages = 0;
  std::uint64_t last_ns = 0;
  bool gap = false;
  bool indexed = false;
  std::string error;
};

Task<Found> read(std::string path) {
  Found found;
  auto reader = co_await bag::Reader::open(std::move(path));
  if (!reader) {
    found.error = reader.error().message();
    co_return found;
  }
  found.indexed = reader->contents().indexed;
  while (true) {
    const auto message = co_await reader->next();
    if (!message) {
      if (!message.error().end_of_stream()) found.error = message.error().message();
      break;
    }
    found.gap = found.gap || message->sequence != found.messages;
    ++found.messages;
    found.last_ns = message->log_ns;
  }
  co_return found;
}

Found found_in(const std::string& path) {
  auto reading = read(path);
  return io::run(std::move(reading));
}

// What is wrong with the file of a killed recorder; empty: nothing.
std::string problem_of(const std::string& path, const Report& report, std::uint64_t& loss_ns) {
  const Found cut = found_in(path);
  // Killed before the header was on its way: there was nothing to lose.
  if (!cut.error.empty()) return report.written == 0 ? "" : cut.error;
  if (cut.gap) return "messages are missing in its middle";
  if (cut.messages < report.written)
    return fmt::format("{} messages of {} that were reported as written", cut.messages,
                       report.written.load());
  if (cut.messages > 0) {
    loss_ns = report.last_ns - std::min(cut.last_ns, report.last_ns.load());
    if (loss_ns > static_cast<std::uint64_t>(std::chrono::nanoseconds(kChunk + kStarved).count()))
      return fmt::format("the messages of {} ms are lost", loss_ns / 1'000'000);
  }
  auto recovering = bag::recover_in_place(path);
  const auto recovered = io::run(std::move(recovering));
  if (!recovered) return recovered.error().message();
  const Found whole = found_in(path);
  if (!whole.indexed || !whole.error.empty() || whole.messages != cut.messages || whole.gap)
    return fmt::format("recovery gives {} of {} messages {}", whole.messages, cut.messages, whole.error);
  return "";
}

}  // namespace

int main(int argc, char** argv) {
  const int kills = argc > 1 ? std::atoi(argv[1]) : 10;
  std::string folder = (std::filesystem::temp_directory_path() / "horus-kill-XXXXXX").string();
  if (::mkdtemp(folder.data()) == nullptr) return std::perror("mkdtemp"), 1;
  const std::string path = folder + "/run.mcap";
  void* shared = ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return std::perror("mmap"), 1;
  std::uint32_t chance = 1;
  std::uint64_t messages = 0;
  std::uint64_t longest_ns = 0;
  int failures = 0;
  for (int kill = 0; kill < kills; ++kill) {
    auto* report = new (shared) Report;
    int turns[2];
    if (::pipe2(turns, O_CLOEXEC) != 0) return std::perror("pipe2"), 1;
    const pid_t child = ::fork();
    if (child < 0) return std::perror("fork"), 1;
    if (child == 0) {
      ::close(turns[0]);
      auto recording = record(path, *report, turns[1]);
      io::run(std::move(recording));
      ::_exit(3);
    }
    chance = chance * 1664525U + 1013904223U;
    ::close(turns[1]);
    char turn = 0;
    for (auto left = (chance >> 8) % kMostTurns; left > 0 && ::read(turns[0], &turn, 1) == 1; --left) {
    }
    ::kill(child, SIGKILL);
    ::close(turns[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    std::uint64_t loss_ns = 0;
    const std::string problem =
        WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && std::filesystem::exists(path)
            ? problem_of(path, *report, loss_ns)
        : WIFSIGNALED(status) ? ""
                              : "the recorder ended by itself";
    longest_ns = std::max(longest_ns, loss_ns);
    messages += report->written;
    if (problem.empty()) continue;
    ++failures;
    fmt::print("kill {}: {}\n", kill, problem);
  }
  std::filesystem::remove_all(folder);
  fmt::print("{} kills, {} messages written, {} files with a problem, at most {} ms lost\n", kills, messages,
             failures, longest_ns / 1'000'000);
  return failures == 0 ? 0 : 1;
}
