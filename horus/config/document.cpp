// SPDX-License-Identifier: Apache-2.0
#include <horus/config/document.hpp>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/config/parsers.hpp>
#include <horus/config/reader.hpp>

namespace horus::HORUS_ABI::config {
namespace {

// Of an error message, bytes: names and parsers' words may come from the file.
constexpr std::size_t kLongestPlace = 200;
constexpr std::size_t kLongestProblem = 800;
constexpr const char* kReading = "read the configuration";

std::optional<Format> format_of(std::string_view path) {
  if (path.ends_with(".toml")) return Format::toml;
  if (path.ends_with(".yaml") || path.ends_with(".yml")) return Format::yaml;
  return std::nullopt;
}

// At most `limit` bytes of a regular file: a pipe could keep the program waiting.
Result<std::string> read_regular(const std::string& path, std::size_t limit) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return Error(errno, kReading, path);
  struct stat status{};
  int failure = ::fstat(fd, &status) != 0 ? errno : 0;
  if (failure == 0 && S_ISDIR(status.st_mode)) failure = EISDIR;
  if (failure == 0 && !S_ISREG(status.st_mode)) failure = EINVAL;
  std::string bytes;
  while (failure == 0 && bytes.size() < limit) {
    const std::size_t before = bytes.size();
    bytes.resize(std::min(limit, before + 65536));
    const ssize_t got = ::read(fd, bytes.data() + before, bytes.size() - before);
    bytes.resize(before + static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
    if (got == 0) break;
    if (got < 0 && errno != EINTR) failure = errno;
  }
  ::close(fd);
  if (failure != 0) return Error(failure, kReading, path);
  return bytes;
}

// Bytes of the UTF-8 character that `text` begins with; 0: it is none (https://www.rfc-editor.org/rfc/rfc3629).
std::size_t character_bytes(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80)
    return first >= ' ' && first != 0x7f ? 1 : first == '\t' || first == '\n' || first == '\r';
  const std::size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if ((first == 0xe0 && byte(1) < 0xa0) || (first == 0xed && byte(1) > 0x9f))
    return 0;  // too long; surrogates
  if ((first == 0xf0 && byte(1) < 0x90) || (first == 0xf4 && byte(1) > 0x8f))
    return 0;  // too long; too large
  return size;
}

void check_text(std::string_view text) {
  int line = 1;
  while (!text.empty()) {
    const std::size_t size = character_bytes(text);
    if (size == 0)
      throw Problem{line,
                    fmt::format("byte 0x{:02x} is not text (UTF-8)", static_cast<unsigned char>(text[0]))};
    if (text[0] == '\n') ++line;
    text.remove_prefix(size);
  }
}

std::string in_words(const std::vector<std::string>& names) {
  std::string line;
  for (const std::string& name : names) line += (line.empty() ? "" : ", ") + name;
  return line;
}

}  // namespace

std::string too_deep() { return fmt::format("nested more than {} deep", kMaxNesting); }
std::string too_many() { return fmt::format("more than {} values", kMaxValues); }

Error Document::error(int line, std::string_view what, std::string_view problem) const {
  std::string text = name_;
  if (line > 0) text += fmt::format(":{}", line);
  text += ": ";
  if (!what.empty()) text += in_a_line(what, kLongestPlace) + ": ";
  return Error(kBadConfiguration, "", text + in_a_line(problem, kLongestProblem));
}

Result<Document> Document::load(const std::string& path) {
  Document named;
  named.name_ = path;
  const auto format = format_of(path);
  if (!format) return named.error(0, "", "the name of a configuration ends in .toml, .yaml or .yml");
  auto text = read_regular(path, kMaxFileBytes + 1);
  if (!text) return text.error();
  return parse(*text, path, *format);
}

Result<Document> Document::parse(std::string_view text, std::string name, Format format) {
  Document document;
  document.name_ = std::move(name);
  if (text.size() > kMaxFileBytes)
    return document.error(0, "", fmt::format("more than {} bytes", kMaxFileBytes));
  try {
    check_text(text);
    document.root_ = std::get<Section>((format == Format::toml ? parse_toml(text) : parse_yaml(text)).is);
  } catch (const Problem& problem) {
    return document.error(problem.line, "", problem.text);
  }
  return document;
}

Result<> Document::check_sections(std::span<const std::string_view> known) const {
  const std::vector<std::string> names(known.begin(), known.end());
  for (const Entry& entry : root_) {
    const bool section = std::holds_alternative<Section>(entry.value.is);
    if (section && std::find(known.begin(), known.end(), entry.key) != known.end()) continue;
    const std::string near = nearest(entry.key, names);
    const std::string advice = fmt::format(
        "({}known: {})", near.empty() ? "" : "did you mean " + in_quotes(near) + "? ", in_words(names));
    if (section) return error(entry.line, entry.key, "unknown section " + advice);
    return error(entry.line, entry.key,
                 near == entry.key ? "expected a section, found " + describe(entry.value)
                                   : "a key outside of every section " + advice);
  }
  return {};
}

std::vector<std::string> Document::names(std::string_view group) const {
  std::vector<std::string> names;
  const Entry* entry = find(root_, group);
  const auto* section = entry == nullptr ? nullptr : std::get_if<Section>(&entry->value.is);
  if (section == nullptr) return names;
  for (const Entry& inner : *section) names.push_back(inner.key);
  return names;
}

Result<Reader> Document::section(std::string_view group) const {
  static const Section kEmpty;
  const Entry* entry = find(root_, group);
  if (entry == nullptr) return Reader(*this, std::string(group), kEmpty, 0);
  const auto* section = std::get_if<Section>(&entry->value.is);
  if (section == nullptr)
    return error(entry->line, group, "expected a section, found " + describe(entry->value));
  return Reader(*this, std::string(group), *section, entry->line);
}

Result<Reader> Document::section(std::string_view group, std::string_view name) const {
  const auto outer = section(group);
  if (!outer) return outer.error();
  const std::string path = fmt::format("{}.{}", group, name);
  const Entry* entry = find(outer->contents(), name);
  if (entry == nullptr) {
    const auto known = names(group);
    const std::string near = nearest(name, known);
    std::string problem = fmt::format("there is no section [{}]", path);
    const std::string advice = near.empty() ? "" : fmt::format("did you mean [{}.{}]? ", group, near);
    if (!known.empty()) problem += fmt::format(" ({}there are: {})", advice, in_words(known));
    return error(0, "", problem);
  }
  const auto* section = std::get_if<Section>(&entry->value.is);
  if (section == nullptr)
    return error(entry->line, path, "expected a section, found " + describe(entry->value));
  return Reader(*this, path, *section, entry->line);
}

}  // namespace horus::HORUS_ABI::config
