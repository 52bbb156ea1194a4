// SPDX-License-Identifier: Apache-2.0
// Reads one section of a configuration key by key. One thread; the document outlives it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <horus/base/clock.hpp>
#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/config/tree.hpp>

namespace horus::HORUS_ABI::config {

class Document;

/// Takes the values of a section's keys into variables, which keep their values where a key is missing.
///
/// Semantics: ask for every key there is, then `finish()`: it fails with the first problem of the section, be it a wrong
/// type, a value out of range, or a key that is not known. Ranges include both ends.
/// Thread safety: one thread.
/// Example:
/// ```
/// reader.integer("max_connections", options.max_connections, 1, 65536);
/// reader.milliseconds("idle_limit_ms", options.idle_limit, 10ms, 1h);
/// reader.choice("role", options.role, {{"listen", TcpRole::listen}, {"connect", TcpRole::connect}});
/// if (auto sound = reader.finish(); !sound) return sound.error();
/// ```
class HORUS_API Reader {
 public:
  Reader(const Document& document, std::string path, const Section& section, int line)
      : document_(&document), section_(&section), path_(std::move(path)), line_(line) {}

  void flag(std::string_view key, bool& into);
  void text(std::string_view key, std::string& into);
  /// A list of at most `most` texts.
  void texts(std::string_view key, std::vector<std::string>& into, std::size_t most);
  template <std::integral Integer>
  void integer(std::string_view key, Integer& into, std::uint64_t least, std::uint64_t most) {
    if (const auto value = whole(key, least, most)) into = static_cast<Integer>(*value);
  }
  void number(std::string_view key, double& into, double least, double most);
  /// A number of milliseconds, fractions too.
  void milliseconds(std::string_view key, Duration& into, Duration least, Duration most);
  /// One of some words.
  template <class Word>
  void choice(std::string_view key, Word& into,
              std::initializer_list<std::pair<std::string_view, std::type_identity_t<Word>>> words) {
    std::vector<std::string> names;
    for (const auto& word : words) names.emplace_back(word.first);
    const std::size_t chosen = one_of(key, names);
    if (chosen < words.size()) into = (words.begin() + chosen)->second;
  }

  /// The key must be there. `what`: `a word, "tcp" or "shm"`.
  void require(std::string_view key, std::string_view what);
  /// The key may not be there, for this reason: `not used with mode = "shm"`.
  void refuse(std::string_view key, std::string_view why);
  /// A problem that the caller found with a key.
  void complain(std::string_view key, std::string_view problem);

  /// The first problem that has been found yet, by line.
  [[nodiscard]] const Result<>& so_far() const noexcept { return first_; }
  /// Errors: kBadConfiguration with the first problem, by line.
  [[nodiscard]] Result<> finish();
  /// Of the section, from 1.
  [[nodiscard]] int line() const noexcept { return line_; }
  [[nodiscard]] const Section& contents() const noexcept { return *section_; }

 private:
  const Value* ask(std::string_view key);
  std::optional<std::uint64_t> whole(std::string_view key, std::uint64_t least, std::uint64_t most);
  std::size_t one_of(std::string_view key, const std::vector<std::string>& words);
  void note(int line, std::string_view key, std::string_view problem);

  const Document* document_;
  const Section* section_;
  std::string path_;
  int line_;
  std::vector<std::string> asked_;
  std::vector<std::string> refused_;
  int first_line_ = std::numeric_limits<int>::max();
  Result<> first_;
};

}  // namespace horus::HORUS_ABI::config
