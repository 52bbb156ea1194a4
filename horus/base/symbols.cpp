// SPDX-License-Identifier: Apache-2.0
#include <horus/base/symbols.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace horus::HORUS_ABI::detail {
namespace {

constexpr int kOwnFrames = 2;              // the handler and its trampoline
constexpr std::size_t kLongestName = 160;  // templates are longer than a person reads
constexpr int kBadName = -2;               // of __cxa_demangle
constexpr off_t kLargestFile = 1'000'000'000;

// A file in memory, to read its symbol table.
class Image {
 public:
  explicit Image(const char* path) {
    const int file = ::open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    struct stat status{};
    if (::fstat(file, &status) == 0 && status.st_size > static_cast<off_t>(sizeof(ElfW(Ehdr))) &&
        status.st_size < kLargestFile) {
      size_ = static_cast<std::size_t>(status.st_size);
      void* const at = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
      if (at != MAP_FAILED) bytes_ = static_cast<const char*>(at);
    }
    ::close(file);
  }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;
  ~Image() {
    if (bytes_ != nullptr) ::munmap(const_cast<char*>(bytes_), size_);
  }

  // The function that `address` (as the file counts) lies in; empty when the table does not tell.
  [[nodiscard]] const char* function_at(std::uintptr_t address) const {
    const auto* header = at<ElfW(Ehdr)>(0);
    if (header == nullptr || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return "";
    for (std::size_t i = 0; i < header->e_shnum; ++i) {
      const auto* section = at<ElfW(Shdr)>(header->e_shoff + i * sizeof(ElfW(Shdr)));
      if (section == nullptr || section->sh_type != SHT_SYMTAB) continue;
      const auto* names = at<ElfW(Shdr)>(header->e_shoff + section->sh_link * sizeof(ElfW(Shdr)));
      if (names == nullptr) return "";
      for (std::size_t k = 0; k < section->sh_size / sizeof(ElfW(Sym)); ++k) {
        const auto* symbol = at<ElfW(Sym)>(section->sh_offset + k * sizeof(ElfW(Sym)));
        if (symbol == nullptr) return "";
        if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || address < symbol->st_value ||
            address - symbol->st_value >= symbol->st_size)
          continue;
        const std::size_t name = names->sh_offset + symbol->st_name;
        return name < size_ && std::memchr(bytes_ + name, 0, size_ - name) != nullptr ? bytes_ + name : "";
      }
    }
    return "";
  }

 private:
  template <class T>
  [[nodiscard]] const T* at(std::size_t offset) const {
    if (bytes_ == nullptr || offset > size_ || size_ - offset < sizeof(T)) return nullptr;
    return reinterpret_cast<const T*>(bytes_ + offset);
  }
  const char* bytes_ = nullptr;
  std::size_t size_ = 0;
};

std::string_view base_name(std::string_view path) {
  const auto slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

std::string_view readable(std::string_view name) noexcept {
  const auto end = name.rfind("::_Z");
  if (end == std::string_view::npos || name.find("Frame*)", end) == std::string_view::npos) return name;
  int depth = 0;  // back to the bracket in which the frame is the parameter
  for (std::size_t begin = end; begin-- > 0;) {
    if (name[begin] == ')') ++depth;
    if (name[begin] == '(' && depth-- == 0) return name.substr(begin + 1, end - begin - 1);
  }
  return name;
}

std::string without_version(std::string_view text) {
  constexpr std::string_view kHorus = "horus::";
  constexpr std::string_view kDigits = "0123456789";
  std::string plain;
  for (std::size_t at; (at = text.find(kHorus)) != std::string_view::npos;) {
    at += kHorus.size();
    plain += text.substr(0, at);
    text.remove_prefix(at);
    if (!text.starts_with('v')) continue;
    const std::size_t between = text.find_first_not_of(kDigits, 1);
    if (between == std::string_view::npos || between == 1 || text[between] != '_') continue;
    const std::size_t end = text.find_first_not_of(kDigits, between + 1);
    if (end != std::string_view::npos && end > between + 1 && text.substr(end).starts_with("::"))
      text.remove_prefix(end + 2);
  }
  plain += text;
  return plain;
}

std::string demangled(const char* name) {
  int status = 0;
  char* plain = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  // libstdc++ before 14 does not read what templates require (Q and an expression, up to the E of their arguments or the
  // end of the name): without it the name is readable.
  const std::string_view whole = name;
  for (std::size_t from = whole.rfind('Q'); status == kBadName && from != std::string_view::npos && from > 0;
       from = whole.rfind('Q', from - 1)) {
    for (std::size_t to = whole.find('E', from); status == kBadName; to = whole.find('E', to + 1)) {
      std::string shorter(whole.substr(0, from));
      if (to != std::string_view::npos) shorter += whole.substr(to);
      plain = abi::__cxa_demangle(shorter.c_str(), nullptr, nullptr, &status);
      if (to == std::string_view::npos) break;
    }
  }
  std::string text = without_version(readable(status == 0 ? plain : name));
  std::free(plain);
  if (text.size() > kLongestName) text.replace(kLongestName, std::string::npos, "...");
  return text;
}

std::string describe(const Stack& stack) {
  std::string text;
  for (int i = kOwnFrames; i < stack.count; ++i) {
    Dl_info info{};
    link_map* map = nullptr;
    if (::dladdr1(stack.frames[i], &info, reinterpret_cast<void**>(&map), RTLD_DL_LINKMAP) == 0 ||
        info.dli_fname == nullptr)
      continue;
    // A return address may lie behind the end of a function that does not return.
    const auto address = reinterpret_cast<std::uintptr_t>(stack.frames[i]) - (i > kOwnFrames ? 1 : 0);
    const std::uintptr_t in_file = address - (map != nullptr ? map->l_addr : 0);
    std::string name;
    if (info.dli_sname != nullptr) {
      name = demangled(info.dli_sname);
    } else {
      // The main program's own name may be relative to a folder that is no longer the current one.
      const bool main_program = map != nullptr && (map->l_name == nullptr || map->l_name[0] == '\0');
      const Image image(main_program ? "/proc/self/exe" : info.dli_fname);
      if (const char* found = image.function_at(in_file); *found != '\0') name = demangled(found);
    }
    const auto offset =
        reinterpret_cast<std::uintptr_t>(stack.frames[i]) - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
    text +=
        fmt::format("\n    {}{}({}+{:#x})", name, name.empty() ? "" : " ", base_name(info.dli_fname), offset);
  }
  return text;
}

}  // namespace horus::HORUS_ABI::detail
