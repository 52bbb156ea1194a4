// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/talk.hpp>

#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include <horus/config/tree.hpp>

#include <nlohmann/json.hpp>

namespace horus::msg::door {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<std::string_view, Request::Kind>, 5> kRequests{{
    {"hello", Request::Kind::hello},
    {"process", Request::Kind::process},
    {"topics", Request::Kind::topics},
    {"tap", Request::Kind::tap},
    {"untap", Request::Kind::untap},
}};
constexpr std::size_t kShownBytes = 64;     // of what a visitor wrote
constexpr std::size_t kWorstEscape = 6;     // \u0001, or three bytes for one of broken UTF-8
constexpr std::size_t kTopicNumbers = 512;  // the keys and numbers of a topic
constexpr int kHexDigits = 16;

std::string_view text_of(FrameBytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The parser has no limit of its own, and what it makes is destroyed by recursion.
bool is_too_deep(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepestText) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

// Null for what is no object.
Json parsed(FrameBytes bytes, std::string& why) {
  const std::string_view text = text_of(bytes);
  if (is_too_deep(text)) {
    why = fmt::format("lists and objects are within each other more than {} deep", kDeepestText);
    return nullptr;
  }
  Json json = Json::parse(text, nullptr, false);
  if (json.is_object()) return json;
  why = json.is_discarded() ? "it is not JSON" : "it is not a JSON object";
  return nullptr;
}

std::string written(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string shown(std::string text) {
  if (text.size() > kShownBytes) text = text.substr(0, kShownBytes) + "...";
  return "\"" + text + "\"";
}

// A value of an object, where it is there and of its kind; `why` gets the first complaint.
struct Fields {
  const Json& json;
  std::string why;

  template <class Number>
  void number(const char* key, Number& into, std::uint64_t least = 0,
              std::uint64_t most = std::numeric_limits<Number>::max()) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (found->is_number_unsigned()) {
      const auto value = found->get<std::uint64_t>();
      if (value >= least && value <= most) {
        into = static_cast<Number>(value);
        return;
      }
    }
    complain(fmt::format("{} must be a whole number from {} to {}", key, least, most));
  }
  void signed_number(const char* key, std::int64_t& into) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (found->is_number_integer()) {
      into = found->get<std::int64_t>();
      return;
    }
    complain(fmt::format("{} must be a whole number", key));
  }
  void text(const char* key, std::string& into) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (found->is_string()) {
      into = found->get<std::string>();
      return;
    }
    complain(fmt::format("{} must be a text", key));
  }
  void texts(const char* key, std::vector<std::string>& into) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (!found->is_array()) return complain(fmt::format("{} must be a list of texts", key));
    for (const Json& item : *found) {
      if (!item.is_string()) return complain(fmt::format("{} must be a list of texts", key));
      into.push_back(item.get<std::string>());
    }
  }
  template <class Number>
  void optional_number(const char* key, std::optional<Number>& into) {
    if (!json.contains(key)) return;
    Number value{};
    number(key, value);
    into = value;
  }
  void hash(const char* key, std::uint64_t& into) {
    std::string digits;
    text(key, digits);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), into, 16);
    if (error != std::errc() || end != digits.data() + digits.size())
      complain(fmt::format("{} must be hexadecimal", key));
  }
  void complain(std::string problem) {
    if (why.empty()) why = std::move(problem);
  }
};

std::string unknown_request(const std::string& name) {
  std::vector<std::string> names;
  names.reserve(std::size(kRequests));
  for (const auto& known : kRequests) names.emplace_back(known.first);
  const std::string near = config::nearest(name, names);
  return fmt::format("unknown request {} ({}known: {})", shown(name),
                     near.empty() ? "" : fmt::format("did you mean \"{}\"? ", near), fmt::join(names, ", "));
}

void read_kind(Fields& fields, Request& request) {
  if (!fields.json.contains("request"))
    return fields.complain(R"(there is no "request" in it: {"id": 1, "request": "topics"})");
  std::string name;
  fields.text("request", name);
  for (const auto& [word, kind] : kRequests) {
    if (word != name) continue;
    request.kind = kind;
    return;
  }
  fields.complain(unknown_request(name));
}

Json json_of(const inspect::Process& process) {
  return {{"pid", process.pid},
          {"name", process.name},
          {"version", process.version},
          {"uptime_ns", process.uptime.count()},
          {"command_line", process.command_line},
          {"unix_offset_ns", process.unix_offset_ns}};
}

Json json_of(const inspect::Topic& topic) {
  Json json{{"publisher", topic.publisher},
            {"topic", topic.name},
            {"hub", topic.hub},
            {"layout", topic.layout},
            {"layout_hash", fmt::format("{:0{}x}", topic.layout_hash, kHexDigits)},
            {"published", topic.published},
            {"bytes", topic.bytes},
            {"subscribers", topic.subscribers},
            {"dropped", topic.dropped}};
  if (!topic.peer.empty()) json["peer"] = topic.peer;
  return json;
}

std::string read_process(const Json& json, inspect::Process& process) {
  if (!json.is_object()) return "a process is an object";
  Fields fields{json, {}};
  std::int64_t uptime_ns = 0;
  fields.number("pid", process.pid);
  fields.text("name", process.name);
  fields.text("version", process.version);
  fields.signed_number("uptime_ns", uptime_ns);
  fields.texts("command_line", process.command_line);
  fields.signed_number("unix_offset_ns", process.unix_offset_ns);
  process.uptime = Duration(uptime_ns);
  return fields.why;
}

std::string read_topic(const Json& json, inspect::Topic& topic) {
  if (!json.is_object()) return "a topic is an object";
  Fields fields{json, {}};
  fields.number("publisher", topic.publisher);
  fields.text("topic", topic.name);
  fields.text("hub", topic.hub);
  fields.text("peer", topic.peer);
  fields.text("layout", topic.layout);
  fields.hash("layout_hash", topic.layout_hash);
  fields.number("published", topic.published);
  fields.number("bytes", topic.bytes);
  fields.number("subscribers", topic.subscribers);
  fields.number("dropped", topic.dropped);
  return fields.why;
}

}  // namespace

std::variant<Request, Refused> read_request(FrameBytes text) {
  std::string why;
  const Json json = parsed(text, why);
  if (json.is_null()) return Refused{0, why, true};
  Request request;
  Fields fields{json, {}};
  fields.number("id", request.id);
  if (fields.why.empty() && request.id == 0) fields.complain("id must be a number above 0");
  read_kind(fields, request);
  fields.number("lowest", request.lowest);
  fields.number("highest", request.highest);
  fields.number("after", request.after);
  fields.number("publisher", request.publisher);
  fields.text("topic", request.topic);
  fields.text("hub", request.hub);
  fields.number("max_bytes", request.max_bytes, kLeastKept, kMostKept);
  fields.number("subscription", request.subscription);
  if (request.kind == Request::Kind::tap && request.publisher == 0 && request.topic.empty())
    fields.complain(R"(tap needs a "topic", or a "publisher" by its number)");
  if (request.kind == Request::Kind::untap && request.subscription == 0)
    fields.complain(R"(untap needs a "subscription")");
  if (!fields.why.empty()) return Refused{request.id, fields.why, false};
  return request;
}

std::string write_request(const Request& request) {
  Json json{{"id", request.id}};
  for (const auto& [word, kind] : kRequests) {
    if (kind == request.kind) json["request"] = word;
  }
  if (request.kind == Request::Kind::hello) {
    json["lowest"] = request.lowest;
    json["highest"] = request.highest;
    json["features"] = Json::array();
  }
  if (request.after > 0) json["after"] = request.after;
  if (request.kind == Request::Kind::tap) {
    if (request.publisher > 0) json["publisher"] = request.publisher;
    if (!request.topic.empty()) json["topic"] = request.topic;
    if (!request.hub.empty()) json["hub"] = request.hub;
    json["max_bytes"] = request.max_bytes;
  }
  if (request.kind == Request::Kind::untap) json["subscription"] = request.subscription;
  return written(json);
}

Result<Answer> read_answer(FrameBytes text) {
  std::string why;
  const Json json = parsed(text, why);
  if (json.is_null()) return Error(kBadInput, "read an answer", why);
  Answer answer;
  Fields fields{json, {}};
  fields.number("id", answer.id);
  fields.text("error", answer.error);
  fields.text("event", answer.event);
  fields.optional_number("lowest", answer.lowest);
  fields.optional_number("highest", answer.highest);
  fields.texts("features", answer.features);
  fields.number("more_after", answer.more_after);
  fields.optional_number("subscription", answer.subscription);
  fields.optional_number("missed", answer.missed);
  if (const auto process = json.find("process"); process != json.end()) {
    answer.process.emplace();
    if (std::string problem = read_process(*process, *answer.process); !problem.empty())
      fields.complain(std::move(problem));
  }
  if (const auto topics = json.find("topics"); topics != json.end()) {
    answer.topics.emplace();
    if (!topics->is_array()) fields.complain("topics must be a list");
    for (const Json& each : *topics) {
      if (std::string problem = read_topic(each, answer.topics->emplace_back()); !problem.empty())
        fields.complain(std::move(problem));
    }
  }
  if (!fields.why.empty()) return Error(kBadInput, "read an answer", fields.why);
  return answer;
}

std::string write_answer(const Answer& answer) {
  Json json{{"id", answer.id}};
  if (!answer.error.empty()) json["error"] = answer.error;
  if (!answer.event.empty()) json["event"] = answer.event;
  if (answer.lowest) json["lowest"] = *answer.lowest;
  if (answer.highest) json["highest"] = *answer.highest;
  if (!answer.features.empty()) json["features"] = answer.features;
  if (answer.process) json["process"] = json_of(*answer.process);
  if (answer.topics) {
    Json list = Json::array();
    for (const inspect::Topic& topic : *answer.topics) list.push_back(json_of(topic));
    json["topics"] = std::move(list);
  }
  if (answer.more_after > 0) json["more_after"] = answer.more_after;
  if (answer.subscription) json["subscription"] = *answer.subscription;
  if (answer.missed) json["missed"] = *answer.missed;
  return written(json);
}

std::size_t room_for(const inspect::Topic& topic) {
  return kTopicNumbers +
         kWorstEscape * (topic.name.size() + topic.hub.size() + topic.peer.size() + topic.layout.size());
}

}  // namespace horus::msg::door
