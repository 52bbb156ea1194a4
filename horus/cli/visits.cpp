// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/visits.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include <horus/cli/json.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

constexpr double kShortestTimeout_s = 0.001;
constexpr double kLongestTimeout_s = 3600;
constexpr std::size_t kNamed = 8;

Result<inspect::Client> connect(const VisitArguments& arguments) {
  const std::string& name = arguments.process;
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  const bool is_number = error == std::errc() && end == name.data() + name.size();
  return is_number ? inspect::Client::connect(pid, arguments.options())
                   : inspect::Client::connect(name, arguments.options());
}

}  // namespace

inspect::ClientOptions VisitArguments::options() const {
  inspect::ClientOptions options;
  options.timeout = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(timeout_s));
  return options;
}

void add_visit_options(CLI::App& command, VisitArguments& arguments) {
  command.add_option("-p,--process", arguments.process, "Only this program, by its name or process number");
  command
      .add_option("--timeout", arguments.timeout_s, "Seconds to wait for a program's answer; 1 without it")
      ->check(CLI::Range(kShortestTimeout_s, kLongestTimeout_s));
  command.add_flag("--json", arguments.json, "One JSON object in each line");
}

Result<std::vector<Visit>> visit(const VisitArguments& arguments) {
  std::vector<Visit> visits;
  if (!arguments.process.empty()) {
    auto client = connect(arguments);
    if (!client) return client.error();
    auto process = client->process();
    if (!process) return process.error();
    visits.push_back({std::move(*process), std::move(*client)});
    return visits;
  }
  auto processes = inspect::Client::processes(arguments.options());
  if (!processes) return processes.error();
  for (inspect::Process& process : *processes) {
    auto client = inspect::Client::connect_to(process.socket, arguments.options());
    if (client) {
      visits.push_back({std::move(process), std::move(*client)});
    } else if (!has_ended(client.error())) {
      return client.error();
    }
  }
  return visits;
}

std::string name_of(const inspect::Process& process) {
  return fmt::format("{} ({})", printable(process.name), process.pid);
}

std::string listed(const std::vector<std::string>& names) {
  const auto last = names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kNamed));
  return printable(fmt::format("there are: {}{}", fmt::join(names.begin(), last, ", "),
                               names.size() > kNamed ? ", ..." : ""));
}

bool has_ended(const Error& error) noexcept {
  return error.code() == EPIPE || error.code() == ECONNREFUSED || error.code() == ENOENT ||
         error.code() == ECONNABORTED;
}

}  // namespace horus::cli
