// SPDX-License-Identifier: Apache-2.0
// What a program takes in round Horus, as far as the names that it imports tell: none of that is in an exact recording.
#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <elf.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/cli/doctor.hpp>

namespace horus::cli {
namespace {

struct Input {
  const char* name;
  const char* sentence;  // behind the symbols
  const char* remedy;
  std::vector<std::string_view> symbols;     // whole names
  std::vector<std::string_view> beginnings;  // of mangled ones
};

// clock_gettime is not among them: horus::now() itself brings it into a program, for threads without a loop.
const std::vector<Input>& inputs() {
  static const std::vector<Input> all = {
      {"time",
       "reads the clock itself",
       "horus::now(), horus::wall_clock_ns()",
       {"gettimeofday", "time", "clock", "ftime", "timespec_get"},
       {"_ZNSt6chrono3_V212steady_clock3now", "_ZNSt6chrono3_V212system_clock3now"}},
      {"chance",
       "takes random numbers from elsewhere",
       "seed a generator of the standard library with a number that Horus gave, e.g. horus::now_ns()",
       {"rand", "rand_r", "random", "drand48", "getrandom", "getentropy", "arc4random"},
       {"_ZNSt13random_device"}},
      {"files",
       "reads and writes files itself",
       "horus::io::File, horus::io::read_file",
       {"open", "open64", "openat", "fopen", "fopen64", "read", "pread", "pread64", "readv", "mmap", "mmap64",
        "fread", "fgets", "getline", "opendir", "readdir", "readdir64", "stat", "stat64"},
       {"_ZNSt13basic_filebuf", "_ZNSt14basic_ifstream", "_ZNSt13basic_fstream", "_ZNSt10filesystem"}},
      {"standard input",
       "reads its standard input itself",
       "horus::io::PipeReader on descriptor 0",
       {"stdin", "getchar", "scanf", "__isoc99_scanf"},
       {"_ZSt3cin"}},
      {"network",
       "receives from sockets itself",
       "horus::io::TcpStream, horus::io::UdpSocket",
       {"socket", "recv", "recvfrom", "recvmsg", "accept", "accept4", "connect", "getaddrinfo", "select",
        "poll", "epoll_wait"},
       {}},
      {"devices",
       "asks drivers itself",
       "horus::io::SerialPort, or one offloaded call whose result is numbers",
       {"ioctl", "tcgetattr"},
       {}},
      {"threads",
       "starts threads itself: they run at a replay too, and not as they did",
       "horus::io::offload, or a node",
       {"pthread_create", "thrd_create", "fork", "vfork"},
       {"_ZNSt6thread15_M_start_thread"}},
      {"children",
       "starts processes itself",
       "horus::io::Process, horus::io::run_process",
       {"popen", "system", "posix_spawn", "posix_spawnp", "execve", "execvp"},
       {}},
      {"environment",
       "reads variables of the environment: set the same ones at a replay",
       "",
       {"getenv", "secure_getenv", "environ"},
       {}},
  };
  return all;
}

// The names that the program takes from libraries. Throws std::runtime_error for what is no program of this machine's kind.
std::vector<std::string> imported(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw std::runtime_error(Error(errno, "open", path).message());
  if (!S_ISREG(status.st_mode)) throw std::runtime_error(path + " is no file");
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (!file && !file.eof()) throw std::runtime_error(Error(EACCES, "read", path).message());
  const auto refuse = [&](const char* why) { return std::runtime_error(fmt::format("{}: {}", path, why)); };
  // A copy of what lies at `at`; nothing in a file is trusted.
  const auto load = [&](auto& object, std::uint64_t at) {
    if (at > bytes.size() || bytes.size() - at < sizeof object) throw refuse("it is cut off or damaged");
    std::memcpy(&object, bytes.data() + at, sizeof object);
  };
  if (bytes.size() < SELFMAG || std::memcmp(bytes.data(), ELFMAG, SELFMAG) != 0)
    throw refuse("it is no program (of a script, ask about the interpreter's modules)");
  Elf64_Ehdr header{};
  load(header, 0);
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
      header.e_shentsize != sizeof(Elf64_Shdr))
    throw refuse("it is no 64-bit little-endian program");
  std::vector<std::string> names;
  bool is_dynamic = false;
  for (unsigned i = 0; i < header.e_shnum; ++i) {
    Elf64_Shdr section{};
    load(section, header.e_shoff + std::uint64_t{i} * sizeof section);
    if (section.sh_type != SHT_DYNSYM) continue;
    is_dynamic = true;
    Elf64_Shdr texts{};
    load(texts, header.e_shoff + std::uint64_t{section.sh_link} * sizeof texts);
    if (texts.sh_offset > bytes.size() || texts.sh_size > bytes.size() - texts.sh_offset)
      throw refuse("it is cut off or damaged");
    const std::string_view text(bytes.data() + texts.sh_offset, texts.sh_size);
    for (std::uint64_t at = 0; at + sizeof(Elf64_Sym) <= section.sh_size; at += sizeof(Elf64_Sym)) {
      Elf64_Sym symbol{};
      load(symbol, section.sh_offset + at);
      const bool from_elsewhere = symbol.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol.st_info) == STT_OBJECT;
      if (!from_elsewhere || symbol.st_name >= text.size()) continue;
      names.emplace_back(text.substr(symbol.st_name, text.find('\0', symbol.st_name) - symbol.st_name));
    }
  }
  if (!is_dynamic) throw refuse("it is linked statically, and says nothing of what it uses");
  return names;
}

bool is_of(const Input& input, std::string_view name) {
  return std::find(input.symbols.begin(), input.symbols.end(), name) != input.symbols.end() ||
         std::any_of(input.beginnings.begin(), input.beginnings.end(),
                     [&](std::string_view beginning) { return name.starts_with(beginning); });
}

// For a person: of a mangled name, the words in it.
std::string readable(std::string_view name) {
  static constexpr std::array kWords = {"steady_clock",  "system_clock",   "random_device",
                                        "basic_filebuf", "basic_ifstream", "basic_fstream",
                                        "filesystem",    "_ZSt3cin",       "thread"};
  static constexpr std::array kTold = {"std::chrono::steady_clock",
                                       "std::chrono::system_clock",
                                       "std::random_device",
                                       "std::fstream",
                                       "std::ifstream",
                                       "std::fstream",
                                       "std::filesystem",
                                       "std::cin",
                                       "std::thread"};
  for (std::size_t i = 0; name.starts_with("_Z") && i < kWords.size(); ++i) {
    if (name.find(kWords[i]) != std::string_view::npos) return kTold[i];
  }
  return std::string(name);
}

}  // namespace

Diagnosis examine_program(const std::string& path) {
  constexpr std::size_t kMostNamed = 5;
  Diagnosis diagnosis;
  const std::vector<std::string> names = imported(path);
  const bool uses_horus = std::any_of(names.begin(), names.end(), [](std::string_view name) {
    return name.find("5horus") != std::string_view::npos;
  });
  for (const Input& input : inputs()) {
    std::vector<std::string> found;
    for (const std::string& name : names) {
      if (!is_of(input, name)) continue;
      const std::string told = readable(name);
      if (std::find(found.begin(), found.end(), told) == found.end()) found.push_back(told);
    }
    if (found.empty()) continue;
    std::string list;
    for (std::size_t i = 0; i < std::min(found.size(), kMostNamed); ++i)
      list += (i == 0 ? "" : ", ") + found[i];
    if (found.size() > kMostNamed) list += fmt::format(" and {} more", found.size() - kMostNamed);
    diagnosis.checks.push_back(
        {input.name, Verdict::note, fmt::format("{} ({}).", input.sentence, list), input.remedy});
  }
  if (!uses_horus)
    diagnosis.checks.push_back({"Horus", Verdict::problem,
                                "It uses nothing of Horus' shared library: nothing of it can be recorded."});
  const auto notes = diagnosis.checks.size();
  diagnosis.summary = notes == 0 ? fmt::format("All that {} takes in by itself comes through Horus.", path)
                                 : fmt::format("An exact recording of {} may lack these inputs.", path);
  return diagnosis;
}

}  // namespace horus::cli
