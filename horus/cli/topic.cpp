// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/topic.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <time.h>

#include <fmt/format.h>

#include <horus/base/clock.hpp>
#include <horus/cli/bag_command.hpp>
#include <horus/cli/json.hpp>
#include <horus/cli/publishers.hpp>
#include <horus/cli/table.hpp>
#include <horus/cli/topic_echo.hpp>
#include <horus/cli/visits.hpp>
#include <horus/config/tree.hpp>

#include <CLI/CLI.hpp>

namespace horus::cli {
namespace {

using inspect::Topic;

constexpr double kActive_s = 1;  // since the last message
constexpr double kShortestWindow_s = 0.01;
constexpr double kLongestWindow_s = 86'400;

struct TopicArguments {
  VisitArguments visit;
  ChosenTopics chosen;
  std::string type;
  double window_s = 1;
  std::uint64_t count = 0;
  bool in_full = false;
};

bool put_line(const std::string& line) { return put(line + '\n') && std::fflush(stdout) == 0; }

// A link's publisher sends to one peer; several of them may have one name.
std::string hub_text(const Topic& topic) {
  return printable(topic.peer.empty() ? topic.hub : topic.hub + " to " + topic.peer);
}

bool is_active(const Topic& topic) {
  return topic.silent && std::chrono::duration<double>(*topic.silent).count() < kActive_s;
}

std::string last_text(const Topic& topic) {
  if (!topic.silent) return "never";
  return is_active(topic) ? "now" : duration_text(*topic.silent) + " ago";
}

std::string json_text(const Publisher& publisher) {
  const Topic& topic = publisher.topic;
  return fmt::format(
      R"({{"topic": {}, "type": {}, "process": {}, "pid": {}, "hub": {}, "peer": {}, "publisher": {}, )"
      R"("layout": {}, "layout_hash": "{:016x}", "published": {}, "bytes": {}, "subscribers": {}, "dropped": {}, )"
      R"("active": {}, "silent_ns": {}}})",
      json_string(topic.name), json_string(topic.type), json_string(publisher.process.name),
      publisher.process.pid, json_string(topic.hub), topic.peer.empty() ? "null" : json_string(topic.peer),
      topic.publisher, json_string(topic.layout), topic.layout_hash, topic.published, topic.bytes,
      topic.subscribers, topic.dropped, is_active(topic),
      topic.silent ? std::to_string(topic.silent->count()) : "null");
}

// --- list, find and info

int show(const TopicArguments& arguments, const std::vector<Publisher>& publishers) {
  if (arguments.visit.json) {
    for (const Publisher& publisher : publishers)
      if (!put_line(json_text(publisher))) return 1;
    return 0;
  }
  Rows rows{{"topic", "type", "program", "hub", "messages", "last", "subscribers", "dropped"}};
  for (const auto& [process, topic] : publishers) {
    rows.push_back({printable(topic.name), printable(topic.type), name_of(process), hub_text(topic),
                    std::to_string(topic.published), last_text(topic), std::to_string(topic.subscribers),
                    std::to_string(topic.dropped)});
  }
  return put(table(rows)) ? 0 : 1;
}

int list(const TopicArguments& arguments) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  const std::size_t programs = visits->size();
  auto publishers = publishers_of(*visits);
  if (!publishers) return complain(publishers.error());
  if (arguments.chosen.topics.empty() && publishers->empty()) {
    fmt::print(stderr, "horus: {}\n",
               programs == 0 ? "no program of this user has a door open (docs/inspecting.md)"
                             : "no program publishes anything");
    return 0;
  }
  const bool missing = complain_of_missing(arguments.chosen, arguments.visit, *publishers);
  std::erase_if(*publishers,
                [&](const Publisher& publisher) { return !is_meant(arguments.chosen, publisher); });
  if (publishers->empty()) return missing ? 1 : 0;
  const int shown = show(arguments, *publishers);
  return missing ? 1 : shown;
}

int find(const TopicArguments& arguments) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  auto publishers = publishers_of(*visits);
  if (!publishers) return complain(publishers.error());
  std::vector<std::string> types;
  for (const Publisher& publisher : *publishers) {
    if (std::find(types.begin(), types.end(), publisher.topic.type) == types.end())
      types.push_back(publisher.topic.type);
  }
  std::erase_if(*publishers, [&](const Publisher& publisher) {
    return publisher.topic.type.find(arguments.type) == std::string::npos;
  });
  if (!publishers->empty()) return show(arguments, *publishers);
  fmt::print(stderr, "horus: nobody publishes messages of a type {}{}\n", printable(arguments.type),
             types.empty() ? "" : " (" + listed(types) + ")");
  return 1;
}

int info(const TopicArguments& arguments) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  auto publishers = publishers_of(*visits);
  if (!publishers) return complain(publishers.error());
  const bool missing = complain_of_missing(arguments.chosen, arguments.visit, *publishers);
  std::erase_if(*publishers,
                [&](const Publisher& publisher) { return !is_meant(arguments.chosen, publisher); });
  for (const Publisher& publisher : *publishers) {
    if (arguments.visit.json) {
      if (!put_line(json_text(publisher))) return 1;
      continue;
    }
    const auto& [process, topic] = publisher;
    const bool first = &publisher == &publishers->front();
    const std::string text =
        table({{"topic", printable(topic.name)},
               {"layout", printable(topic.layout)},
               {"program", name_of(process)},
               {"hub", hub_text(topic)},
               {"messages", fmt::format("{}, {}", topic.published, size_text(topic.bytes))},
               {"last", last_text(topic)},
               {"subscribers", std::to_string(topic.subscribers)},
               {"dropped", fmt::format("{} (over all subscribers)", topic.dropped)}});
    if (!put((first ? "" : "\n") + text)) return 1;
  }
  return missing ? 1 : 0;
}

// --- hz and bw

struct Count {
  std::int64_t at_ns = 0;
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t dropped = 0;
};

Count count_of(const Topic& topic, std::int64_t at_ns) {
  return {at_ns, topic.published, topic.bytes, topic.dropped};
}

// What came between two looks. The counters are the publisher's own.
struct Rates {
  double seconds, hz, bytes_per_s;
  std::uint64_t messages, bytes, dropped;

  Rates(const Count& from, const Count& to)
      : seconds(static_cast<double>(to.at_ns - from.at_ns) / 1e9),
        messages(to.messages - from.messages),
        bytes(to.bytes - from.bytes),
        dropped(to.dropped - from.dropped) {
    hz = static_cast<double>(messages) / seconds;
    bytes_per_s = static_cast<double>(bytes) / seconds;
  }
};

std::string rate_text(double per_s) {
  return per_s < 100 ? fmt::format("{:.2f}/s", per_s) : fmt::format("{:.1f}/s", per_s);
}

std::string flow_text(double bytes_per_s) {
  return fmt::format("{}/s", size_text(static_cast<std::uint64_t>(bytes_per_s + 0.5)));
}

std::string line_of(const Publisher& publisher, const Rates& now, const Rates& all, bool shows_bytes) {
  const std::string who = fmt::format("{}  {}", printable(publisher.topic.name), name_of(publisher.process));
  if (!shows_bytes) {
    return fmt::format("{}  {}  since the start {} ({} messages in {:.1f} s), {} dropped", who,
                       rate_text(now.hz), rate_text(all.hz), all.messages, all.seconds, all.dropped);
  }
  return fmt::format("{}  {}  since the start {} ({} in {:.1f} s), {} each", who, flow_text(now.bytes_per_s),
                     flow_text(all.bytes_per_s), size_text(all.bytes), all.seconds,
                     all.messages == 0 ? "-" : size_text(all.bytes / all.messages));
}

std::string json_of(const Publisher& publisher, const Rates& now, const Rates& all) {
  return fmt::format(
      R"({{"topic": {}, "process": {}, "pid": {}, "publisher": {}, "hz": {:.6g}, "bytes_per_s": {:.6g}, )"
      R"("messages": {}, "bytes": {}, "dropped": {}, "seconds": {:.9f}, "all_messages": {}, "all_bytes": {}, )"
      R"("all_seconds": {:.9f}}})",
      json_string(publisher.topic.name), json_string(publisher.process.name), publisher.process.pid,
      publisher.topic.publisher, now.hz, now.bytes_per_s, now.messages, now.bytes, now.dropped, now.seconds,
      all.messages, all.bytes, all.seconds);
}

void sleep_until(std::int64_t at_ns) {
  constexpr std::int64_t kSecond = 1'000'000'000;
  const timespec until{at_ns / kSecond, at_ns % kSecond};
  while (::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) == EINTR) {
  }
}

int echo_topics(const TopicArguments& arguments) {
  return echo({arguments.visit, arguments.chosen, arguments.count, arguments.in_full});
}

int measure(const TopicArguments& arguments, bool shows_bytes) {
  auto visits = visit(arguments.visit);
  if (!visits) return complain(visits.error());
  auto publishers = publishers_of(*visits);
  if (!publishers) return complain(publishers.error());
  if (complain_of_missing(arguments.chosen, arguments.visit, *publishers)) return 1;
  const std::int64_t start_ns = monotonic_ns();
  using Key = std::pair<pid_t, std::uint64_t>;
  std::map<Key, std::pair<Count, Count>> counts;  // the first and the last one
  const auto key_of = [](const Publisher& publisher) {
    return Key(publisher.process.pid, publisher.topic.publisher);
  };
  for (const Publisher& publisher : *publishers) {
    const Count count = count_of(publisher.topic, start_ns);
    counts.insert({key_of(publisher), {count, count}});
  }
  const auto window_ns = static_cast<std::int64_t>(arguments.window_s * 1e9);
  for (std::uint64_t look = 1; arguments.count == 0 || look <= arguments.count; ++look) {
    sleep_until(start_ns + static_cast<std::int64_t>(look) * window_ns);
    publishers = publishers_of(*visits);
    if (!publishers) return complain(publishers.error());
    const std::int64_t now_ns = monotonic_ns();
    if (complain_of_missing(arguments.chosen, arguments.visit, *publishers)) return 1;
    for (const Publisher& publisher : *publishers) {
      if (!is_meant(arguments.chosen, publisher)) continue;
      const Count now = count_of(publisher.topic, now_ns);
      // One that has been opened since begins with this look.
      auto [found, is_new] = counts.insert({key_of(publisher), {now, now}});
      if (is_new) continue;
      auto& [first, last] = found->second;
      const Rates since_last(last, now);
      const Rates since_first(first, now);
      last = now;
      if (!put_line(arguments.visit.json ? json_of(publisher, since_last, since_first)
                                         : line_of(publisher, since_last, since_first, shows_bytes)))
        return 1;
    }
  }
  return 0;
}

}  // namespace

void add_topic(CLI::App& app, std::function<int()>& action) {
  CLI::App* topic =
      app.add_subcommand("topic", "What running programs publish: list, info, echo, find, hz, bw");
  topic->require_subcommand(1);
  topic->footer(
      "Programs are seen through their doors (docs/inspecting.md). Looking changes nothing in them.\n"
      "Exit code: 0; 1 when it failed or nobody publishes the topic; 2 for wrong arguments.");
  const auto add = [&](const char* name, const char* purpose, int (*run)(const TopicArguments&),
                       auto&& options) {
    auto arguments = std::make_shared<TopicArguments>();
    CLI::App* verb = topic->add_subcommand(name, purpose);
    options(*verb, *arguments);
    add_visit_options(*verb, arguments->visit);
    verb->callback([&action, arguments, run] { action = [arguments, run] { return run(*arguments); }; });
  };
  const auto some = [](CLI::App& verb, TopicArguments& arguments) {
    verb.add_option("TOPICS", arguments.chosen.topics, "Only these topics");
    verb.add_option("--hub", arguments.chosen.hub, "Only publishers of the hub of this name");
  };
  const auto counted = [](CLI::App& verb, TopicArguments& arguments) {
    verb.add_option("TOPICS", arguments.chosen.topics, "The topics")->required();
    verb.add_option("--hub", arguments.chosen.hub, "Only publishers of the hub of this name");
    verb.add_option("-w,--window", arguments.window_s, "Seconds from one line to the next; 1 without it")
        ->check(CLI::Range(kShortestWindow_s, kLongestWindow_s));
    verb.add_option("-n,--count", arguments.count, "End after so many lines of each publisher");
    verb.add_flag_callback("--once", [&arguments] { arguments.count = 1; }, "The same as -n 1");
  };
  add("list", "Every publisher, with its counters and when it sent last", list, some);
  add("info", "All that is known of a topic's publishers", info,
      [](CLI::App& verb, TopicArguments& arguments) {
        verb.add_option("TOPICS", arguments.chosen.topics, "The topics")->required();
        verb.add_option("--hub", arguments.chosen.hub, "Only publishers of the hub of this name");
      });
  add("echo", "The messages, all of them, as they come", echo_topics,
      [](CLI::App& verb, TopicArguments& arguments) {
        verb.add_option("TOPICS", arguments.chosen.topics, "The topics")->required();
        verb.add_option("--hub", arguments.chosen.hub, "Only publishers of the hub of this name");
        verb.add_option("-n,--count", arguments.count, "End after so many messages");
        verb.add_flag_callback("--once", [&arguments] { arguments.count = 1; }, "The same as -n 1");
        verb.add_flag("--full", arguments.in_full, "Show long lines whole");
      });
  add("find", "Topics by the type of their messages", find, [](CLI::App& verb, TopicArguments& arguments) {
    verb.add_option("TYPE", arguments.type, "A part of the type's name")->required();
  });
  add(
      "hz", "Messages per second, counted by the publisher itself: none is moved, none is missed",
      [](const TopicArguments& arguments) { return measure(arguments, false); }, counted);
  add(
      "bw", "Bytes per second, counted by the publisher itself",
      [](const TopicArguments& arguments) { return measure(arguments, true); }, counted);
}

}  // namespace horus::cli
