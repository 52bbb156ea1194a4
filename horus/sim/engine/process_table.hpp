// SPDX-License-Identifier: Apache-2.0
// The processes of a simulated world as its kernel knows them: numbers, parents, groups, signals, exit statuses, and the
// programs that can be started. One thread, the world's. Owned by the engine; who runs them is the World's business.
#pragma once

#include <array>
#include <csignal>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/signalfd.h>
#include <sys/types.h>

#include <horus/sim/base/objects.hpp>
#include <horus/sim/base/program_type.hpp>

namespace horus::HORUS_ABI::sim::detail {

class ProcessHandle;
class ProcessTable;
class SignalQueue;

inline constexpr uid_t kUser = 1000;  // of every simulated process

/// A process from its start until the world's end; its number is never given again.
struct SimProcess {
  SimProcess(pid_t number, pid_t parent_number, Host& where) noexcept
      : pid(number), parent(parent_number), group(number), host(where) {}

  pid_t pid;
  pid_t parent;  // 0: started by the world; 1: its parent has ended
  pid_t group;
  Host& host;
  std::string name;
  std::string program;  // the path under which it was registered; empty for a process of the world
  std::vector<std::string> arguments;
  std::vector<std::string> environment;  // "NAME=value"
  std::string directory = "/";
  std::array<Held, 3> standard;  // what becomes its 0, 1 and 2; null: closed

  bool ended = false;
  bool reaped = false;
  bool frozen = false;                // by SIGSTOP
  int how = 0;                        // CLD_EXITED or CLD_KILLED
  int code = 0;                       // exit code or signal
  std::vector<SignalQueue*> waiting;  // one for each SignalSet
  std::vector<ProcessHandle*> handles;
};

/// signalfd.
class SignalQueue final : public Object {
 public:
  SignalQueue(Engine& engine, SimProcess& process, std::uint64_t numbers);
  ~SignalQueue() override;
  [[nodiscard]] Kind kind() const noexcept override { return Kind::counter; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  ssize_t receive(msghdr& message, int flags) override;

  [[nodiscard]] std::uint64_t numbers() const noexcept { return numbers_; }
  /// A standard signal that lies unread already counts once.
  void put(const signalfd_siginfo& signal);
  /// From now on it hears nothing; gives what nobody read.
  std::deque<signalfd_siginfo> retire() noexcept;

 private:
  SimProcess* process_;
  std::uint64_t numbers_;
  std::deque<signalfd_siginfo> pending_;
};

/// pidfd.
class ProcessHandle final : public Object {
 public:
  ProcessHandle(Engine& engine, SimProcess& process);
  ~ProcessHandle() override;
  [[nodiscard]] Kind kind() const noexcept override { return Kind::counter; }
  [[nodiscard]] std::uint32_t ready() const noexcept override;
  [[nodiscard]] SimProcess& process() const noexcept { return process_; }
  void process_ended() noexcept { changed(); }

 private:
  SimProcess& process_;
};

/// Every call gives ≥ 0 or -errno.
class ProcessTable {
 public:
  explicit ProcessTable(Engine& engine) noexcept : engine_(engine) {}
  ProcessTable(const ProcessTable&) = delete;
  ProcessTable& operator=(const ProcessTable&) = delete;
  ~ProcessTable();

  /// A process that the world starts, with the streams of a program without a terminal.
  SimProcess& add(Host& host, const std::string& name);
  /// Null when there is none of that number on that host.
  [[nodiscard]] SimProcess* find(const Host& host, pid_t pid) noexcept;

  /// kill(2) by `from`; null: by the world.
  int signal(const SimProcess* from, Host& host, pid_t pid, int number, const std::int32_t* value);
  void deliver(SimProcess& to, int number, const SimProcess* from, const std::int32_t* value);
  /// It has ended: tells handles and parent, leaves its children to nobody.
  void end(SimProcess& process, int how, int code);
  /// waitid(2) with WEXITED | WNOHANG by `parent`.
  int reap(SimProcess& parent, SimProcess& child, siginfo_t& info, bool keep);
  [[nodiscard]] std::vector<SimProcess*> children_of(const SimProcess& parent);
  [[nodiscard]] std::vector<SimProcess*> all();

  void add_program(const std::string& path, Program program) {
    programs_.insert_or_assign(path, std::move(program));
  }
  [[nodiscard]] bool has_program(const std::string& path) const { return programs_.contains(path); }
  /// posix_spawnp: `named` may lack a slash; `standard` are the child's 0, 1 and 2.
  int spawn(SimProcess& parent, const std::vector<std::string>& arguments,
            std::vector<std::string> environment, const std::string& directory, bool own_group,
            std::array<Held, 3> standard);

  // How the world runs them; where these are empty nothing can be started, and a fatal signal ends the real program.
  std::function<void(SimProcess& child, const Program& program)> on_start;
  std::function<void(SimProcess& process)> on_kill;    // it has ended by a signal
  std::function<void(SimProcess& process)> on_frozen;  // or thawed

 private:
  int locate(SimProcess& parent, const std::string& name, const std::string& directory,
             const std::vector<std::string>& environment, const Program** found);
  int usable(Host& host, const std::string& path, const Program** found);

  Engine& engine_;
  std::map<pid_t, std::unique_ptr<SimProcess>> processes_;
  std::map<std::string, Program, std::less<>> programs_;
  pid_t next_pid_ = 1000;
};

/// Takes what is written and forgets it; reading gives the end: /dev/null.
[[nodiscard]] std::shared_ptr<Object> make_null(Engine& engine);
/// What a process of the world writes to its standard output: the last 64 KiB are kept in `text`.
[[nodiscard]] std::shared_ptr<Object> make_console(Engine& engine, std::shared_ptr<std::string> text);

}  // namespace horus::HORUS_ABI::sim::detail
