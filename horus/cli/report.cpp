// SPDX-License-Identifier: Apache-2.0
#include <horus/cli/report.hpp>

#include <algorithm>
#include <array>
#include <string_view>

#include <fmt/format.h>

#include <horus/base/version.hpp>
#include <horus/cli/json.hpp>

namespace horus::cli {
namespace {

struct Look {
  const char* word;
  const char* colour;
};
constexpr std::array kLooks = {Look{"ok", "32"}, Look{"note", "33"}, Look{"problem", "1;31"}};
constexpr std::size_t kVerdictWidth = 7;
constexpr std::size_t kLeastText = 30;  // columns for sentences, on however narrow a terminal

const Look& look_of(Verdict verdict) { return kLooks[static_cast<std::size_t>(verdict)]; }

std::string painted(std::string_view text, const char* colour, bool wanted) {
  return wanted ? fmt::format("\033[{}m{}\033[0m", colour, text) : std::string(text);
}

// The columns that text takes on a terminal, where every letter takes one.
std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char letter) {
    return (static_cast<unsigned char>(letter) & 0xC0U) != 0x80U;
  }));
}

// Appends words, broken into lines of at most `width` columns; further lines begin with `indent` blanks.
void append_wrapped(std::string& out, std::string_view text, std::size_t indent, std::size_t width) {
  std::size_t column = 0;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t columns = columns_of(word);
    if (column > 0 && column + 1 + columns > width) {
      out += fmt::format("\n{:{}}", "", indent);
      column = 0;
    }
    if (column > 0) {
      out += ' ';
      ++column;
    }
    out += word;
    column += columns;
  }
}

std::string counted(std::size_t count, const char* one, const char* many) {
  return count == 0 ? fmt::format("no {}", many) : fmt::format("{} {}", count, count == 1 ? one : many);
}

}  // namespace

std::string to_text(const Diagnosis& diagnosis, const TextStyle& style) {
  std::size_t name_width = 0;
  for (const Check& check : diagnosis.checks) name_width = std::max(name_width, columns_of(check.name));
  const std::size_t indent = 2 + kVerdictWidth + 2 + name_width + 2;
  const std::size_t width = std::max(style.columns > indent ? style.columns - indent : 0, kLeastText);
  std::string out;
  for (const Check& check : diagnosis.checks) {
    const Look& look = look_of(check.verdict);
    const std::string word = fmt::format("{:<{}}", look.word, kVerdictWidth);
    out += fmt::format("  {}  {:<{}}  ", painted(word, look.colour, style.colour), check.name, name_width);
    append_wrapped(out, check.sentence, indent, width);
    out += '\n';
    if (!check.remedy.empty()) {
      const std::string remedy = fmt::format("→ {}", check.remedy);
      out += fmt::format("{:{}}{}\n", "", indent, painted(remedy, "36", style.colour));
    }
  }
  const auto count = [&](Verdict verdict) {
    return static_cast<std::size_t>(
        std::count_if(diagnosis.checks.begin(), diagnosis.checks.end(),
                      [&](const Check& check) { return check.verdict == verdict; }));
  };
  if (!diagnosis.summary.empty())
    return out +
           fmt::format("{}{}\n", out.empty() ? "" : "\n", painted(diagnosis.summary, "1", style.colour));
  const std::string verdict =
      diagnosis.backend.empty()
          ? painted("Horus cannot run here.", "1;31", style.colour)
          : painted(fmt::format("Horus runs here, on {}.", diagnosis.backend), "1", style.colour);
  out += fmt::format("\n{} {} ok, {}, {}.\n", verdict, count(Verdict::ok),
                     counted(count(Verdict::note), "note", "notes"),
                     counted(count(Verdict::problem), "problem", "problems"));
  return out;
}

std::string to_json(const Diagnosis& diagnosis) {
  std::string out = fmt::format("{{\n  \"version\": {},\n", json_string(version()));
  if (diagnosis.summary.empty())
    out += fmt::format("  \"runs\": {},\n  \"backend\": {},\n", !diagnosis.backend.empty(),
                       json_string(diagnosis.backend));
  out += "  \"checks\": [";
  const char* separator = "\n";
  for (const Check& check : diagnosis.checks) {
    out += fmt::format("{}    {{\"name\": {}, \"verdict\": {}, \"sentence\": {}, \"remedy\": {}}}", separator,
                       json_string(check.name), json_string(look_of(check.verdict).word),
                       json_string(check.sentence), json_string(check.remedy));
    separator = ",\n";
  }
  return out + "\n  ]\n}\n";
}

}  // namespace horus::cli
