// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/door/doorstep.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/clock.hpp>
#include <horus/base/version.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/msg/shm/shm_directory.hpp>

namespace horus::HORUS_ABI::msg::door {
namespace {

constexpr std::size_t kNameBytes = 32;  // of a program's name in a path
constexpr std::size_t kPathBytes = sizeof(sockaddr_un::sun_path) - 1;
constexpr int kSameNames = 8;  // programs with one number and one name
constexpr int kQueued = 64;    // visitors that the kernel keeps until they are accepted
constexpr std::size_t kCommandBytes = 4096;
constexpr std::int64_t kTemporaryAge_s = 60;
constexpr std::string_view kFolder = "/inspect";
constexpr std::string_view kSuffix = ".sock";
constexpr std::string_view kUnready = ".new-";  // in front of a socket that does not listen yet

std::string in_path(const std::string& name) {
  std::string plain;
  for (const char c : name.substr(0, kNameBytes)) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '.';
    plain += fine ? c : '_';
  }
  return plain.empty() ? "program" : plain;
}

sockaddr_un address_of(const std::string& path) noexcept {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.c_str(), std::min(path.size() + 1, sizeof address.sun_path - 1));
  return address;
}

bool is_trusted(int socket, bool everybody) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return everybody || peer.uid == ::geteuid() || peer.uid == 0;
}

bool is_alive(const std::string& path) noexcept {
  const int fd = knock(path);
  if (fd >= 0) ::close(fd);
  return fd >= 0 || errno == EAGAIN;
}

bool is_socket(const std::string& path, struct stat& status) noexcept {
  return ::lstat(path.c_str(), &status) == 0 && S_ISSOCK(status.st_mode);
}

// A listener at `path`; -1 with errno.
int listen_at(const std::string& path) noexcept {
  const int fd = above_standard(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd < 0) return -1;
  const sockaddr_un address = address_of(path);
  // The folder lets nobody else in before the mode is set.
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    if (::chmod(path.c_str(), 0600) == 0 && ::listen(fd, kQueued) == 0) return fd;
    const int failed = errno;
    ::unlink(path.c_str());
    errno = failed;
  }
  const int failed = errno;
  ::close(fd);
  errno = failed;
  return -1;
}

Result<Doorstep> bind_in(const std::string& folder, const std::string& name) {
  static std::atomic<unsigned> tries{0};
  const pid_t pid = ::getpid();
  const std::string stem = fmt::format("{}/{}-{}", folder, pid, in_path(name));
  Doorstep step;
  step.folder = folder;
  if (stem.size() + kSuffix.size() + 2 > kPathBytes) {
    return Error(
        ENAMETOOLONG, "listen",
        fmt::format("{}{} (a socket's path has at most {} bytes: set HORUS_RUNTIME_DIR to a shorter one)",
                    stem, kSuffix, kPathBytes));
  }
  const std::string unready = fmt::format("{}/{}{}-{}", folder, kUnready, pid, ++tries);
  ::unlink(unready.c_str());
  step.listener = listen_at(unready);
  if (step.listener < 0) return Error(errno, "listen at", unready);
  int failed = EADDRINUSE;
  for (int number = 1; number <= kSameNames; ++number) {
    step.path =
        number == 1 ? fmt::format("{}{}", stem, kSuffix) : fmt::format("{}-{}{}", stem, number, kSuffix);
    if (is_alive(step.path)) continue;
    if (::rename(unready.c_str(), step.path.c_str()) == 0) return step;
    failed = errno;
    break;
  }
  ::unlink(unready.c_str());
  ::close(step.listener);
  return Error(failed, "name the socket", step.path);
}

std::string contents(const char* path, std::size_t most) {
  std::string text(most, '\0');
  const int fd = above_standard(::open(path, O_RDONLY | O_CLOEXEC));
  if (fd < 0) return {};
  const ssize_t bytes = ::read(fd, text.data(), text.size());
  ::close(fd);
  text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
  return text;
}

// Since the process was started, by the kernel's account.
Duration age_of_process() {
  const std::string line = contents("/proc/self/stat", 1024);
  constexpr int kFieldAfterName = 20;  // 22 in proc(5), where the name is 2
  std::size_t at = line.rfind(')');
  for (int i = 0; at != std::string::npos && i < kFieldAfterName; ++i) at = line.find(' ', at + 1);
  std::uint64_t ticks = 0;
  const long per_second = ::sysconf(_SC_CLK_TCK);
  timespec now{};
  if (at == std::string::npos || per_second <= 0 || ::clock_gettime(CLOCK_BOOTTIME, &now) != 0)
    return Duration{0};
  std::from_chars(line.data() + at + 1, line.data() + line.size(), ticks);
  const std::int64_t since_boot_ns = std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  const auto started_ns =
      static_cast<std::int64_t>(ticks * (1'000'000'000 / static_cast<std::uint64_t>(per_second)));
  return Duration(std::max<std::int64_t>(since_boot_ns - started_ns, 0));
}

}  // namespace

Result<Doorstep> bind_door(const std::string& wanted, const std::string& name) {
  Result<Doorstep> bound = Error(ENOENT, "open the door");
  for (const std::string& directory : candidate_directories(wanted)) {
    const std::string folder = folder_in(directory);
    Result<> prepared = prepare_directory(directory);
    if (prepared) prepared = prepare_directory(folder);
    if (!prepared) {
      bound = prepared.error();
      continue;
    }
    bound = bind_in(folder, name);
    if (bound) break;
  }
  return bound;
}

std::string folder_in(const std::string& hubs_directory) { return hubs_directory + std::string(kFolder); }

std::vector<std::string> folders(const std::string& wanted) {
  std::vector<std::string> found;
  for (const std::string& directory : candidate_directories(wanted)) {
    std::string folder = folder_in(directory);
    struct stat status{};
    const uid_t user = ::geteuid();
    if (::lstat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode) || (status.st_mode & 0022) != 0 ||
        (status.st_uid != user && user != 0))
      continue;
    found.push_back(std::move(folder));
  }
  return found;
}

std::vector<std::string> doors_in(const std::string& folder) {
  std::vector<std::string> names;
  DIR* directory = ::opendir(folder.c_str());
  if (directory == nullptr) return names;
  while (const dirent* entry = ::readdir(directory)) {
    if (names.size() == kMostDoors) break;
    names.emplace_back(entry->d_name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

std::optional<pid_t> pid_in(std::string_view file) {
  if (!file.ends_with(kSuffix)) return std::nullopt;
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(file.data(), file.data() + file.size(), pid);
  if (error != std::errc() || pid <= 0 || end == file.data() + file.size() || *end != '-')
    return std::nullopt;
  return pid;
}

int knock(const std::string& path) noexcept {
  if (path.size() > kPathBytes) {
    errno = ENAMETOOLONG;
    return -1;
  }
  const int fd = above_standard(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd < 0) return -1;
  const sockaddr_un address = address_of(path);
  int failed = 0;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) failed = errno;
  if (failed == 0 && !is_trusted(fd, ::geteuid() == 0)) failed = EPERM;
  if (failed == 0) return fd;
  ::close(fd);
  errno = failed;
  return -1;
}

bool may_enter(int socket) noexcept { return is_trusted(socket, false); }

void sweep(const std::string& folder) {
  for (const std::string& name : doors_in(folder)) {
    const std::string path = folder + "/" + name;
    struct stat status{};
    if (name.starts_with(kUnready)) {
      timespec now{};
      ::clock_gettime(CLOCK_REALTIME, &now);
      if (!is_socket(path, status) || now.tv_sec - status.st_mtim.tv_sec < kTemporaryAge_s) continue;
    } else {
      const auto pid = pid_in(name);
      const bool ours = pid == ::getpid();  // of the program that was here before exec(3), or our own
      if (!pid || !is_socket(path, status) || (!ours && (::kill(*pid, 0) == 0 || errno != ESRCH))) continue;
    }
    // A process of another PID namespace may well listen.
    const int fd = knock(path);
    if (fd < 0 && errno == ECONNREFUSED) ::unlink(path.c_str());
    if (fd >= 0) ::close(fd);
  }
}

Host host_of_process(const std::string& name) {
  Host host;
  host.process.pid = ::getpid();
  host.process.name = name;
  host.process.version = version();
  host.started_ns = monotonic_ns() - age_of_process().count();
  const std::string line = contents("/proc/self/cmdline", kCommandBytes);
  for (std::size_t at = 0; at < line.size();) {
    const std::size_t end = std::min(line.find('\0', at), line.size());
    host.process.command_line.push_back(line.substr(at, end - at));
    at = end + 1;
  }
  return host;
}

}  // namespace horus::HORUS_ABI::msg::door
