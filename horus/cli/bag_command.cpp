// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/bag_command.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <limits>
#include <regex>
#include <set>
#include <utility>

#include <fmt/format.h>

#include <horus/cli/json.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
int complain(const Error& error) {
  fmt::print(stderr, "horus: {}\n", printable(error.message()));
  return 1;
}

bool put(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return true;
  std::perror("horus: standard output");
  return false;
}

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
  const auto ns = static_cast<std::uint64_t>(whole) * kNsPerSecond +
                  static_cast<std::uint64_t>(std::llround((seconds - whole) * double{kNsPerSecond}));
  return absolute ? ns : first_ns + std::min(ns, std::numeric_limits<std::uint64_t>::max() - first_ns);
}

bag::Selection selection_of(const BagArguments& arguments, std::uint64_t first_ns) {
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

void check_selection(const BagArguments& arguments) {
  std::vector<std::string> expressions = arguments.ignored;
  expressions.push_back(arguments.regex);
  expressions.push_back(arguments.exclude);
  for (const std::string& expression : expressions) {
    try {
      static_cast<void>(std::regex(expression));
    } catch (const std::regex_error& error) {
      throw CLI::ValidationError(
          fmt::format("{}: this is no regular expression ({})", expression, error.what()));
    }
  }
  static_cast<void>(selection_of(arguments, 0));
}

std::string missing_topic(const BagArguments& arguments, const bag::Contents& contents,
                          const std::string& name) {
  constexpr std::size_t kShown = 20;
  std::set<std::string> there;
  for (const auto& [id, channel] : contents.channels) there.insert(channel.topic);
  for (const std::string& topic : arguments.topics) {
    if (there.contains(topic)) continue;
    std::string list;
    std::size_t count = 0;
    for (const std::string& one : there) {
      if (++count > kShown) break;
      list += (list.empty() ? "" : ", ") + one;
    }
    if (there.size() > kShown) list += fmt::format(" and {} more", there.size() - kShown);
    return printable(
        fmt::format("{} has no topic {} (it has {})", name, topic, there.empty() ? "none" : list));
  }
  return {};
}

ChosenMessages::ChosenMessages(bag::Reader reader, const BagArguments& arguments)
    : reader_(std::move(reader)),
      selection_(selection_of(arguments, contents().statistics.first_ns)),
      limit_(arguments.limit.value_or(0) == 0 ? std::numeric_limits<std::uint64_t>::max()
                                              : *arguments.limit) {
  for (const bag::Damage& damage : contents().damages)
    fmt::print(stderr, "horus: {} at byte {}: {}\n", printable(name()), damage.offset, damage.reason);
  damaged_ = !contents().damages.empty();
  restart();
}

Task<Result<ChosenMessages>> ChosenMessages::open(std::string path, const BagArguments& arguments) {
  auto reader = co_await bag::Reader::open(std::move(path));
  if (!reader) co_return reader.error();
  co_return ChosenMessages(std::move(*reader), arguments);
}

Task<std::optional<bag::Message>> ChosenMessages::next() {
  while (given_ < limit_) {
    const auto message = co_await reader_.next();
    if (message) {
      ++given_;
      co_return *message;
    }
    if (message.error().end_of_stream()) break;
    damaged_ = true;
    if (!told_) complain(message.error());
    if (message.code() != kBadInput) break;
  }
  told_ = true;
  co_return std::nullopt;
}

void ChosenMessages::restart() {
  given_ = 0;
  reader_.select(selection_);
}

void ChosenMessages::restart(std::string topic) {
  given_ = 0;
  bag::Selection selection = selection_;
  selection.channel = [chosen = selection_.channel, topic = std::move(topic)](const bag::Channel& channel) {
    return channel.topic == topic && (!chosen || chosen(channel));
  };
  reader_.select(std::move(selection));
}

std::vector<std::string> ChosenMessages::topics() const {
  std::set<std::string> found;
  for (const auto& [id, channel] : contents().channels)
    if (!selection_.channel || selection_.channel(channel)) found.insert(channel.topic);
  return {found.begin(), found.end()};
}

}  // namespace horus::cli
