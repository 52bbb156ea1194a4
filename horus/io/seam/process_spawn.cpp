// SPDX-License-Identifier: Apache-2.0
// posix_spawn rather than fork: no copy of this process's page tables, no code of ours between fork and exec, and the
// exec's own error comes back.
#include <horus/io/seam/process_spawn.hpp>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/io/seam/system.hpp>

namespace horus::HORUS_ABI::io::detail {
namespace {

class FileActions {
 public:
  FileActions() noexcept { ::posix_spawn_file_actions_init(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }

  int connect(const ProcessOptions& options, const StandardDescriptors& descriptors) noexcept {
    const std::array<Redirect, 3> redirects{options.input, options.output, options.error};
    int failed = 0;
    for (int i = 0; i < 3 && failed == 0; ++i) {
      const int from = descriptors[static_cast<std::size_t>(i)];
      switch (redirects[static_cast<std::size_t>(i)].kind()) {
        case Redirect::Kind::inherit:
          // Onto itself: clears close-on-exec. A descriptor that the parent has closed stays closed.
          if (::fcntl(i, F_GETFD) >= 0) failed = ::posix_spawn_file_actions_adddup2(&actions_, i, i);
          break;
        case Redirect::Kind::null:
          failed =
              ::posix_spawn_file_actions_addopen(&actions_, i, "/dev/null", i == 0 ? O_RDONLY : O_WRONLY, 0);
          break;
        case Redirect::Kind::pipe:
        case Redirect::Kind::descriptor:
          failed = ::posix_spawn_file_actions_adddup2(&actions_, from, i);
          break;
        case Redirect::Kind::merge: failed = ::posix_spawn_file_actions_adddup2(&actions_, 1, i); break;
      }
    }
    // Also those that some library opened without close-on-exec.
    if (failed == 0) failed = ::posix_spawn_file_actions_addclosefrom_np(&actions_, 3);
    if (failed == 0 && !options.directory.empty()) {
      failed = ::posix_spawn_file_actions_addchdir_np(&actions_, options.directory.c_str());
    }
    return failed;
  }
  [[nodiscard]] const posix_spawn_file_actions_t* get() const noexcept { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  explicit Attributes(bool own_group) noexcept {
    ::posix_spawnattr_init(&attributes_);
    short flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    sigset_t set;
    // The runtime ignores two signals, and ignoring survives exec. Every bit by hand: sigfillset leaves out glibc's own
    // signals 32 and 33, which posix_spawn would then leave ignored.
    std::memset(&set, 0xff, sizeof set);
    ::posix_spawnattr_setsigdefault(&attributes_, &set);
    ::sigemptyset(&set);
    ::posix_spawnattr_setsigmask(&attributes_, &set);
    if (own_group) {
      flags |= POSIX_SPAWN_SETPGROUP;
      ::posix_spawnattr_setpgroup(&attributes_, 0);
    }
    ::posix_spawnattr_setflags(&attributes_, flags);
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  [[nodiscard]] const posix_spawnattr_t* get() const noexcept { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

std::vector<char*> pointers_to(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::string_view name_of(std::string_view variable) { return variable.substr(0, variable.find('=')); }

std::vector<std::string> own_environment() {
  std::vector<std::string> environment;
  for (char** variable = ::environ; variable != nullptr && *variable != nullptr; ++variable) {
    environment.emplace_back(*variable);
  }
  return environment;
}

bool can_enter(const std::string& directory) noexcept {
  struct stat status{};
  return ::stat(directory.c_str(), &status) == 0 && S_ISDIR(status.st_mode) &&
         ::access(directory.c_str(), X_OK) == 0;
}

}  // namespace

std::vector<std::string> environment_of(const ProcessOptions& options, std::vector<std::string> inherited) {
  std::vector<std::string> environment;
  if (options.inherit_environment) environment = std::move(inherited);
  for (const auto& [name, value] : options.variables) {
    std::erase_if(environment, [&](const std::string& variable) { return name_of(variable) == name; });
    environment.push_back(name + "=" + value);
  }
  return environment;
}

// posix_spawn does not tell a missing program from a missing directory.
std::string blamed(const ProcessOptions& options, bool directory_usable) {
  const std::string& program = options.arguments.front();
  if (options.directory.empty() || directory_usable) return program;
  return fmt::format("{}, in the directory {}", program, options.directory);
}

Result<> check(const ProcessOptions& options) {
  constexpr auto has_zero = [](std::string_view text) { return text.find('\0') != std::string_view::npos; };
  if (options.arguments.empty() || options.arguments.front().empty()) {
    return Error(EINVAL, "spawn", "(no program was named)");
  }
  const std::string& program = options.arguments.front();
  for (const std::string& argument : options.arguments) {
    if (has_zero(argument))
      return Error(EINVAL, "spawn", program.c_str() + std::string(" (zero byte in an argument)"));
  }
  for (const auto& [name, value] : options.variables) {
    if (name.empty() || name.find('=') != std::string::npos || has_zero(name) || has_zero(value)) {
      return Error(EINVAL, "spawn", fmt::format("{} (\"{}\" cannot name a variable)", program, name));
    }
  }
  if (has_zero(options.directory)) return Error(EINVAL, "spawn", program + " (zero byte in the directory)");
  using Kind = Redirect::Kind;
  if (options.input.kind() == Kind::merge || options.output.kind() == Kind::merge) {
    return Error(EINVAL, "spawn", program + " (only standard error can go to standard output)");
  }
  return {};
}

Result<pid_t> spawn_child(const ProcessOptions& options, const StandardDescriptors& descriptors) {
  FileActions actions;
  if (const int failed = actions.connect(options, descriptors); failed != 0) {
    return Error(failed, "spawn", options.arguments.front());
  }
  const Attributes attributes(options.own_group);
  std::vector<std::string> arguments = options.arguments;
  std::vector<std::string> environment = environment_of(options, own_environment());
  const std::vector<char*> argv = pointers_to(arguments);
  const std::vector<char*> envp = pointers_to(environment);
  pid_t pid = 0;
  const int failed =
      ::posix_spawnp(&pid, argv.front(), actions.get(), attributes.get(), argv.data(), envp.data());
  if (failed != 0) return Error(failed, "spawn", blamed(options, can_enter(options.directory)));
  return pid;
}

// glibc 2.36 has wrappers for neither call on every distribution that Horus builds on.
int signal_system_process(int pidfd, int number) noexcept {
  return ::syscall(SYS_pidfd_send_signal, pidfd, number, nullptr, 0) < 0 ? -errno : 0;
}

int reap_system_process(int pidfd, siginfo_t& info, bool keep) noexcept {
  const int result = ::waitid(static_cast<idtype_t>(P_PIDFD), static_cast<id_t>(pidfd), &info,
                              WEXITED | WNOHANG | (keep ? WNOWAIT : 0));
  return result < 0 ? -errno : 0;
}

void await_system_process(int pidfd, int limit_ms) noexcept {
  pollfd poll{pidfd, POLLIN, 0};
  ::poll(&poll, 1, limit_ms);
}

}  // namespace horus::HORUS_ABI::io::detail

namespace horus::HORUS_ABI::io {

Result<pid_t> System::spawn(const ProcessOptions& options, const std::array<int, 3>& descriptors) {
  return detail::spawn_child(options, descriptors);
}
int System::open_process(pid_t pid) noexcept {
  const int fd = above_standard(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  return fd < 0 ? -errno : fd;
}
int System::signal_process(int pidfd, int number) noexcept {
  return detail::signal_system_process(pidfd, number);
}
int System::reap(int pidfd, siginfo_t& info, bool keep) noexcept {
  return detail::reap_system_process(pidfd, info, keep);
}
void System::reap_killed(pid_t pid) noexcept { ::waitpid(pid, nullptr, 0); }
void System::await_end(int pidfd, int limit_ms) noexcept { detail::await_system_process(pidfd, limit_ms); }

}  // namespace horus::HORUS_ABI::io
