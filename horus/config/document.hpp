// SPDX-License-Identifier: Apache-2.0
// Configuration files, TOML and YAML, as one tree that knows its lines. Reading is blocking and bounded: it belongs to a
// program's start. A document is not changed once it is made; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/config/reader.hpp>
#include <horus/config/tree.hpp>

namespace horus::HORUS_ABI::config {

inline constexpr std::size_t kMaxFileBytes = std::size_t{1} << 20;
inline constexpr int kMaxNesting = 16;  ///< sections and lists within each other
inline constexpr std::size_t kMaxValues = 65536;

enum class Format : std::uint8_t { toml, yaml };

/// The contents of a configuration file.
///
/// Semantics: its sections are read with a Reader, which finds what is wrong in them.
/// Errors: kBadConfiguration; the message begins with file, line and key: `rover.toml:7: hub.base.adress: unknown key …`.
/// Thread safety: any thread.
/// Example:
/// ```
/// auto file = horus::config::Document::load("rover.toml").or_throw();
/// auto section = file.section("executor", "camera").or_throw();
/// ```
class HORUS_API Document {
 public:
  /// The file's format is that of its name: .toml, .yaml, .yml. Errors: those of open(2), with the path.
  static Result<Document> load(const std::string& path);
  /// `name` stands in messages.
  static Result<Document> parse(std::string_view text, std::string name, Format format);

  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] const Section& root() const noexcept { return root_; }
  /// Fails when there is a section on top that is none of `known`.
  [[nodiscard]] Result<> check_sections(std::span<const std::string_view> known) const;
  /// What `[group.…]` there are.
  [[nodiscard]] std::vector<std::string> names(std::string_view group) const;
  /// A reader of `[group]`; of an empty section when there is none.
  [[nodiscard]] Result<Reader> section(std::string_view group) const;
  /// A reader of `[group.name]`. Errors: there is none.
  [[nodiscard]] Result<Reader> section(std::string_view group, std::string_view name) const;
  /// `file:line: what: problem`; without line 0 and empty `what`.
  [[nodiscard]] Error error(int line, std::string_view what, std::string_view problem) const;

 private:
  std::string name_;
  Section root_;
};

/// True when this library was built with yaml-cpp.
HORUS_API bool reads_yaml() noexcept;

/// What a parser says about a file beyond kMaxNesting or kMaxValues.
std::string too_deep();
std::string too_many();

}  // namespace horus::HORUS_ABI::config
