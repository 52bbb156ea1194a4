// SPDX-License-Identifier: Apache-2.0
// Reads the text of .msg files, and finds the types that they name.
#include <horus/msg/ros_definition.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/codec/ros_schema.hpp>
#include <horus/msg/format/ros_names.hpp>

namespace horus::HORUS_ABI {

bool RosDefinition::Field::operator==(const Field& other) const {
  return name == other.name && type == other.type && id == other.id && nested == other.nested &&
         shape == other.shape && count == other.count && text_bytes == other.text_bytes &&
         constants == other.constants && preset == other.preset;
}

namespace {

using RosConstant = RosDefinition::Constant;
using RosField = RosDefinition::Field;
using RosShape = RosDefinition::Shape;
using RosType = RosDefinition::Type;

constexpr std::string_view kRosBlank = " \t\r\f\v";
constexpr std::size_t kLeastSeparator = 3;  // signs of a line of `=`

struct RosRefusal {
  std::string why;
};

std::string_view trimmed_line(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kRosBlank), text.size()));
  return text.substr(0, text.find_last_not_of(kRosBlank) + 1);
}

// Of a text that may be anything.
std::string quoted(std::string_view text) {
  constexpr std::size_t kShown = 60;
  std::string made = "\"";
  for (const char c : text.substr(0, kShown)) made += c >= ' ' && c <= '~' ? c : '?';
  return made + (text.size() > kShown ? "…\"" : "\"");
}

// "rover_msgs/Drive" and "rover_msgs/msg/Drive" are the second one; other names stay.
std::string whole_name(std::string_view name) {
  const std::size_t slash = name.find('/');
  if (slash == std::string_view::npos || name.find('/', slash + 1) != std::string_view::npos)
    return std::string(name);
  return fmt::format("{}/msg/{}", name.substr(0, slash), name.substr(slash + 1));
}
std::string_view package_of(std::string_view name) {
  const std::size_t slash = name.find('/');
  return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

bool is_type_name(std::string_view name) {
  if (name.empty() || name.size() > RosDefinition::kMostName) return false;
  std::size_t parts = 1;
  while (true) {
    const std::size_t slash = name.find('/');
    if (!msg::is_field_name(name.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return parts <= 3;
    name.remove_prefix(slash + 1);
    ++parts;
  }
}

RosType time_type(std::string_view name, const char* seconds) {
  RosField sec, nanosec;
  sec.name = "sec", sec.type = seconds, sec.id = msg::ros_scalar_id(sec.type);
  nanosec.name = "nanosec", nanosec.type = "uint32", nanosec.id = msg::ros_scalar_id(nanosec.type);
  return {std::string(name), {std::move(sec), std::move(nanosec)}, {}};
}

class RosParser {
 public:
  explicit RosParser(const RosDefinitionFinder& find) : find_(find) {}

  RosDefinition run(std::string_view name, std::string_view text) {
    must(is_type_name(name),
         fmt::format("{} is no name of a message, as in \"rover_msgs/msg/Drive\"", quoted(name)));
    read(whole_name(name), text);
    complete();
    return std::move(made_);
  }

 private:
  static void must(bool holds, std::string_view why) {
    if (!holds) throw RosRefusal{std::string(why)};
  }

  // A type, and those that follow it in its text.
  void read(std::string name, std::string_view text) {
    must(text.size() <= RosDefinition::kMostText,
         fmt::format("{} bytes, and at most {} are read", text.size(), RosDefinition::kMostText));
    line_ = 0;
    wants_name_ = false;
    try {
      begin(std::move(name));
      while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        ++line_;
        line(trimmed_line(text.substr(0, end)));
        text.remove_prefix(std::min(end + 1, text.size()));
      }
      must(!wants_name_, "it ends where a line \"MSG: package/Name\" is expected");
      end();
    } catch (RosRefusal& refusal) {
      if (line_ > 0) refusal.why = fmt::format("line {}: {}", line_, refusal.why);
      throw;
    }
  }

  void line(std::string_view text) {
    if (text.size() >= kLeastSeparator && text.find_first_not_of('=') == std::string_view::npos) {
      must(!wants_name_, "a line \"MSG: package/Name\" is expected");
      wants_name_ = true;
    } else if (text.empty() || text.front() == '#') {
      return;
    } else if (wants_name_) {
      constexpr std::string_view kName = "MSG:";
      must(text.starts_with(kName),
           fmt::format("{}: a line \"MSG: package/Name\" is expected behind one of =", quoted(text)));
      const std::string_view name = trimmed_line(text.substr(kName.size()));
      must(is_type_name(name), fmt::format("{} is no name of a type", quoted(name)));
      end();
      begin(whole_name(name));
      wants_name_ = false;
    } else {
      declaration(text);
    }
  }

  [[nodiscard]] bool is_there(std::string_view name) const {
    return std::any_of(made_.types.begin(), made_.types.end(),
                       [&](const RosType& one) { return one.name == name; });
  }
  // Gives names without a package theirs, and adds the types that stand elsewhere.
  void complete() {
    for (std::size_t i = 0; i < made_.types.size(); ++i) {  // the list grows
      for (std::size_t k = 0; k < made_.types[i].fields.size(); ++k) {
        if (made_.types[i].fields[k].id != msg::kNestedId) continue;
        std::string name = made_.types[i].fields[k].type;
        if (name.find('/') == std::string::npos) {
          const bool is_header = name == "Header";
          const std::string_view package = package_of(made_.types[i].name);
          if (!package.empty()) name = fmt::format("{}/msg/{}", package, name);
          if (is_header && !is_there(name)) add(name);
          if (is_header && !is_there(name)) name = "std_msgs/msg/Header";
        }
        if (!is_there(name)) add(name);
        made_.types[i].fields[k].type = std::move(name);
      }
    }
  }
  void add(const std::string& name) {
    if (const auto text = find_ ? find_(name) : std::nullopt; text.has_value()) {
      try {
        read(name, *text);
      } catch (RosRefusal& refusal) {
        refusal.why = fmt::format("{}, {}", name, refusal.why);
        throw;
      }
    } else if (name == msg::kRosTime || name == msg::kRosDuration) {
      made_.types.push_back(time_type(name, "int32"));
    }
  }

  void begin(std::string name) {
    must(made_.types.size() < RosDefinition::kMostTypes,
         fmt::format("more than {} types", RosDefinition::kMostTypes));
    made_.types.push_back({std::move(name), {}, {}});
  }
  // What is there twice with the same text counts once.
  void end() {
    RosType& type = made_.types.back();
    type.constants = std::exchange(constants_, {});
    const auto same = std::find_if(made_.types.begin(), made_.types.end() - 1,
                                   [&](const RosType& one) { return one.name == type.name; });
    if (same == made_.types.end() - 1) return;
    must(*same == type, fmt::format("there are two definitions of {}, and they differ", type.name));
    made_.types.pop_back();
  }

  // "TYPE NAME", "TYPE NAME PRESET", "TYPE NAME=VALUE".
  void declaration(std::string_view text) {
    const std::size_t space = std::min(text.find_first_of(kRosBlank), text.size());
    const std::string_view type = text.substr(0, space);
    std::string_view rest = trimmed_line(text.substr(space));
    const std::size_t end = std::min(rest.find_first_of(" \t\r\f\v=#"), rest.size());
    const std::string_view name = rest.substr(0, end);
    must(!name.empty(), fmt::format("{}: a type and a name are expected", quoted(text)));
    must(name.size() <= RosDefinition::kMostName && msg::is_field_name(name),
         fmt::format("{} is no name: letters, digits and _", quoted(name)));
    rest = trimmed_line(rest.substr(end));
    if (rest.starts_with('=')) {
      constant(
          type, name,
          value(trimmed_line(rest.substr(1)), type.starts_with("string") || type.starts_with("wstring")));
    } else {
      field(type, name, value(rest, true));
    }
  }

  // Without the comment behind it. Within quotation marks `#` is no comment.
  static std::string_view value(std::string_view text, bool may_be_quoted) {
    const char mark = text.empty() ? ' ' : text.front();
    if (may_be_quoted && (mark == '"' || mark == '\'')) {
      for (std::size_t i = 1; i < text.size(); ++i) {
        if (text[i] == '\\') {
          ++i;
        } else if (text[i] == mark) {
          const std::string_view behind = trimmed_line(text.substr(i + 1));
          must(behind.empty() || behind.front() == '#',
               fmt::format("{}: nothing is expected behind a text", quoted(text)));
          return text.substr(0, i + 1);
        }
      }
      throw RosRefusal{fmt::format("{}: the quotation mark at its end is missing", quoted(text))};
    }
    return trimmed_line(text.substr(0, text.find('#')));
  }

  void constant(std::string_view type, std::string_view name, std::string_view text) {
    must(msg::ros_scalar_id(type) != 0,
         fmt::format("{}: the type of a constant is bool, byte, char, a number or string", quoted(type)));
    must(!text.empty() || type.ends_with("string"), fmt::format("the constant {} has no value", name));
    must(++constants_of_all_ <= RosDefinition::kMostFields,
         fmt::format("more than {} constants", RosDefinition::kMostFields));
    const auto is_there = [&](const std::vector<RosConstant>& list) {
      return std::any_of(list.begin(), list.end(), [&](const RosConstant& one) { return one.name == name; });
    };
    bool twice = is_there(constants_);
    for (const RosField& one : made_.types.back().fields) twice = twice || is_there(one.constants);
    must(!twice, fmt::format("there are two constants {}", name));
    constants_.push_back({std::string(type), std::string(name), std::string(text)});
  }

  void field(std::string_view type, std::string_view name, std::string_view preset) {
    must(++fields_of_all_ <= RosDefinition::kMostFields,
         fmt::format("more than {} fields", RosDefinition::kMostFields));
    std::vector<RosField>& fields = made_.types.back().fields;
    must(std::none_of(fields.begin(), fields.end(), [&](const RosField& one) { return one.name == name; }),
         fmt::format("there are two fields {}", name));
    RosField made;
    made.name = name;
    made.preset = preset;
    made.constants = std::exchange(constants_, {});
    made.line = line_;
    if (type.ends_with(']')) {
      const std::size_t open = type.rfind('[');
      must(open != std::string_view::npos, fmt::format("{}: a [ is missing", quoted(type)));
      std::string_view count = type.substr(open + 1, type.size() - open - 2);
      type = type.substr(0, open);
      made.shape = count.empty() ? RosShape::sequence : RosShape::array;
      if (count.starts_with("<=")) {
        made.shape = RosShape::bounded_sequence;
        count.remove_prefix(2);
      }
      if (made.shape != RosShape::sequence) made.count = number(count, "a list of so many values");
    }
    if (const std::size_t bound = type.find("<="); bound != std::string_view::npos) {
      must(type.substr(0, bound) == "string" || type.substr(0, bound) == "wstring",
           fmt::format("{}: only string and wstring have a bound", quoted(type)));
      made.text_bytes = number(type.substr(bound + 2), "text of so many characters");
      type = type.substr(0, bound);
    }
    made.id = msg::ros_scalar_id(type);
    if (made.id != 0) {
      made.type = type;
    } else {
      must(is_type_name(type), fmt::format("{} is no type", quoted(type)));
      made.id = msg::kNestedId;
      made.type = type == "time"       ? std::string(msg::kRosTime)
                  : type == "duration" ? std::string(msg::kRosDuration)
                                       : whole_name(type);
    }
    fields.push_back(std::move(made));
  }

  static std::uint32_t number(std::string_view text, std::string_view what) {
    std::uint32_t value = 0;
    const auto [rest, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    must(problem == std::errc() && rest == text.data() + text.size() && value > 0,
         fmt::format("{}: {} needs a whole number from 1", quoted(text), what));
    return value;
  }

  const RosDefinitionFinder& find_;
  RosDefinition made_;
  std::vector<RosConstant> constants_;  // since the last field
  std::size_t fields_of_all_ = 0;
  std::size_t constants_of_all_ = 0;
  std::size_t line_ = 0;
  bool wants_name_ = false;
};

}  // namespace

namespace msg {
namespace {

enum class Visit : std::uint8_t { none, within, done };

// NOLINTNEXTLINE(misc-no-recursion): as deep as there are types
void descend(const RosDefinition& made, std::size_t at, std::vector<std::size_t>& depths,
             std::vector<Visit>& visits) {
  visits[at] = Visit::within;
  for (const RosField& field : made.types[at].fields) {
    if (field.nested == RosDefinition::kNoType) continue;
    if (visits[field.nested] == Visit::within)
      throw RosRefusal{fmt::format("{} contains itself, by its field {}", made.types[at].name, field.name)};
    if (visits[field.nested] == Visit::none) descend(made, field.nested, depths, visits);
    depths[at] = std::max(depths[at], depths[field.nested] + 1);
  }
  if (depths[at] > RosDefinition::kMostNested)
    throw RosRefusal{fmt::format("{}: types are nested more than {} deep", made.types[at].name,
                                 RosDefinition::kMostNested)};
  visits[at] = Visit::done;
}

}  // namespace

Result<> resolve(RosDefinition& definition) try {
  for (RosType& type : definition.types) {
    for (RosField& field : type.fields) {
      if (field.id != kNestedId) continue;
      const auto found = std::find_if(definition.types.begin(), definition.types.end(),
                                      [&](const RosType& one) { return one.name == field.type; });
      if (found == definition.types.end())
        throw RosRefusal{fmt::format("{}line {}: there is no definition of {}",
                                     &type == &definition.types.front() ? "" : type.name + ", ", field.line,
                                     field.type)};
      field.nested = static_cast<std::uint16_t>(found - definition.types.begin());
    }
  }
  std::vector<Visit> visits(definition.types.size(), Visit::none);
  std::vector<std::size_t> depths(definition.types.size());
  for (std::size_t i = 0; i < definition.types.size(); ++i)
    if (visits[i] == Visit::none) descend(definition, i, depths, visits);
  return {};
} catch (const RosRefusal& refusal) {
  return Error(kBadInput, "read a ROS definition", refusal.why);
}

std::string short_ros_name(std::string_view name) {
  constexpr std::string_view kMiddle = "/msg/";
  std::string made(name);
  if (const std::size_t at = made.find(kMiddle); at != std::string::npos)
    made.replace(at, kMiddle.size(), "/");
  return made;
}

}  // namespace msg

Result<RosDefinition> parse_ros2msg(std::string_view name, std::string_view text) {
  return parse_ros2msg(name, text, nullptr);
}

Result<RosDefinition> parse_ros2msg(std::string_view name, std::string_view text,
                                    const RosDefinitionFinder& find) {
  try {
    RosDefinition made = RosParser(find).run(name, text);
    if (auto whole = msg::resolve(made); !whole) return whole.error();
    return made;
  } catch (const RosRefusal& refusal) {
    return Error(kBadInput, "read a ROS definition", refusal.why);
  }
}

}  // namespace horus::HORUS_ABI
