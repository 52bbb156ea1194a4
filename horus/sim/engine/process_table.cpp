// SPDX-License-Identifier: Apache-2.0
#include <horus/sim/engine/process_table.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/epoll.h>
#include <sys/stat.h>

#include <fmt/format.h>

#include <horus/io/base/signal_claim.hpp>
#include <horus/io/signals.hpp>
#include <horus/sim/engine/engine.hpp>

namespace horus::HORUS_ABI::sim::detail {
namespace {

constexpr std::int64_t kDoomed_ns = 10'000'000'000;  // a child that the seed kills does not live longer

enum class Disposition : std::uint8_t { ends, nothing, stops, goes_on };

// signal(7); the runtime ignores SIGPIPE and SIGXFSZ.
Disposition disposition_of(int number) noexcept {
  switch (number) {
    case SIGCHLD:
    case SIGURG:
    case SIGWINCH:
    case SIGPIPE:
    case SIGXFSZ: return Disposition::nothing;
    case SIGSTOP:
    case SIGTSTP:
    case SIGTTIN:
    case SIGTTOU: return Disposition::stops;
    case SIGCONT: return Disposition::goes_on;
    default: return Disposition::ends;
  }
}

}  // namespace

// --- SignalQueue ------------------------------------------------------------------------------------------------------

SignalQueue::SignalQueue(Engine& engine, SimProcess& process, std::uint64_t numbers)
    : Object(engine), process_(&process), numbers_(numbers) {
  process.waiting.push_back(this);
}
SignalQueue::~SignalQueue() { static_cast<void>(retire()); }

std::uint32_t SignalQueue::ready() const noexcept { return pending_.empty() ? 0U : EPOLLIN; }

ssize_t SignalQueue::receive(msghdr& message, int) {
  if (size_of(message) < sizeof(signalfd_siginfo)) return -EINVAL;
  if (pending_.empty()) return -EAGAIN;
  const signalfd_siginfo first = pending_.front();
  pending_.pop_front();
  return static_cast<ssize_t>(scatter({reinterpret_cast<const char*>(&first), sizeof first}, message));
}

void SignalQueue::put(const signalfd_siginfo& signal) {
  const auto same = [&](const signalfd_siginfo& other) { return other.ssi_signo == signal.ssi_signo; };
  const bool standard = static_cast<int>(signal.ssi_signo) < SIGRTMIN;
  if (standard && std::any_of(pending_.begin(), pending_.end(), same)) return;
  pending_.push_back(signal);
  changed();
}

std::deque<signalfd_siginfo> SignalQueue::retire() noexcept {
  if (process_ != nullptr) std::erase(process_->waiting, this);
  process_ = nullptr;
  return std::exchange(pending_, {});
}

// --- ProcessHandle ----------------------------------------------------------------------------------------------------

ProcessHandle::ProcessHandle(Engine& engine, SimProcess& process) : Object(engine), process_(process) {
  process.handles.push_back(this);
}
ProcessHandle::~ProcessHandle() { std::erase(process_.handles, this); }
std::uint32_t ProcessHandle::ready() const noexcept { return process_.ended ? EPOLLIN : 0U; }

// --- ProcessTable -----------------------------------------------------------------------------------------------------

ProcessTable::~ProcessTable() {
  // What a process was given may refer to another one.
  for (auto& [pid, process] : processes_) {
    for (Held& stream : process->standard) stream.reset();
    for (SignalQueue* queue : std::exchange(process->waiting, {})) static_cast<void>(queue->retire());
  }
}

SimProcess& ProcessTable::add(Host& host, const std::string& name) {
  const pid_t pid = next_pid_++;
  auto& process = *(processes_[pid] = std::make_unique<SimProcess>(pid, 0, host));
  process.name = name;
  process.arguments = {name};
  process.environment = {"HOME=/home", "LANG=C.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin"};
  for (Held& stream : process.standard) stream = Held(make_null(engine_));
  return process;
}

SimProcess* ProcessTable::find(const Host& host, pid_t pid) noexcept {
  const auto found = processes_.find(pid);
  return found == processes_.end() || &found->second->host != &host ? nullptr : found->second.get();
}

std::vector<SimProcess*> ProcessTable::children_of(const SimProcess& parent) {
  std::vector<SimProcess*> children;
  for (const auto& [pid, process] : processes_) {
    if (process->parent == parent.pid) children.push_back(process.get());
  }
  return children;
}

std::vector<SimProcess*> ProcessTable::all() {
  std::vector<SimProcess*> everybody;
  everybody.reserve(processes_.size());
  for (const auto& [pid, process] : processes_) everybody.push_back(process.get());
  return everybody;
}

// --- Signals ----------------------------------------------------------------------------------------------------------

int ProcessTable::signal(const SimProcess* from, Host& host, pid_t pid, int number,
                         const std::int32_t* value) {
  if (number < 0 || number > 64) return -EINVAL;
  std::vector<SimProcess*> targets;
  const pid_t group = pid == 0 && from != nullptr ? from->group : -pid;
  for (const auto& [other, process] : processes_) {
    const bool meant = pid > 0 ? other == pid : process->group == group;
    if (meant && &process->host == &host && !process->reaped) targets.push_back(process.get());
  }
  if (targets.empty()) return -ESRCH;
  if (number == 0) return 0;
  for (SimProcess* target : targets) deliver(*target, number, from, value);
  return 0;
}

void ProcessTable::deliver(SimProcess& to, int number, const SimProcess* from, const std::int32_t* value) {
  if (to.ended) return;
  engine_.trace(Trace::signal, static_cast<std::uint64_t>(to.pid), static_cast<std::uint64_t>(number));
  const bool thaws = number == SIGCONT || number == SIGKILL;
  if (thaws && std::exchange(to.frozen, false) && on_frozen) on_frozen(to);
  if (number != SIGKILL && number != SIGSTOP) {
    for (SignalQueue* queue : to.waiting) {
      if ((queue->numbers() & io::SignalClaim::bit(number)) == 0) continue;
      signalfd_siginfo info{};
      info.ssi_signo = static_cast<std::uint32_t>(number);
      info.ssi_code = value != nullptr ? SI_QUEUE : SI_USER;
      info.ssi_pid = from != nullptr ? static_cast<std::uint32_t>(from->pid) : 0;
      info.ssi_uid = from != nullptr ? kUser : 0;
      if (value != nullptr) info.ssi_int = *value;
      return queue->put(info);
    }
  }
  switch (disposition_of(number)) {
    case Disposition::nothing:
    case Disposition::goes_on: return;
    case Disposition::stops:
      to.frozen = true;
      if (on_frozen) on_frozen(to);
      return;
    case Disposition::ends: break;
  }
  if (!on_kill) std::raise(number);  // a reactor alone is the program itself
  end(to, CLD_KILLED, number);
  if (on_kill) on_kill(to);
}

// --- The end ----------------------------------------------------------------------------------------------------------

void ProcessTable::end(SimProcess& process, int how, int code) {
  if (process.ended) return;
  process.ended = true;
  process.how = how;
  process.code = code;
  for (Held& stream : process.standard) stream.reset();
  for (SimProcess* child : children_of(process)) {
    child->parent = 1;
    if (child->ended) child->reaped = true;
  }
  for (ProcessHandle* handle : process.handles) handle->process_ended();
  SimProcess* parent = find(process.host, process.parent);
  if (parent == nullptr || parent->ended) {
    process.reaped = true;
    return;
  }
  deliver(*parent, SIGCHLD, &process, nullptr);
}

int ProcessTable::reap(SimProcess& parent, SimProcess& child, siginfo_t& info, bool keep) {
  if (child.reaped || child.parent != parent.pid) return -ECHILD;
  info = {};
  if (!child.ended) return 0;
  child.reaped = !keep;
  info.si_signo = SIGCHLD;
  info.si_pid = child.pid;
  info.si_uid = kUser;
  info.si_code = child.how;
  info.si_status = child.code;
  return 0;
}

// --- Starting ---------------------------------------------------------------------------------------------------------

// -ENOENT, or what execve says of a file that is there.
int ProcessTable::usable(Host& host, const std::string& path, const Program** found) {
  const auto program = programs_.find(path);
  struct ::statx status{};
  const int result = host.disk.status(nullptr, path, 0, status);
  if (result < 0) {
    if (program == programs_.end()) return result;
    *found = &program->second;  // known to the world alone: it can be run
    return 0;
  }
  if (!S_ISREG(status.stx_mode) || (status.stx_mode & 0111) == 0) return -EACCES;
  if (program == programs_.end()) return -ENOEXEC;
  *found = &program->second;
  return 0;
}

int ProcessTable::locate(SimProcess& parent, const std::string& name, const std::string& directory,
                         const std::vector<std::string>& environment, const Program** found) {
  if (name.find('/') != std::string::npos) {
    const bool absolute = name.front() == '/';
    return usable(parent.host, absolute ? name : directory + (directory.ends_with('/') ? "" : "/") + name,
                  found);
  }
  std::string_view path;
  for (const std::string& variable : environment) {
    if (variable.starts_with("PATH=")) path = std::string_view(variable).substr(5);
  }
  int worst = -ENOENT;
  while (!path.empty()) {
    const std::size_t length = std::min(path.find(':'), path.size());
    const int result = usable(parent.host, fmt::format("{}/{}", path.substr(0, length), name), found);
    if (result == 0) return 0;
    if (result == -EACCES) worst = result;
    path.remove_prefix(std::min(length + 1, path.size()));
  }
  return worst;
}

int ProcessTable::spawn(SimProcess& parent, const std::vector<std::string>& arguments,
                        std::vector<std::string> environment, const std::string& directory, bool own_group,
                        std::array<Held, 3> standard) {
  const Faults& faults = engine_.faults();
  Random& chance = engine_.fault_random();
  if (faults.spawn_failure > 0 && chance.chance(faults.spawn_failure, 1000)) {
    engine_.fault("EAGAIN of starting " + arguments.front());
    return -EAGAIN;
  }
  std::string where = parent.directory;
  if (!directory.empty()) {
    struct ::statx status{};
    const int result = parent.host.disk.status(nullptr, directory, 0, status);
    if (result < 0) return result;
    if (!S_ISDIR(status.stx_mode)) return -ENOTDIR;
    where = directory;
  }
  const Program* program = nullptr;
  if (const int result = locate(parent, arguments.front(), where, parent.environment, &program); result < 0)
    return result;
  if (!on_start) return -ENOENT;
  SimProcess& child = add(parent.host, fmt::format("{} ({})", arguments.front(), next_pid_));
  child.parent = parent.pid;
  child.group = own_group ? child.pid : parent.group;
  for (const auto& [path, known] : programs_) {
    if (&known == program) child.program = path;
  }
  child.arguments = arguments;
  child.environment = std::move(environment);
  child.directory = where;
  child.standard = std::move(standard);
  engine_.trace(Trace::spawn, static_cast<std::uint64_t>(parent.pid), static_cast<std::uint64_t>(child.pid));
  std::int64_t start = engine_.now();
  if (faults.slow_start > 0 && chance.chance(faults.slow_start, 1000)) {
    const std::uint64_t wait = chance.below(2'000'000'000);
    start += static_cast<std::int64_t>(wait);
    engine_.fault(fmt::format("{} starts {:.3f} s late", child.name, static_cast<double>(wait) * 1e-9));
  }
  if (faults.child_death > 0 && chance.chance(faults.child_death, 1000)) {
    const std::uint64_t life = chance.below(kDoomed_ns);
    engine_.at(engine_.now() + static_cast<std::int64_t>(life), [this, &child] {
      if (child.ended || engine_.faults().child_death == 0) return;
      engine_.fault("kill of " + child.name);
      deliver(child, SIGKILL, nullptr, nullptr);
    });
  }
  engine_.at(start, [this, &child, program] {
    if (!child.ended) on_start(child, *program);
  });
  return child.pid;
}

// --- Standard streams -------------------------------------------------------------------------------------------------

namespace {

class Null final : public Object {
 public:
  using Object::Object;
  [[nodiscard]] Kind kind() const noexcept override { return Kind::device; }
  [[nodiscard]] std::uint32_t ready() const noexcept override { return EPOLLIN | EPOLLOUT; }
  ssize_t receive(msghdr&, int) override { return 0; }
  ssize_t send(const msghdr& message, int) override { return static_cast<ssize_t>(size_of(message)); }
};

class Console final : public Object {
 public:
  Console(Engine& engine, std::shared_ptr<std::string> text) noexcept
      : Object(engine), text_(std::move(text)) {}
  [[nodiscard]] Kind kind() const noexcept override { return Kind::device; }
  [[nodiscard]] std::uint32_t ready() const noexcept override { return EPOLLIN | EPOLLOUT; }
  ssize_t receive(msghdr&, int) override { return 0; }
  ssize_t send(const msghdr& message, int) override {
    constexpr std::size_t kKept = 65536;
    *text_ += gather(message, size_of(message));
    if (text_->size() > 2 * kKept) text_->erase(0, text_->size() - kKept);
    return static_cast<ssize_t>(size_of(message));
  }

 private:
  std::shared_ptr<std::string> text_;
};

}  // namespace

std::shared_ptr<Object> make_null(Engine& engine) { return std::make_shared<Null>(engine); }
std::shared_ptr<Object> make_console(Engine& engine, std::shared_ptr<std::string> text) {
  return std::make_shared<Console>(engine, std::move(text));
}

}  // namespace horus::HORUS_ABI::sim::detail
