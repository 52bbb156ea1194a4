// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm/shm_directory.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <utility>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fmt/format.h>

#include <horus/io/reactor.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/msg/layout.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kMaxNamePart =
    16;  // characters of a hub's name in a path: a socket's path has 107 in all
constexpr std::size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr std::size_t kHexDigits = 16;
constexpr std::string_view kTemporary = ".new-";  // in front of 16 digits
constexpr int kBindTries = 8;

std::uint64_t random_number() {
  std::uint64_t number = 0;
  io::Reactor::current()->system().random_bytes(&number, sizeof number);
  return number;
}

std::string set_in_environment(const char* name) {
  if (io::System::here().world_process() != 0) return {};  // the environment is not the simulated process's
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

}  // namespace

std::vector<std::string> candidate_directories(const std::string& wanted) {
  if (!wanted.empty()) return {wanted};
  if (auto chosen = set_in_environment("HORUS_RUNTIME_DIR"); !chosen.empty()) return {std::move(chosen)};
  std::vector<std::string> all;
  if (const auto session = set_in_environment("XDG_RUNTIME_DIR"); !session.empty())
    all.push_back(session + "/horus");
  const uid_t user = io::System::here().user();
  for (auto usual : {fmt::format("/run/user/{}/horus", user), fmt::format("/tmp/horus-{}", user)}) {
    if (std::find(all.begin(), all.end(), usual) == all.end()) all.push_back(std::move(usual));
  }
  return all;
}

Result<> prepare_directory(const std::string& directory) {
  io::System& host = io::System::here();
  if (const int made = host.make_folder(directory.c_str(), 0700); made < 0 && made != -EEXIST)
    return Error(-made, "make the hubs' directory", directory);
  struct stat status{};
  if (const int known = host.status(directory.c_str(), status); known < 0)
    return Error(-known, "look at the hubs' directory", directory);
  if (!S_ISDIR(status.st_mode) || status.st_uid != host.user() || (status.st_mode & 0022) != 0) {
    return Error(EPERM, "use the hubs' directory",
                 directory +
                     " (it must be a directory of this user that nobody else may write to; remove it, or set "
                     "HORUS_RUNTIME_DIR)");
  }
  return {};
}

Result<std::string> runtime_directory(const std::string& wanted) {
  Result<> prepared;
  for (std::string& directory : candidate_directories(wanted)) {
    prepared = prepare_directory(directory);
    if (prepared) return std::move(directory);
  }
  return prepared.error();
}

std::string socket_prefix(const std::string& hub) {
  std::string name;
  for (const char c : hub.substr(0, kMaxNamePart)) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    name += plain ? c : '_';
  }
  Layout hashed;
  hashed.name = hub;
  hashed.settle();
  return fmt::format("{}-{:08x}.", name, static_cast<std::uint32_t>(hashed.hash));
}

std::string socket_name(const std::string& hub, std::uint64_t instance) {
  return fmt::format("{}{:016x}", socket_prefix(hub), instance);
}

std::optional<std::uint64_t> instance_of(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix) || name.size() != prefix.size() + kHexDigits) return std::nullopt;
  std::uint64_t instance = 0;
  const auto [end, error] =
      std::from_chars(name.data() + prefix.size(), name.data() + name.size(), instance, 16);
  if (error != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return instance;
}

Result<BoundSocket> bind_socket(const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name;
  if (path.size() > kLongestPath) {
    return Error(ENAMETOOLONG, "listen",
                 fmt::format("{} (a socket's path has at most {} bytes: set HORUS_RUNTIME_DIR, or "
                             "ShmOptions::directory, to a shorter one)",
                             path, kLongestPath));
  }
  Result<> failed;
  for (int tries = 0; tries < kBindTries; ++tries) {
    const std::string temporary = fmt::format("{}/{}{:016x}", directory, kTemporary, random_number());
    auto listener = io::UnixListener::listen(temporary);
    if (!listener) return listener.error();
    static_cast<void>(io::Reactor::current()->system().change_mode(temporary.c_str(), 0600));
    io::System& host = io::System::here();
    struct stat status{};
    int renamed = host.status(temporary.c_str(), status);
    if (renamed >= 0) renamed = host.rename(temporary.c_str(), path.c_str());
    if (renamed >= 0) return BoundSocket{std::move(*listener), status.st_ino};
    // Somebody clears up here, and took it for old: once more.
    failed = Error(-renamed, "rename a hub's socket", path);
    static_cast<void>(host.unlink(temporary.c_str()));
  }
  return failed.error();
}

bool is_still_there(const std::string& path, std::uint64_t inode) {
  struct stat status{};
  return io::System::here().status(path.c_str(), status) >= 0 && status.st_ino == inode;
}

Result<DirectoryReader> DirectoryReader::open(const std::string& directory) {
  const int fd = io::System::here().open_folder(directory.c_str());
  if (fd < 0) return Error(-fd, "look for hubs", directory);
  return DirectoryReader(io::Descriptor(fd));
}

bool DirectoryReader::read(std::vector<std::string>& names) {
  struct Entry {  // linux_dirent64
    std::uint64_t inode;
    std::int64_t offset;
    unsigned short size;
    unsigned char kind;
  };
  constexpr std::size_t kNameAt = 19;
  std::array<char, 16384> buffer;
  const int bytes =
      io::Reactor::current()->system().list_directory(descriptor_.get(), buffer.data(), buffer.size());
  for (int at = 0; at < bytes;) {
    Entry entry;
    std::memcpy(&entry, buffer.data() + at, kNameAt);
    names.emplace_back(buffer.data() + at + kNameAt);
    at += entry.size;
  }
  return bytes > 0;
}

bool is_temporary(std::string_view name) {
  return name.starts_with(kTemporary) && name.size() == kTemporary.size() + kHexDigits;
}

void sweep_temporary(const std::string& path, Duration patience) {
  struct stat status{};
  io::System& host = io::System::here();
  if (host.status(path.c_str(), status) < 0 || !S_ISSOCK(status.st_mode) || path.size() > kLongestPath)
    return;
  const std::int64_t age_s =
      io::Reactor::current()->clock().wall_clock_ns() / 1'000'000'000 - status.st_mtim.tv_sec;
  if (age_s < patience / std::chrono::seconds(1)) return;
  const io::Descriptor probe(
      io::Reactor::current()->system().socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (host.connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == -ECONNREFUSED)
    static_cast<void>(host.unlink(path.c_str()));
}

}  // namespace horus::HORUS_ABI::msg
