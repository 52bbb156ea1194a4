// SPDX-License-Identifier: Apache-2.0
// Children, signals and names, as a simulated process asks its kernel for them.
#include <algorithm>
#include <cerrno>
#include <utility>

#include <sys/stat.h>
#include <sys/wait.h>

#include <fmt/format.h>

#include <horus/io/base/signal_claim.hpp>
#include <horus/io/process_options.hpp>
#include <horus/io/seam/process_spawn.hpp>
#include <horus/sim/engine/stream.hpp>
#include <horus/sim/files/fifo.hpp>
#include <horus/sim/kernel/sim_backend.hpp>

namespace horus::HORUS_ABI::sim::detail {
std::int64_t SimClock::wall_clock_ns() noexcept { return kWorldBegins_ns + context_.now(); }

// --- Children ---------------------------------------------------------------------------------------------------------

Held SimSystem::stream_for(const io::ProcessOptions& options, std::size_t index, int fd) {
  const io::Redirect redirect = index == 0 ? options.input : index == 1 ? options.output : options.error;
  switch (redirect.kind()) {
    case io::Redirect::Kind::inherit: return Held(kernel_.shared(static_cast<int>(index)));
    case io::Redirect::Kind::null: return Held(make_null(engine_));
    case io::Redirect::Kind::pipe:
    case io::Redirect::Kind::descriptor: return Held(kernel_.shared(fd));
    case io::Redirect::Kind::merge: break;
  }
  return {};
}

Result<pid_t> SimSystem::spawn(const io::ProcessOptions& options, const std::array<int, 3>& descriptors) {
  const std::string& program = options.arguments.front();
  if (kernel_.is_cut_off()) return Error(EIO, "spawn", program);
  std::array<Held, 3> streams;
  for (std::size_t i = 0; i < streams.size(); ++i) streams[i] = stream_for(options, i, descriptors[i]);
  if (options.error.kind() == io::Redirect::Kind::merge) streams[2] = Held(streams[1].object());
  SimProcess& self = context_.process();
  const int result =
      table().spawn(self, options.arguments, io::detail::environment_of(options, self.environment),
                    options.directory, options.own_group, std::move(streams));
  if (result >= 0) return result;
  struct ::statx status{};
  const bool usable =
      context_.host().disk.status(nullptr, options.directory, 0, status) >= 0 && S_ISDIR(status.stx_mode);
  return Error(-result, "spawn", io::detail::blamed(options, usable));
}

int SimSystem::open_process(pid_t pid) noexcept {
  SimProcess* process = table().find(context_.host(), pid);
  if (process == nullptr || process->reaped) return -ESRCH;
  return kernel_.add(std::make_shared<ProcessHandle>(engine_, *process));
}

int SimSystem::signal_process(int pidfd, int number) noexcept {
  if (kernel_.is_cut_off()) return -EIO;
  auto* handle = dynamic_cast<ProcessHandle*>(kernel_.find(pidfd));
  if (handle == nullptr) return -EBADF;
  if (handle->process().reaped) return -ESRCH;
  if (number != 0) table().deliver(handle->process(), number, &context_.process(), nullptr);
  return 0;
}

int SimSystem::reap(int pidfd, siginfo_t& info, bool keep) noexcept {
  auto* handle = dynamic_cast<ProcessHandle*>(kernel_.find(pidfd));
  return handle == nullptr ? -EBADF : table().reap(context_.process(), handle->process(), info, keep);
}

void SimSystem::reap_killed(pid_t pid) noexcept {
  siginfo_t info{};
  SimProcess* process = table().find(context_.host(), pid);
  if (process != nullptr) static_cast<void>(table().reap(context_.process(), *process, info, false));
}

// --- Signals ----------------------------------------------------------------------------------------------------------

pid_t SimSystem::process_id() noexcept { return context_.process().pid; }

void SimSystem::exit_now(int code) noexcept {
  if (kernel_.is_cut_off()) return;
  table().end(context_.process(), CLD_EXITED, code & 0xff);
  if (!table().on_kill) std::_Exit(code);  // a reactor alone is the program itself
  table().on_kill(context_.process());
}

int SimSystem::send_signal(pid_t pid, int number, const std::int32_t* value) noexcept {
  if (kernel_.is_cut_off()) return -EIO;
  return table().signal(&context_.process(), context_.host(), pid, number, value);
}

int SimSystem::claim_signals(io::SignalClaim& claim) noexcept {
  if (kernel_.is_cut_off()) return -EIO;
  for (const SignalQueue* queue : context_.process().waiting) {
    const std::uint64_t taken = queue->numbers() & claim.numbers;
    if (taken == 0) continue;
    claim.refused = __builtin_ctzll(taken) + 1;
    return -EBUSY;
  }
  return kernel_.add(std::make_shared<SignalQueue>(engine_, context_.process(), claim.numbers));
}

// What nobody read does what it would have done.
void SimSystem::release_signals(const io::SignalClaim& claim) noexcept {
  SimProcess& self = context_.process();
  const auto waiting = self.waiting;
  for (SignalQueue* queue : waiting) {
    if (queue->numbers() != claim.numbers) continue;
    for (const signalfd_siginfo& unread : queue->retire()) {
      const std::int32_t value = unread.ssi_int;
      table().deliver(self, static_cast<int>(unread.ssi_signo), nullptr, &value);
    }
  }
}

// --- Names ------------------------------------------------------------------------------------------------------------

Result<std::vector<io::Address>> SimSystem::look_up(const std::string& host, std::uint16_t port) {
  if (host == "localhost") {
    return std::vector<io::Address>{io::Address::loopback_v4(port), io::Address::loopback_v6(port)};
  }
  std::vector<io::Address> found;
  if (const auto* known = engine_.addresses_of(host)) {
    for (const std::string& numeric : *known) {
      if (auto address = io::Address::ip(numeric, port)) found.push_back(*address);
    }
  }
  if (found.empty()) return Error(kNameNotFound, "resolve", host);
  return found;
}

int SimSystem::make_fifo(const char* path, mode_t mode) noexcept {
  std::uint64_t number = 0;
  return context_.host().disk.make_node(path, S_IFIFO | (mode & 0777), context_.now(), number);
}
int SimSystem::use_fifo(int fd) noexcept {
  Object* object = kernel_.find(fd);
  if (object == nullptr) return -EBADF;
  return dynamic_cast<FifoEnd*>(object) != nullptr ? 0 : -EINVAL;
}
int SimSystem::set_pipe_room(int fd, std::size_t bytes) noexcept {
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kMost = std::size_t{1} << 20;  // /proc/sys/fs/pipe-max-size
  auto* stream = dynamic_cast<Stream*>(kernel_.find(fd));
  if (stream == nullptr || stream->kind() != Object::Kind::stream) return -EBADF;
  if (bytes > kMost) return -EPERM;
  stream->set_capacity(std::max(bytes, kPage));
  return static_cast<int>(bytes);
}
// A simulated file system answers itself, and there are no terminals.
bool SimSystem::path_may_wait(int, const char*) noexcept { return false; }
bool SimSystem::file_may_wait(int, const char*) noexcept { return false; }
int SimSystem::open_terminal_again(int) noexcept { return -ENOTTY; }
ssize_t SimSystem::transfer_now(int, const iovec*, int, bool) noexcept { return -ENOTTY; }
int SimSystem::control_device(int fd, unsigned long, void*) noexcept {
  return kernel_.find(fd) == nullptr ? -EBADF : -ENOTTY;  // there are no terminals
}

}  // namespace horus::HORUS_ABI::sim::detail
