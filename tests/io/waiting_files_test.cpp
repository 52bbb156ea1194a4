// SPDX-License-Identifier: Apache-2.0
// Files that a server answers when it likes: a FUSE file system in a mount namespace of its own (root only).
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <horus/io/base/mounts.hpp>
#include <horus/io/file.hpp>
#include <horus/io/file_contents.hpp>
#include <horus/io/fs.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/task/scope.hpp>

#include "../support/real_kernel.hpp"

namespace {

using namespace std::chrono_literals;
using horus::Task;
using horus::io::File;

constexpr useconds_t kServerTakes_us = 300'000;
constexpr std::int64_t kLongestGap_ns = 150'000'000;  // a machine that is busy, not a server that is

// One file "f" of 100 bytes, opened, read and written as slowly as above; looking it up takes as long each time.
class SlowServer {
 public:
  explicit SlowServer(int device) : device_(device), input_(1 << 20) {}
  void serve() {
    while (true) {
      const ssize_t size = ::read(device_, input_.data(), input_.size());
      if (size <= 0) {
        if (errno == EINTR || errno == ENOENT) continue;
        return;
      }
      answer(*reinterpret_cast<const fuse_in_header*>(input_.data()));
    }
  }

 private:
  void reply(const fuse_in_header& to, int error, const void* data = nullptr, std::size_t size = 0) const {
    fuse_out_header header{};
    header.len = static_cast<std::uint32_t>(sizeof header + size);
    header.error = error;
    header.unique = to.unique;
    std::string text(reinterpret_cast<const char*>(&header), sizeof header);
    if (size > 0) text.append(static_cast<const char*>(data), size);
    static_cast<void>(!::write(device_, text.data(), text.size()));
  }
  static fuse_attr attributes(std::uint64_t node) {
    fuse_attr about{};
    about.ino = node;
    about.mode = node == 1 ? S_IFDIR | 0755U : S_IFREG | 0644U;
    about.nlink = 1;
    about.size = node == 1 ? 0 : 100;
    about.blksize = 4096;
    return about;
  }
  void answer(const fuse_in_header& request) const {
    const void* body = &request + 1;
    switch (request.opcode) {
      case FUSE_INIT: {
        fuse_init_out out{};
        out.major = 7;
        out.minor = 31;
        out.max_write = 65536;
        out.max_background = 16;
        return reply(request, 0, &out, sizeof out);
      }
      case FUSE_LOOKUP: {
        if (std::strcmp(static_cast<const char*>(body), "f") != 0) return reply(request, -ENOENT);
        ::usleep(kServerTakes_us);
        fuse_entry_out entry{};
        entry.nodeid = 2;
        entry.attr = attributes(2);
        entry.attr_valid = 100;
        return reply(request, 0, &entry, sizeof entry);
      }
      case FUSE_GETATTR: {
        fuse_attr_out out{};
        out.attr = attributes(request.nodeid);
        out.attr_valid = 100;
        return reply(request, 0, &out, sizeof out);
      }
      case FUSE_OPEN:
      case FUSE_OPENDIR: {
        fuse_open_out out{};
        out.fh = 1;
        out.open_flags = FOPEN_DIRECT_IO;
        return reply(request, 0, &out, sizeof out);
      }
      case FUSE_READ: {
        ::usleep(kServerTakes_us);
        const std::string text(100, 'x');
        const auto* read = static_cast<const fuse_read_in*>(body);
        const std::size_t left = read->offset >= 100 ? 0 : 100 - read->offset;
        return reply(request, 0, text.data(), std::min<std::size_t>(read->size, left));
      }
      case FUSE_WRITE: {
        ::usleep(kServerTakes_us);
        fuse_write_out out{};
        out.size = static_cast<const fuse_write_in*>(body)->size;
        return reply(request, 0, &out, sizeof out);
      }
      case FUSE_FORGET:
      case FUSE_BATCH_FORGET:
      case FUSE_INTERRUPT: return;
      case FUSE_FLUSH:
      case FUSE_RELEASE:
      case FUSE_RELEASEDIR:
      case FUSE_FSYNC: return reply(request, 0);
      default: return reply(request, -ENOSYS);
    }
  }

  int device_;
  std::vector<char> input_;
};

// What `body` says where `folder` is served slowly by process `server`; "" where the machine does not let us.
using Body = std::function<std::string(const std::string& folder, pid_t server)>;

std::string on_a_slow_file_system(const Body& body) {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    char folder[] = "/tmp/horus-waiting-XXXXXX";
    const int device = ::open("/dev/fuse", O_RDWR | O_CLOEXEC);
    const bool own =
        ::unshare(CLONE_NEWNS) == 0 && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    if (device < 0 || !own || ::mkdtemp(folder) == nullptr) std::_Exit(2);
    const std::string options = fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", device);
    const bool mounted = ::mount("slow", folder, "fuse", MS_NOSUID | MS_NODEV, options.c_str()) == 0;
    const pid_t server = ::fork();
    if (server == 0) {
      if (mounted) SlowServer(device).serve();
      std::_Exit(0);
    }
    ::close(device);
    std::string said;
    if (mounted) said = body(folder, server);
    static_cast<void>(!::write(ends[1], said.data(), said.size()));
    ::kill(server, SIGCONT);
    ::umount2(folder, MNT_DETACH);
    ::kill(server, SIGKILL);
    ::waitpid(server, nullptr, 0);
    ::rmdir(folder);
    std::_Exit(mounted ? 0 : 2);
  }
  ::close(ends[1]);
  std::string text;
  std::array<char, 4096> buffer;
  for (ssize_t got; (got = ::read(ends[0], buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(got));
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
    MESSAGE("left out: mounting a file system takes root and /dev/fuse");
    return "";
  }
  CHECK(WIFEXITED(status));
  CHECK(text.ends_with("end"));
  return text;
}

// The longest time without a turn of the loop.
class Gaps {
 public:
  explicit Gaps(horus::Scope& scope) { static_cast<void>(scope.spawn(watch(), "gaps")); }
  std::int64_t take() { return std::exchange(worst_ns_, 0); }

 private:
  Task<> watch() {
    std::int64_t last = horus::now_ns();
    while (true) {
      co_await horus::sleep(2ms);
      const std::int64_t now = horus::now_ns();
      worst_ns_ = std::max(worst_ns_, now - last);
      last = now;
    }
  }
  std::int64_t worst_ns_ = 0;
};

struct Log {
  std::string text;
  void check(bool holds, const char* what) {
    if (!holds) text += std::string(what) + "; ";
  }
};

Task<> use_slow_file(std::string path, Log& log) {
  horus::Scope scope("beside", horus::Failures::log);
  Gaps gaps(scope);
  co_await horus::sleep(5ms);
  gaps.take();
  auto opening = File::open(path, horus::io::OpenOptions().read().write());
  auto file = co_await opening;
  log.check(file.ok(), file ? "" : file.error().message().c_str());
  if (!file) {
    scope.cancel();
    co_await scope.join();
    co_return;
  }
  log.check(gaps.take() < kLongestGap_ns, "an open kept the loop");
  std::array<std::byte, 100> bytes{};
  const auto read = co_await file->read_at(bytes, 0);
  log.check(read.ok() && *read == 100 && bytes[99] == std::byte{'x'}, "read");
  log.check(gaps.take() < kLongestGap_ns, "a read kept the loop");
  const auto written = co_await file->write_at(horus::io::Bytes("hello"), 0);
  log.check(written.ok() && *written == 5, "write");
  log.check(gaps.take() < kLongestGap_ns, "a write kept the loop");
  auto statting = horus::io::fs::status(path);
  const auto status = co_await statting;
  log.check(status.ok() && status->size == 100, "stat");
  log.check(gaps.take() < kLongestGap_ns, "a stat kept the loop");
  auto vanishing = std::make_unique<std::array<std::byte, 100>>();
  const std::int64_t began = horus::now_ns();
  auto limited = horus::with_timeout(30ms, file->read_at(*vanishing, 0).as_task());
  const auto late = co_await limited;
  vanishing.reset();
  log.check(late.code() == ETIMEDOUT, "a read with a limit");
  log.check(horus::now_ns() - began < kLongestGap_ns, "a cancelled read was waited for");
  scope.cancel();
  co_await scope.join();
}

Task<> use_others(std::string path, pid_t server, Log& log) {
  auto opening = File::open(path, horus::io::OpenOptions().read());
  auto file = co_await opening;
  log.check(file.ok(), file ? "" : file.error().message().c_str());
  if (!file) co_return;
  ::kill(server, SIGSTOP);
  horus::Scope scope("hung", horus::Failures::log);
  std::array<std::array<std::byte, 100>, 20> buffers{};
  for (auto& buffer : buffers)
    static_cast<void>(scope.spawn(file->read_at(buffer, 0).as_task(), "hung read"));
  co_await horus::sleep(20ms);
  for (int i = 0; i < 20; ++i) {
    auto reading = horus::io::read_file("/proc/self/status");
    auto limited = horus::with_timeout(5s, std::move(reading));
    const auto text = co_await limited;
    log.check(text.ok(), "a file of another file system");
  }
  const std::int64_t began = horus::now_ns();
  scope.cancel();
  co_await scope.join();
  log.check(horus::now_ns() - began < kLongestGap_ns, "hung reads were waited for");
  ::kill(server, SIGCONT);
}

}  // namespace

TEST_CASE(
    "a file server that takes its time keeps who asks, and not the loop; who is cancelled leaves at once") {
  NEEDS_REAL_KERNEL("a file system of its own");
  const std::string said = on_a_slow_file_system([](const std::string& folder, pid_t) {
    Log log;
    horus::io::run([&]() -> Task<> { co_await use_slow_file(folder + "/f", log); });
    return log.text + "end";
  });
  if (!said.empty()) CHECK(said == "end");
}

TEST_CASE("a file server that hangs keeps nobody from other files") {
  NEEDS_REAL_KERNEL("a file system of its own");
  const std::string said = on_a_slow_file_system([](const std::string& folder, pid_t server) {
    Log log;
    horus::io::run([&]() -> Task<> { co_await use_others(folder + "/f", server, log); });
    return log.text + "end";
  });
  if (!said.empty()) CHECK(said == "end");
}

TEST_CASE("the table of mounts: kinds, escapes, and the mount that a path lies on") {
  using horus::io::detail::Mount;
  const auto mounts = horus::io::detail::parse_mounts(
      "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw\n"
      "nonsense\n"
      "23 22 0:21 / /sys rw,nosuid - sysfs sysfs rw\n"
      "24 22 0:50 / /mnt/my\\040robot rw - fuse.sshfs pi@robot:/ rw,user_id=0\n"
      "25 24 0:51 / /mnt/my\\040robot/local rw - tmpfs tmpfs rw\n"
      "26 22 0:52 / /net rw master:3 shared:4 - nfs4 nas:/ rw\n");
  REQUIRE(mounts.size() == 5);
  CHECK(mounts[0].device == makedev(8, 2));
  const auto kind = [&](const char* path) {
    const Mount* mount = horus::io::detail::mount_of(mounts, path);
    return mount == nullptr ? std::string("none")
                            : mount->point + (mount->kind == Mount::Kind::remote   ? " remote"
                                              : mount->kind == Mount::Kind::driver ? " driver"
                                                                                   : "");
  };
  CHECK(kind("/etc/hostname") == "/");
  CHECK(kind("/sys/class/gpio") == "/sys driver");
  CHECK(kind("/system") == "/");
  CHECK(kind("/mnt/my robot") == "/mnt/my robot remote");
  CHECK(kind("/mnt/my robot/log") == "/mnt/my robot remote");
  CHECK(kind("/mnt/my robot/local/log") == "/mnt/my robot/local");
  CHECK(kind("/network") == "/");
  CHECK(kind("/net/x") == "/net remote");
}
