// SPDX-License-Identifier: Apache-2.0
#include <horus/io/base/mounts.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <climits>
#include <mutex>
#include <new>
#include <unordered_map>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <horus/base/clock.hpp>

namespace horus::HORUS_ABI::io::detail {
namespace {

constexpr std::int64_t kLook_ns = 100'000'000;
constexpr std::size_t kMostFolders = 1024;  // whose answer is kept
constexpr int kMostLinks = 40;              // as the kernel follows

Mount::Kind kind_of(std::string_view type) noexcept {
  constexpr std::array kRemote = {"nfs",      "nfs4",   "cifs",   "smb3",    "smbfs", "9p",
                                  "ceph",     "afs",    "autofs", "coda",    "gfs2",  "ocfs2",
                                  "virtiofs", "lustre", "beegfs", "orangefs"};
  constexpr std::array kDriver = {"sysfs", "debugfs", "tracefs", "configfs", "efivarfs"};
  if (type.starts_with("fuse")) return Mount::Kind::remote;
  if (std::find(kRemote.begin(), kRemote.end(), type) != kRemote.end()) return Mount::Kind::remote;
  return std::find(kDriver.begin(), kDriver.end(), type) != kDriver.end() ? Mount::Kind::driver
                                                                          : Mount::Kind::local;
}

std::string_view next_word(std::string_view& line) noexcept {
  const std::size_t end = std::min(line.find(' '), line.size());
  const std::string_view word = line.substr(0, end);
  line.remove_prefix(std::min(end + 1, line.size()));
  return word;
}

// "\040" is a space (proc(5)).
std::string unescaped(std::string_view text) {
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned code = 0;
    if (text[i] == '\\' && i + 3 < text.size() &&
        std::from_chars(text.data() + i + 1, text.data() + i + 4, code, 8).ptr == text.data() + i + 4) {
      plain += static_cast<char>(code);
      i += 3;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

std::string read_mounts() {
  std::string text;
  const int fd = ::open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  std::array<char, 16384> part;
  for (ssize_t got; (got = ::read(fd, part.data(), part.size())) > 0;)
    text.append(part.data(), static_cast<std::size_t>(got));
  ::close(fd);
  return text;
}

struct Table {
  std::mutex mutex;
  std::string text;  // of the last look
  std::vector<Mount> mounts;
  std::unordered_map<std::string, bool> folders;  // absolute, as given: does its path lead to a remote one
  std::int64_t folders_since_ns = 0;
};

std::atomic<std::int64_t> look_at_ns{0};
std::atomic<bool> any_remote{false};

// Never destroyed: threads may open files while the process ends.
Table& table() noexcept {
  static auto* const instance = new Table;
  return *instance;
}

// Whoever comes first after a while reads the mounts; the others go by what was found last.
void look() {
  const std::int64_t now = monotonic_ns();
  std::int64_t due = look_at_ns.load(std::memory_order_acquire);
  if (now < due) return;
  Table& known = table();
  const std::lock_guard lock(known.mutex);
  if (look_at_ns.load(std::memory_order_relaxed) != due) return;
  std::string text = read_mounts();
  known.folders.clear();  // links change as well
  if (text != known.text) {
    known.text = std::move(text);
    known.mounts = parse_mounts(known.text);
    any_remote.store(std::any_of(known.mounts.begin(), known.mounts.end(),
                                 [](const Mount& mount) { return mount.kind == Mount::Kind::remote; }));
  }
  look_at_ns.store(now + kLook_ns, std::memory_order_release);
}

bool is_remote(const std::vector<Mount>& mounts, std::string_view path) noexcept {
  const Mount* mount = mount_of(mounts, path);
  return mount != nullptr && mount->kind == Mount::Kind::remote;
}

// Puts the parts of `path` in front of what is still to be walked.
void push_front(std::vector<std::string>& left, std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > 0) parts.emplace_back(path.substr(0, end));
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  left.insert(left.end(), parts.rbegin(), parts.rend());
}

// Walks the path as the kernel would, link by link, and stops in front of a remote file system: no step can wait.
bool leads_to_remote(const std::vector<Mount>& mounts, std::string_view path) {
  std::vector<std::string> left;  // the next part is the last element
  push_front(left, path);
  std::string at;
  std::array<char, PATH_MAX> target;
  int links = 0;
  while (!left.empty()) {
    const std::string part = std::move(left.back());
    left.pop_back();
    if (part == ".") continue;
    if (part == "..") {
      at.resize(at.empty() ? 0 : at.rfind('/'));
      continue;
    }
    const std::string next = at + "/" + part;
    if (is_remote(mounts, next)) return true;
    const ssize_t size = ::readlink(next.c_str(), target.data(), target.size());
    if (size <= 0) {
      if (errno == ENOENT || errno == EACCES) return false;  // the operation ends there as well
      at = next;
      continue;
    }
    if (++links > kMostLinks) return false;
    const std::string_view to(target.data(), static_cast<std::size_t>(size));
    if (to.front() == '/') at.clear();
    push_front(left, to);
  }
  return false;
}

std::string absolute(int folder, const char* path) {
  if (path[0] == '/') return path;
  std::array<char, PATH_MAX> start;
  ssize_t size = -1;
  if (folder == AT_FDCWD) {
    size = ::readlink("/proc/self/cwd", start.data(), start.size());
  } else {
    size = ::readlink(("/proc/self/fd/" + std::to_string(folder)).c_str(), start.data(), start.size());
  }
  if (size <= 0) return path;
  return std::string(start.data(), static_cast<std::size_t>(size)) + "/" + path;
}

bool path_may_wait_slowly(int folder, const char* path) {
  const std::string full = absolute(folder, path);
  Table& known = table();
  const std::lock_guard lock(known.mutex);
  const std::string above = full.substr(0, full.rfind('/') + 1);
  auto found = known.folders.find(above);
  if (found == known.folders.end()) {
    if (known.folders.size() >= kMostFolders) known.folders.clear();
    found = known.folders.emplace(above, leads_to_remote(known.mounts, above)).first;
  }
  return found->second || leads_to_remote(known.mounts, full);
}

}  // namespace

std::vector<Mount> parse_mounts(std::string_view text) {
  std::vector<Mount> mounts;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    next_word(line);
    next_word(line);
    const std::string_view numbers = next_word(line);
    next_word(line);
    const std::string_view point = next_word(line);
    const std::size_t separator = line.find(" - ");
    unsigned major_number = 0;
    unsigned minor_number = 0;
    const auto major_end = std::from_chars(numbers.data(), numbers.data() + numbers.size(), major_number);
    if (separator == std::string_view::npos || point.empty() || major_end.ec != std::errc() ||
        major_end.ptr == numbers.data() + numbers.size())
      continue;
    std::from_chars(major_end.ptr + 1, numbers.data() + numbers.size(), minor_number);
    line.remove_prefix(separator + 3);
    mounts.push_back({unescaped(point), makedev(major_number, minor_number), kind_of(next_word(line))});
  }
  return mounts;
}

const Mount* mount_of(const std::vector<Mount>& mounts, std::string_view path) noexcept {
  const Mount* best = nullptr;
  for (const Mount& mount : mounts) {
    const std::string_view point = mount.point == "/" ? std::string_view() : mount.point;
    const bool over = path.starts_with(point) && (path.size() == point.size() || path[point.size()] == '/');
    if (over && (best == nullptr || mount.point.size() >= best->point.size())) best = &mount;
  }
  return best;
}

bool path_may_wait(int folder, const char* path) noexcept {
  try {
    look();
    return any_remote.load(std::memory_order_relaxed) && path_may_wait_slowly(folder, path);
  } catch (const std::bad_alloc&) {  // without memory for the list, all files are taken for local ones
    return false;
  }
}

bool file_may_wait(int fd, const char* path) noexcept {
  try {
    look();
  } catch (const std::bad_alloc&) {
    return false;
  }
  const bool driver = path == nullptr || std::string_view(path).starts_with("/sys/");
  if (!driver && !any_remote.load(std::memory_order_relaxed)) return false;
  struct statx about{};
  // Nothing is asked for: no server is. What comes anyway says which mount it is.
  if (::statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &about) < 0) return false;
  const dev_t device = makedev(about.stx_dev_major, about.stx_dev_minor);
  Table& known = table();
  const std::lock_guard lock(known.mutex);
  return std::any_of(known.mounts.begin(), known.mounts.end(), [device](const Mount& mount) {
    return mount.device == device && mount.kind != Mount::Kind::local;
  });
}

}  // namespace horus::HORUS_ABI::io::detail
