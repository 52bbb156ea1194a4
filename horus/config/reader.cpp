// SPDX-License-Identifier: Apache-2.0
#include <horus/config/reader.hpp>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <horus/config/document.hpp>

namespace horus::HORUS_ABI::config {
namespace {

std::optional<double> as_number(const Value& value) {
  if (const auto* number = std::get_if<double>(&value.is)) return *number;
  if (const auto* integer = std::get_if<std::int64_t>(&value.is)) return static_cast<double>(*integer);
  return std::nullopt;
}

double in_ms(Duration duration) { return static_cast<double>(duration.count()) / 1e6; }

}  // namespace

void Reader::note(int line, std::string_view key, std::string_view problem) {
  if (line >= first_line_) return;
  first_line_ = line;
  first_ = document_->error(line, key.empty() ? path_ : fmt::format("{}.{}", path_, key), problem);
}

const Value* Reader::ask(std::string_view key) {
  asked_.emplace_back(key);
  const Entry* entry = find(*section_, key);
  return entry == nullptr ? nullptr : &entry->value;
}

void Reader::complain(std::string_view key, std::string_view problem) {
  const Entry* entry = find(*section_, key);
  note(entry == nullptr ? line_ : entry->line, key, problem);
}

void Reader::flag(std::string_view key, bool& into) {
  const Value* value = ask(key);
  if (value == nullptr) return;
  if (const auto* flag = std::get_if<bool>(&value->is)) {
    into = *flag;
  } else {
    complain(key, "expected true or false, found " + describe(*value));
  }
}

void Reader::text(std::string_view key, std::string& into) {
  const Value* value = ask(key);
  if (value == nullptr) return;
  if (const auto* text = std::get_if<std::string>(&value->is)) {
    into = *text;
  } else {
    complain(key, "expected a text, found " + describe(*value));
  }
}

void Reader::texts(std::string_view key, std::vector<std::string>& into, std::size_t most) {
  const Value* value = ask(key);
  if (value == nullptr) return;
  const auto* list = std::get_if<List>(&value->is);
  if (list == nullptr) return complain(key, "expected a list of texts, found " + describe(*value));
  if (list->size() > most)
    return complain(key, fmt::format("expected a list of at most {} texts, found {}", most, list->size()));
  std::vector<std::string> texts;
  for (const Value& element : *list) {
    const auto* text = std::get_if<std::string>(&element.is);
    if (text == nullptr)
      return note(element.line, key, "expected a list of texts, found in it " + describe(element));
    texts.push_back(*text);
  }
  into = std::move(texts);
}

std::optional<std::uint64_t> Reader::whole(std::string_view key, std::uint64_t least, std::uint64_t most) {
  const Value* value = ask(key);
  if (value == nullptr) return std::nullopt;
  const auto* integer = std::get_if<std::int64_t>(&value->is);
  if (integer != nullptr && *integer >= 0) {
    const auto number = static_cast<std::uint64_t>(*integer);
    if (number >= least && number <= most) return number;
  }
  complain(key,
           fmt::format("expected a whole number from {} to {}, found {}", least, most, describe(*value)));
  return std::nullopt;
}

void Reader::number(std::string_view key, double& into, double least, double most) {
  const Value* value = ask(key);
  if (value == nullptr) return;
  const auto number = as_number(*value);
  if (number && *number >= least && *number <= most) {
    into = *number;
  } else {
    complain(key, fmt::format("expected a number from {} to {}, found {}", least, most, describe(*value)));
  }
}

void Reader::milliseconds(std::string_view key, Duration& into, Duration least, Duration most) {
  const Value* value = ask(key);
  if (value == nullptr) return;
  const auto number = as_number(*value);
  if (number && *number >= in_ms(least) && *number <= in_ms(most)) {
    into = Duration(std::llround(*number * 1e6));
  } else {
    complain(key, fmt::format("expected {} to {} milliseconds, found {}", in_ms(least), in_ms(most),
                              describe(*value)));
  }
}

std::size_t Reader::one_of(std::string_view key, const std::vector<std::string>& words) {
  const Value* value = ask(key);
  if (value == nullptr) return words.size();
  const auto* text = std::get_if<std::string>(&value->is);
  if (text != nullptr) {
    const auto found = std::find(words.begin(), words.end(), *text);
    if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  }
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : ", ") + in_quotes(word);
  std::string problem = fmt::format("expected one of {}, found {}", all, describe(*value));
  if (const std::string near = text == nullptr ? std::string() : nearest(*text, words); !near.empty())
    problem += fmt::format(" (did you mean {}?)", in_quotes(near));
  complain(key, problem);
  return words.size();
}

void Reader::require(std::string_view key, std::string_view what) {
  if (find(*section_, key) == nullptr)
    note(line_, "", fmt::format("the key {} is missing: {}", in_quotes(key), what));
}

void Reader::refuse(std::string_view key, std::string_view why) {
  refused_.emplace_back(key);
  if (find(*section_, key) != nullptr) complain(key, why);
}

Result<> Reader::finish() {
  for (const Entry& entry : *section_) {
    const auto knows = [&](const std::vector<std::string>& keys) {
      return std::find(keys.begin(), keys.end(), entry.key) != keys.end();
    };
    if (knows(asked_) || knows(refused_)) continue;
    std::string all;
    for (const std::string& key : asked_) all += (all.empty() ? "" : ", ") + key;
    const std::string near = nearest(entry.key, asked_);
    const std::string advice = near.empty() ? "" : "did you mean " + in_quotes(near) + "? ";
    complain(entry.key, fmt::format("unknown key ({}known: {})", advice, all));
  }
  return first_;
}

}  // namespace horus::HORUS_ABI::config
