// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/talk.hpp>

#include <array>
#include <charconv>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include <horus/base/hex.hpp>
#include <horus/config/tree.hpp>

#include <nlohmann/json.hpp>

namespace horus::HORUS_ABI::msg::door {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<std::string_view, Request::Kind>, 9> kRequests{{
    {"hello", Request::Kind::hello},
    {"process", Request::Kind::process},
    {"topics", Request::Kind::topics},
    {"describe", Request::Kind::describe},
    {"nodes", Request::Kind::nodes},
    {"tasks", Request::Kind::tasks},
    {"act", Request::Kind::act},
    {"tap", Request::Kind::tap},
    {"untap", Request::Kind::untap},
}};
constexpr std::array kActions = {inspect::Action::emergency_stop, inspect::Action::reset_emergency_stop,
                                 inspect::Action::pause, inspect::Action::resume, inspect::Action::restart};
constexpr std::size_t kShownBytes = 64;     // of what a visitor wrote
constexpr std::size_t kWorstEscape = 6;     // \u0001, or three bytes for one of broken UTF-8
constexpr std::size_t kTopicNumbers = 512;  // the keys and numbers of a topic
constexpr std::size_t kNodeNumbers = 1536;  // of a node
constexpr std::size_t kAwaitNumbers = 160;  // of one of its awaits
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
  void real(const char* key, double& into) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (found->is_number()) {
      into = found->get<double>();
      return;
    }
    complain(fmt::format("{} must be a number", key));
  }
  void flag(const char* key, bool& into) {
    const auto found = json.find(key);
    if (found == json.end()) return;
    if (found->is_boolean()) {
      into = found->get<bool>();
      return;
    }
    complain(fmt::format("{} must be true or false", key));
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
    if (why.empty()) why = std::move(problem);  // none: an empty text
  }
};

std::string unknown(const char* what, const std::string& name, const std::vector<std::string>& names) {
  const std::string near = config::nearest(name, names);
  return fmt::format("unknown {} {} ({}known: {})", what, shown(name),
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
  std::vector<std::string> names;
  names.reserve(kRequests.size());
  for (const auto& known : kRequests) names.emplace_back(known.first);
  fields.complain(unknown("request", name, names));
}

void read_action(Fields& fields, Request& request) {
  std::string name;
  std::vector<std::string> names;
  fields.text("action", name);
  for (const inspect::Action action : kActions) {
    names.emplace_back(to_string(action));
    if (names.back() != name) continue;
    request.action = action;
    return;
  }
  fields.complain(unknown("action", name, names));
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
            {"type", topic.type},
            {"layout", topic.layout},
            {"layout_hash", fmt::format("{:0{}x}", topic.layout_hash, kHexDigits)},
            {"published", topic.published},
            {"bytes", topic.bytes},
            {"subscribers", topic.subscribers},
            {"dropped", topic.dropped}};
  if (!topic.peer.empty()) json["peer"] = topic.peer;
  if (topic.silent) json["silent_ns"] = topic.silent->count();
  return json;
}

Json json_of(const inspect::Timing& timing) {
  return {{"p50_ns", timing.p50_ns}, {"p99_ns", timing.p99_ns}, {"max_ns", timing.max_ns}};
}

Json json_of(const inspect::Node& node) {
  Json json{{"node", node.name},
            {"executor", node.executor},
            {"state", node.state},
            {"circuit", node.circuit},
            {"last_error", node.last_error},
            {"priority", node.priority},
            {"rate_hz", node.rate_hz},
            {"tick_rate_hz", node.tick_rate_hz},
            {"age_ms", node.age_ms},
            {"kept", node.kept},
            {"ticks", node.ticks},
            {"failed", node.failed},
            {"cancelled", node.cancelled},
            {"skipped", node.skipped},
            {"deadline_misses", node.deadline_misses},
            {"restarts", node.restarts},
            {"watchdog_ms", node.watchdog_ms},
            {"watchdog_expired", node.watchdog_expired},
            {"since_success_ms", node.since_success_ms},
            {"sent", node.sent},
            {"received", node.received},
            {"queued", node.queued},
            {"lateness", json_of(node.lateness)},
            {"execution", json_of(node.execution)},
            {"response", json_of(node.response)}};
  Json awaits = Json::array();
  for (const inspect::Await& await : node.awaits) {
    awaits.push_back({{"operation", await.operation},
                      {"place", await.place},
                      {"count", await.count},
                      {"total_ns", await.total_ns},
                      {"worst_ns", await.worst_ns}});
  }
  json["awaits"] = std::move(awaits);
  return json;
}

Json json_of(const inspect::MessageType& type) {
  const Layout& layout = type.layout;
  Json json{{"name", layout.name},
            {"fields", layout.fields},
            {"head_bytes", layout.head_bytes},
            {"alignment", layout.alignment},
            {"element_bytes", layout.element_bytes},
            {"tail_offset", layout.tail_offset}};
  if (type.description != nullptr) json["description"] = to_hex(type.description->encode());
  return json;
}

std::string read_type(const Json& json, inspect::MessageType& type) {
  if (!json.is_object()) return "a type is an object";
  Fields fields{json, {}};
  Layout& layout = type.layout;
  fields.text("name", layout.name);
  fields.text("fields", layout.fields);
  fields.number("head_bytes", layout.head_bytes);
  fields.number("alignment", layout.alignment);
  fields.number("element_bytes", layout.element_bytes);
  fields.number("tail_offset", layout.tail_offset);
  layout.settle();
  if (!json.contains("description") || !fields.why.empty()) return fields.why;
  std::string digits;
  fields.text("description", digits);
  const auto bytes = from_hex(digits);
  if (!bytes) return "description must be hexadecimal";
  auto description = Description::decode(*bytes);
  if (!description) return description.error().message();
  if (description->layout().hash != layout.hash) return "the description is that of another type";
  type.description = std::make_shared<const Description>(std::move(*description));
  return fields.why;
}

std::string read_timing(const Json& json, const char* key, inspect::Timing& timing) {
  const auto found = json.find(key);
  if (found == json.end()) return {};
  if (!found->is_object()) return fmt::format("{} is an object", key);
  Fields fields{*found, {}};
  fields.signed_number("p50_ns", timing.p50_ns);
  fields.signed_number("p99_ns", timing.p99_ns);
  fields.signed_number("max_ns", timing.max_ns);
  return fields.why;
}

std::string read_await(const Json& json, inspect::Await& await) {
  if (!json.is_object()) return "an await is an object";
  Fields fields{json, {}};
  fields.text("operation", await.operation);
  fields.text("place", await.place);
  fields.number("count", await.count);
  fields.signed_number("total_ns", await.total_ns);
  fields.signed_number("worst_ns", await.worst_ns);
  return fields.why;
}

std::string read_node(const Json& json, inspect::Node& node) {
  if (!json.is_object()) return "a node is an object";
  Fields fields{json, {}};
  std::int64_t priority = 0;
  fields.text("node", node.name);
  fields.text("executor", node.executor);
  fields.text("state", node.state);
  fields.text("circuit", node.circuit);
  fields.text("last_error", node.last_error);
  fields.signed_number("priority", priority);
  node.priority = static_cast<int>(priority);
  fields.real("rate_hz", node.rate_hz);
  fields.real("tick_rate_hz", node.tick_rate_hz);
  fields.real("age_ms", node.age_ms);
  fields.real("kept", node.kept);
  fields.number("ticks", node.ticks);
  fields.number("failed", node.failed);
  fields.number("cancelled", node.cancelled);
  fields.number("skipped", node.skipped);
  fields.number("deadline_misses", node.deadline_misses);
  fields.number("restarts", node.restarts);
  fields.real("watchdog_ms", node.watchdog_ms);
  fields.flag("watchdog_expired", node.watchdog_expired);
  fields.real("since_success_ms", node.since_success_ms);
  fields.number("sent", node.sent);
  fields.number("received", node.received);
  fields.number("queued", node.queued);
  fields.complain(read_timing(json, "lateness", node.lateness));
  fields.complain(read_timing(json, "execution", node.execution));
  fields.complain(read_timing(json, "response", node.response));
  if (const auto awaits = json.find("awaits"); awaits != json.end()) {
    if (!awaits->is_array()) fields.complain("awaits must be a list");
    for (const Json& each : *awaits) fields.complain(read_await(each, node.awaits.emplace_back()));
  }
  return fields.why;
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
  fields.text("type", topic.type);
  fields.text("layout", topic.layout);
  fields.hash("layout_hash", topic.layout_hash);
  fields.number("published", topic.published);
  fields.number("bytes", topic.bytes);
  fields.number("subscribers", topic.subscribers);
  fields.number("dropped", topic.dropped);
  if (json.contains("silent_ns")) {
    std::int64_t silent_ns = 0;
    fields.signed_number("silent_ns", silent_ns);
    topic.silent = Duration(silent_ns);
  }
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
  fields.text("node", request.node);
  if (request.kind == Request::Kind::act) read_action(fields, request);
  if (request.kind == Request::Kind::tap && request.publisher == 0 && request.topic.empty())
    fields.complain(R"(tap needs a "topic", or a "publisher" by its number)");
  if (request.kind == Request::Kind::describe && request.publisher == 0)
    fields.complain(R"(describe needs a "publisher" by its number)");
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
  if (request.kind == Request::Kind::act) {
    json["action"] = to_string(request.action);
    if (!request.node.empty()) json["node"] = request.node;
  }
  if (request.kind == Request::Kind::describe) json["publisher"] = request.publisher;
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
  if (const auto type = json.find("type"); type != json.end())
    fields.complain(read_type(*type, answer.type.emplace()));
  if (const auto nodes = json.find("nodes"); nodes != json.end()) {
    answer.nodes.emplace();
    if (!nodes->is_array()) fields.complain("nodes must be a list");
    for (const Json& each : *nodes) fields.complain(read_node(each, answer.nodes->emplace_back()));
  }
  if (json.contains("tasks")) fields.text("tasks", answer.tasks.emplace());
  fields.optional_number("done", answer.done);
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
  if (answer.type) json["type"] = json_of(*answer.type);
  if (answer.nodes) {
    Json list = Json::array();
    for (const inspect::Node& node : *answer.nodes) list.push_back(json_of(node));
    json["nodes"] = std::move(list);
  }
  if (answer.tasks) json["tasks"] = *answer.tasks;
  if (answer.done) json["done"] = *answer.done;
  if (answer.more_after > 0) json["more_after"] = answer.more_after;
  if (answer.subscription) json["subscription"] = *answer.subscription;
  if (answer.missed) json["missed"] = *answer.missed;
  return written(json);
}

std::size_t room_for(const inspect::Topic& topic) {
  return kTopicNumbers + kWorstEscape * (topic.name.size() + topic.hub.size() + topic.peer.size() +
                                         topic.type.size() + topic.layout.size());
}

std::size_t room_for(const inspect::Node& node) {
  std::size_t bytes = node.name.size() + node.executor.size() + node.last_error.size();
  for (const inspect::Await& await : node.awaits) bytes += await.operation.size() + await.place.size();
  return kNodeNumbers + kAwaitNumbers * node.awaits.size() + kWorstEscape * bytes;
}

}  // namespace horus::HORUS_ABI::msg::door
