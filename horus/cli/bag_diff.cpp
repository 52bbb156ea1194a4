// SPDX-License-Identifier: Apache-2.0
// `horus bag diff`: what two recordings do not have in common. Exit codes are those of diff(1): 0 equal, 1 different, 2 it could
// not be found out.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <optional>
#include <regex>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/cli/bag_command.hpp>
#include <horus/cli/json.hpp>
#include <horus/cli/message_json.hpp>
#include <horus/cli/value_diff.hpp>

namespace horus::cli {
namespace {

constexpr std::uint64_t kMostDifferences = 10;            // without --limit
constexpr std::size_t kMostRead = std::size_t{16} << 20;  // bytes of messages that are compared by field
constexpr std::size_t kMostShownValue = 120;              // bytes of a value, for people

struct Lonely {
  std::string topic;
  std::uint64_t messages;
};
struct Counts {
  std::string topic;
  std::uint64_t a;
  std::uint64_t b;
};
struct Types {
  std::string topic;
  std::string a;
  std::string b;
};
struct Difference {
  std::string topic;
  std::uint64_t index;
  std::uint64_t log_ns;
  std::uint64_t publish_ns;
  double seconds;  // after the first message of the first recording
  ValueDiff where;
};

struct Findings {
  std::vector<Lonely> only_a, only_b;
  std::vector<Types> types;
  std::vector<Counts> counts;
  std::vector<Difference> differences;
  std::uint64_t topics = 0;    // that both have
  std::uint64_t messages = 0;  // that were compared
  bool stopped = false;        // at the limit

  [[nodiscard]] bool equal() const {
    return only_a.empty() && only_b.empty() && types.empty() && counts.empty() && differences.empty();
  }
};

std::uint64_t count_of(const ChosenMessages& messages, const std::string& topic) {
  std::uint64_t count = 0;
  for (const auto& [id, channel] : messages.contents().channels) {
    const auto found = messages.contents().statistics.by_channel.find(id);
    if (channel.topic == topic && found != messages.contents().statistics.by_channel.end())
      count += found->second;
  }
  return count;
}

// "sensor_msgs/msg/Imu (cdr, ros2msg)"; of several channels all.
std::string type_of(const ChosenMessages& messages, const std::string& topic) {
  std::string made;
  for (const auto& [id, channel] : messages.contents().channels) {
    if (channel.topic != topic) continue;
    const auto schema = messages.contents().schemas.find(channel.schema);
    std::string type =
        schema == messages.contents().schemas.end()
            ? fmt::format("no schema ({})", channel.encoding)
            : fmt::format("{} ({}, {})", schema->second.name, channel.encoding, schema->second.encoding);
    if (made.find(type) == std::string::npos) made += (made.empty() ? "" : ", ") + type;
  }
  return made;
}

class BagComparison {
 public:
  BagComparison(ChosenMessages& a, ChosenMessages& b, const BagArguments& arguments)
      : a_(a),
        b_(b),
        json_a_(a.contents()),
        json_b_(b.contents()),
        complaints_a_(a.name()),
        complaints_b_(b.name()),
        ignores_times_(arguments.ignore_times),
        limit_(arguments.limit.value_or(kMostDifferences)) {
    rules_.tolerance = arguments.tolerance;
    std::vector<std::regex> paths(arguments.ignored.begin(), arguments.ignored.end());
    if (!paths.empty())
      rules_.ignores = [paths = std::move(paths)](const std::string& path) {
        return std::any_of(paths.begin(), paths.end(),
                           [&](const std::regex& one) { return std::regex_search(path, one); });
      };
  }

  Task<> run() {
    const auto in_a = a_.topics(), in_b = b_.topics();
    for (const std::string& topic : in_a)
      if (!std::binary_search(in_b.begin(), in_b.end(), topic))
        found_.only_a.push_back({topic, count_of(a_, topic)});
    for (const std::string& topic : in_b)
      if (!std::binary_search(in_a.begin(), in_a.end(), topic))
        found_.only_b.push_back({topic, count_of(b_, topic)});
    for (const std::string& topic : in_a) {
      if (!std::binary_search(in_b.begin(), in_b.end(), topic)) continue;
      ++found_.topics;
      auto comparing = topic_of_both(topic);
      co_await std::move(comparing);
    }
    complaints_a_.finish();
    complaints_b_.finish();
  }
  [[nodiscard]] const Findings& found() const noexcept { return found_; }
  [[nodiscard]] bool damaged() const noexcept {
    return a_.damaged() || b_.damaged() || complaints_a_.damaged() || complaints_b_.damaged();
  }

 private:
  // A pass over the messages of one topic in each file: memory does not depend on how topics are mixed.
  Task<> topic_of_both(std::string topic) {
    std::string type_a = type_of(a_, topic), type_b = type_of(b_, topic);
    if (type_a != type_b) found_.types.push_back({topic, std::move(type_a), std::move(type_b)});
    a_.restart(topic);
    b_.restart(topic);
    std::uint64_t counts[2]{};
    while (true) {
      const auto a = co_await a_.next();
      const auto b = co_await b_.next();
      counts[0] += a ? 1U : 0U;
      counts[1] += b ? 1U : 0U;
      if (!a && !b) break;
      if (!a || !b) continue;  // the rest is counted
      ++found_.messages;
      if (found_.differences.size() >= limit_) {
        found_.stopped = true;
        continue;
      }
      ValueDiff where = difference(*a, *b);
      if (where.count == 0) continue;
      const std::uint64_t first_ns = a_.contents().statistics.first_ns;
      found_.differences.push_back(
          {topic, counts[0] - 1, a->log_ns, a->publish_ns,
           static_cast<double>(a->log_ns - std::min(a->log_ns, first_ns)) / double{kNsPerSecond},
           std::move(where)});
    }
    if (counts[0] != counts[1]) found_.counts.push_back({topic, counts[0], counts[1]});
  }

  ValueDiff difference(const bag::Message& a, const bag::Message& b) {
    ValueDiff made;
    const auto times = [&](const char* name, std::uint64_t in_a, std::uint64_t in_b) {
      if (ignores_times_ || in_a == in_b || ++made.count > 1) return;
      made.path = name, made.a = std::to_string(in_a), made.b = std::to_string(in_b);
    };
    times("publish_ns", a.publish_ns, b.publish_ns);
    times("log_ns", a.log_ns, b.log_ns);
    if (std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end())) return made;
    ValueDiff values = std::max(a.data.size(), b.data.size()) <= kMostRead ? in_values(a, b) : in_bytes(a, b);
    if (values.count == 0) return made;
    values.count += made.count;
    return made.count > 0 ? made : values;
  }
  ValueDiff in_values(const bag::Message& a, const bag::Message& b) {
    const auto shown_a = json_a_.show(a), shown_b = json_b_.show(b);
    complaints_a_.tell(shown_a, a, a_.channel(a));
    complaints_b_.tell(shown_b, b, b_.channel(b));
    const bool readable =
        shown_a.outcome == MessageJson::Outcome::json && shown_b.outcome == MessageJson::Outcome::json;
    return readable ? diff_values(shown_a.text, shown_b.text, rules_) : in_bytes(a, b);
  }
  static ValueDiff in_bytes(const bag::Message& a, const bag::Message& b) {
    const auto [at_a, at_b] = std::mismatch(a.data.begin(), a.data.end(), b.data.begin(), b.data.end());
    const auto text = [](auto at, auto end) {
      return at == end ? std::string() : fmt::format("{}", std::to_integer<unsigned>(*at));
    };
    return {1, fmt::format("byte {}", at_a - a.data.begin()), text(at_a, a.data.end()),
            text(at_b, b.data.end())};
  }

  ChosenMessages& a_;
  ChosenMessages& b_;
  MessageJson json_a_, json_b_;
  Complaints complaints_a_, complaints_b_;
  bool ignores_times_;
  std::uint64_t limit_;
  ValueRules rules_;
  Findings found_;
};

std::string shown(const std::string& value) {
  if (value.empty()) return "missing";
  return printable(value.size() <= kMostShownValue ? value : value.substr(0, kMostShownValue) + "…");
}

std::string to_text(const Findings& found, const std::string& a, const std::string& b) {
  std::string out;
  const auto lonely = [&](const std::string& file, const std::vector<Lonely>& list) {
    for (const Lonely& one : list)
      out +=
          fmt::format("only in {}: {} ({} messages)\n", printable(file), printable(one.topic), one.messages);
  };
  lonely(a, found.only_a);
  lonely(b, found.only_b);
  for (const Types& one : found.types)
    out += fmt::format("{}: {}, and {} in {}\n", printable(one.topic), printable(one.a), printable(one.b),
                       printable(b));
  for (const Counts& one : found.counts)
    out += fmt::format("{}: {} messages, and {} in {}\n", printable(one.topic), one.a, one.b, printable(b));
  for (const Difference& one : found.differences) {
    out += fmt::format("{} #{} at {:.6f} s: {} is {}, and {} in {}", printable(one.topic), one.index,
                       one.seconds, one.where.path.empty() ? "the message" : printable(one.where.path),
                       shown(one.where.a), shown(one.where.b), printable(b));
    out += one.where.count > 1 ? fmt::format(" ({} more values)\n", one.where.count - 1) : "\n";
  }
  if (found.stopped)
    out += fmt::format(
        "further messages were not compared, only counted: {} differences are the limit (--limit)\n",
        found.differences.size());
  if (found.equal()) out += fmt::format("equal: {} messages of {} topics\n", found.messages, found.topics);
  return out;
}

std::string to_json(const Findings& found, const std::string& a, const std::string& b) {
  std::string out =
      fmt::format("{{\n  \"a\": {},\n  \"b\": {},\n  \"equal\": {},\n  \"topics\": {},\n  \"messages\": {}",
                  json_string(a), json_string(b), found.equal(), found.topics, found.messages);
  const auto list = [&](const char* name, const auto& values, auto&& write) {
    out += fmt::format(",\n  \"{}\": [", name);
    const char* separator = "\n    ";
    for (const auto& value : values) {
      out += separator + write(value);
      separator = ",\n    ";
    }
    out += values.empty() ? "]" : "\n  ]";
  };
  const auto lonely = [](const Lonely& one) {
    return fmt::format("{{\"topic\": {}, \"messages\": {}}}", json_string(one.topic), one.messages);
  };
  const auto value = [](const std::string& text) { return text.empty() ? "null" : text; };
  list("only_in_a", found.only_a, lonely);
  list("only_in_b", found.only_b, lonely);
  list("types", found.types, [](const Types& one) {
    return fmt::format("{{\"topic\": {}, \"a\": {}, \"b\": {}}}", json_string(one.topic), json_string(one.a),
                       json_string(one.b));
  });
  list("counts", found.counts, [](const Counts& one) {
    return fmt::format("{{\"topic\": {}, \"a\": {}, \"b\": {}}}", json_string(one.topic), one.a, one.b);
  });
  list("differences", found.differences, [&](const Difference& one) {
    return fmt::format(
        "{{\"topic\": {}, \"index\": {}, \"log_ns\": {}, \"publish_ns\": {}, \"path\": {}, \"a\": {}, \"b\": "
        "{}, "
        "\"values\": {}}}",
        json_string(one.topic), one.index, one.log_ns, one.publish_ns, json_string(one.where.path),
        value(one.where.a), value(one.where.b), one.where.count);
  });
  return out + fmt::format(",\n  \"stopped\": {}\n}}\n", found.stopped);
}

}  // namespace

Task<int> diff_bags(const BagArguments& arguments) {
  BagArguments chosen = arguments;
  chosen.limit.reset();  // it is one of differences
  std::vector<ChosenMessages> both;
  for (const std::string& file : arguments.files) {
    auto messages = co_await ChosenMessages::open(file, chosen);
    if (!messages) {
      complain(messages.error());
      co_return 2;
    }
    both.push_back(std::move(*messages));
  }
  for (const std::string& topic : arguments.topics) {
    BagArguments one;
    one.topics = {topic};
    const auto missing = missing_topic(one, both[0].contents(), both[0].name());
    if (missing.empty() || missing_topic(one, both[1].contents(), both[1].name()).empty()) continue;
    fmt::print(stderr, "horus: {}, nor has {}\n", missing, printable(both[1].name()));
    co_return 2;
  }
  BagComparison comparison(both[0], both[1], arguments);
  co_await comparison.run();
  const Findings& found = comparison.found();
  const bool told = put(arguments.json ? to_json(found, both[0].name(), both[1].name())
                                       : to_text(found, both[0].name(), both[1].name()));
  co_return !told || comparison.damaged() ? 2 : found.equal() ? 0 : 1;
}

}  // namespace horus::cli
