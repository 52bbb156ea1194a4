// SPDX-License-Identifier: Apache-2.0
// What a scheduler tells a person: tables of at most 80 columns, which is what a terminal over a serial line has.
#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include <horus/sched/data/snapshot.hpp>
#include <horus/sched/run/executor.hpp>
#include <horus/sched/scheduler.hpp>

namespace horus::HORUS_ABI {
namespace {

// At most seven columns.
std::string in_time(std::uint64_t ns) {
  constexpr std::array<std::pair<double, std::string_view>, 4> kUnits{
      {{1e3, "us"}, {1e6, "ms"}, {1e9, "s"}, {3.6e12, "h"}}};
  const auto value = static_cast<double>(ns);
  for (const auto& [scale, unit] : kUnits) {
    const double scaled = value / scale;
    if (scaled < 99.95) return fmt::format("{:.1f} {}", scaled, unit);
    if (scaled < 999.5) return fmt::format("{:.0f} {}", scaled, unit);
  }
  return fmt::format("{:.0f} h", value / 3.6e12);
}

// At most eight columns.
std::string in_number(std::uint64_t count) {
  if (count < 100'000'000) return fmt::format("{}", count);
  if (count < 100'000'000'000) return fmt::format("{:.1f}M", static_cast<double>(count) / 1e6);
  return fmt::format("{:.3g}", static_cast<double>(count));
}

std::string rate_of(const NodeStatistics& node) {
  return node.rate_hz == 0 ? "event" : fmt::format("{:g} Hz", node.tick_rate_hz);
}

// The end of a place says more than its beginning, and the other way round for a name.
std::string front_of(std::string_view text, std::size_t columns) {
  if (text.size() <= columns) return std::string(text);
  return std::string(text.substr(0, columns - 2)) + "..";
}
std::string end_of(std::string_view text, std::size_t columns) {
  if (text.size() <= columns) return std::string(text);
  return ".." + std::string(text.substr(text.size() - columns + 2));
}

std::string table_of(const std::vector<NodeStatistics>& nodes) {
  std::string table = fmt::format("{:<16} {:>8} {:<12} {:>8} {:>6} {:>7} {:>8} {:>8}\n", "node", "rate",
                                  "state", "ticks", "failed", "skipped", "late p99", "exec p99");
  for (const NodeStatistics& node : nodes) {
    table +=
        fmt::format("{:<16} {:>8} {:<12} {:>8} {:>6} {:>7} {:>8} {:>8}\n", front_of(node.name, 16),
                    front_of(rate_of(node), 8), to_string(node.state), in_number(node.total_ticks),
                    in_number(node.failed_ticks), in_number(node.ticks_skipped),
                    in_time(node.release_lateness.percentile(99)), in_time(node.execution.percentile(99)));
  }
  return table;
}

std::string faults_of(const std::vector<NodeStatistics>& nodes) {
  std::string table = fmt::format("\n{:<16} {:<11} {:>9} {:>8} {:>8} {:>8} {:>8}\n", "node", "circuit",
                                  "cancelled", "missed", "expired", "restarts", "resp p99");
  for (const NodeStatistics& node : nodes) {
    table += fmt::format("{:<16} {:<11} {:>9} {:>8} {:>8} {:>8} {:>8}\n", front_of(node.name, 16),
                         to_string(node.circuit_state), in_number(node.cancelled_ticks),
                         in_number(node.deadline_misses), in_number(node.watchdog_expirations),
                         in_number(node.restarts), in_time(node.response.percentile(99)));
  }
  return table;
}

std::string awaits_of(const std::vector<NodeStatistics>& nodes) {
  std::string table = fmt::format("\n{:<14} {:<17} {:<20} {:>8} {:>8} {:>8}\n", "node", "waits for", "at",
                                  "times", "total", "worst");
  for (const NodeStatistics& node : nodes) {
    for (const AwaitStatistics& wait : node.awaits) {
      const std::string_view place = wait.place;
      const auto slash = place.rfind('/');
      table += fmt::format("{:<14} {:<17} {:<20} {:>8} {:>8} {:>8}\n", front_of(node.name, 14),
                           front_of(wait.operation, 17),
                           end_of(slash == std::string_view::npos ? place : place.substr(slash + 1), 20),
                           in_number(wait.count), in_time(wait.total_ns), in_time(wait.worst_ns));
    }
  }
  return table;
}

std::string messages_of(const std::vector<NodeStatistics>& nodes) {
  std::string table = fmt::format("\n{:<16} {:>12} {:>12} {:>12} {:>12}\n", "node", "sent", "received",
                                  "queued now", "queued most");
  const auto has_messages = [](const NodeStatistics& node) {
    return node.messages_sent + node.messages_received + node.messages_high_water > 0;
  };
  if (std::none_of(nodes.begin(), nodes.end(), has_messages)) return {};
  for (const NodeStatistics& node : nodes) {
    if (!has_messages(node)) continue;
    table += fmt::format("{:<16} {:>12} {:>12} {:>12} {:>12}\n", front_of(node.name, 16), node.messages_sent,
                         node.messages_received, node.messages_queued, node.messages_high_water);
  }
  return table;
}

}  // namespace

std::string Scheduler::status() const { return table_of(statistics()); }

std::string Scheduler::report(Detail detail) const {
  const auto answers = ask_all();
  const std::vector<NodeStatistics> nodes = statistics_of(answers);
  std::string text = table_of(nodes) + faults_of(nodes);
  if (emergency_stopped()) text += "EMERGENCY STOP: no node is released until it is reset\n";
  for (const auto& answer : answers) {
    if (answer != nullptr && !answer->fresh)
      text += fmt::format("{} does not answer: its figures are {} ms old\n", answer->of,
                          (now_ns() - answer->taken_ns) / 1'000'000);
  }
  if (detail != Detail::awaits) return text;
  text += awaits_of(nodes) + messages_of(nodes);
  for (const auto& answer : answers) {
    if (answer != nullptr) text += answer->shares;
  }
  return text;
}

}  // namespace horus::HORUS_ABI
