// SPDX-License-Identifier: Apache-2.0
#include <horus/base/version.hpp>

#include <string_view>

namespace horus::HORUS_ABI {

namespace {

#define HORUS_DETAIL_TEXT(words) #words
#define HORUS_DETAIL_TEXT_OF(macro) HORUS_DETAIL_TEXT(macro)

// "inline v0_1" for "0.1.7".
constexpr bool is_of(std::string_view abi, std::string_view version) {
  constexpr std::string_view kBegin = "inline v";
  if (!abi.starts_with(kBegin)) return false;
  abi.remove_prefix(kBegin.size());
  const std::size_t line = abi.find('_');
  return line != std::string_view::npos && version.size() > abi.size() && version[abi.size()] == '.' &&
         version.substr(0, line) == abi.substr(0, line) && version[line] == '.' &&
         version.substr(line + 1, abi.size() - line - 1) == abi.substr(line + 1);
}

}  // namespace

static_assert(is_of(HORUS_DETAIL_TEXT_OF(HORUS_ABI), HORUS_VERSION_STRING),
              "a new minor version renames HORUS_ABI in horus/base/compiler.hpp");
const char detail::version_of_these_headers = 0;

const char* version() noexcept { return HORUS_VERSION_STRING; }

}  // namespace horus::HORUS_ABI
