// SPDX-License-Identifier: Apache-2.0
// The seam's simulated side: the interpreter over the simulated kernel, and what does not go through entries.
// One thread, the world's. Owned by its reactor.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/io/seam/interpreter.hpp>
#include <horus/sim/kernel/kernel.hpp>

namespace horus::HORUS_ABI::sim::detail {

// Constructed before the interpreter and destroyed after it.
struct KernelHolder {
  KernelHolder(Engine& engine, Context& context) noexcept : provider(engine, context) {}
  SimProvider provider;
};

/// The interpreter over that kernel.
class SimRing : private KernelHolder, public io::Interpreter {
 public:
  SimRing(Engine& engine, Context& context, const io::ReactorConfig& config);
  /// Tells the instance what it left open.
  ~SimRing() override;
  [[nodiscard]] const char* name() const noexcept override { return "sim"; }
  [[nodiscard]] SimProvider& kernel() noexcept { return provider; }

 private:
  Context& context_;
};

/// Virtual time. Holds the ring, and with it the kernel.
class SimClock final : public io::Clock {
 public:
  explicit SimClock(std::shared_ptr<SimRing> ring, Context& context) noexcept;
  [[nodiscard]] std::int64_t now_ns() noexcept override;
  [[nodiscard]] std::int64_t wall_clock_ns() noexcept override;
  void spend(std::string_view node) noexcept override;

 private:
  const std::shared_ptr<SimRing> ring_;
  Context& context_;
};

/// What does not go through entries. A process that was killed changes nothing any more.
class SimSystem final : public io::System {
 public:
  SimSystem(std::shared_ptr<SimRing> ring, Engine& engine, Context& context) noexcept;

  [[nodiscard]] std::uint64_t world_process() const noexcept override { return ring_->id(); }
  [[nodiscard]] bool has_kernel_descriptors() const noexcept override { return false; }
  [[nodiscard]] bool has_threads() const noexcept override { return false; }
  int socket(int domain, int type, int protocol) noexcept override;
  int bind(int fd, const sockaddr* address, socklen_t size) noexcept override;
  int listen(int fd, int backlog) noexcept override;
  int set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept override;
  int get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept override;
  int local_address(int fd, sockaddr* address, socklen_t* size) noexcept override;
  int peer_address(int fd, sockaddr* address, socklen_t* size) noexcept override;
  int pipe(int ends[2], int flags) noexcept override;
  int socket_pair(int ends[2], int domain, int type) noexcept override;
  int event_fd(unsigned initial, int flags) noexcept override;
  io::Closing closing_of(int fd) noexcept override;
  int duplicate(int fd) noexcept override;
  int list_directory(int fd, void* buffer, std::size_t size) noexcept override;
  ssize_t read_link(const char* path, char* target, std::size_t size) noexcept override;
  int access(const char* path, int mode) noexcept override;
  int change_mode(const char* path, mode_t mode) noexcept override;
  int truncate(int fd, std::int64_t size) noexcept override;
  void remove_tree(const char* path) noexcept override;
  void add_to_event(int event_fd, std::uint64_t count) noexcept override;
  int status_flags(int fd) noexcept override;
  bool run_job(io::ThreadPool& pool, io::ThreadPool::Job& job) noexcept override;
  bool take_job_back(io::ThreadPool& pool, io::ThreadPool::Job& job) noexcept override;
  void random_bytes(void* out, std::size_t size) noexcept override;
  int make_fifo(const char* path, mode_t mode) noexcept override;
  int use_fifo(int fd) noexcept override;
  int set_pipe_room(int fd, std::size_t bytes) noexcept override;
  bool path_may_wait(int folder, const char* path) noexcept override;
  bool file_may_wait(int fd, const char* path) noexcept override;
  int open_terminal_again(int fd) noexcept override;
  ssize_t transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept override;
  int control_device(int fd, unsigned long request, void* argument) noexcept override;
  Result<std::vector<io::Address>> look_up(const std::string& host, std::uint16_t port) override;
  [[nodiscard]] NameLookUp name_look_up() noexcept override { return nullptr; }
  Result<pid_t> spawn(const io::ProcessOptions& options, const std::array<int, 3>& descriptors) override;
  pid_t process_id() noexcept override;
  void exit_now(int code) noexcept override;
  int send_signal(pid_t pid, int number, const std::int32_t* value) noexcept override;
  int signal_action(int) noexcept override { return 0; }  // nobody has installed a handler
  int claim_signals(io::SignalClaim& claim) noexcept override;
  void release_signals(const io::SignalClaim& claim) noexcept override;
  int open_process(pid_t pid) noexcept override;
  int signal_process(int pidfd, int number) noexcept override;
  int reap(int pidfd, siginfo_t& info, bool keep) noexcept override;
  void reap_killed(pid_t pid) noexcept override;
  void await_end(int, int) noexcept override {}  // a killed process has ended

  // sim_host.cpp
  uid_t user() noexcept override;
  std::size_t descriptor_limit() noexcept override;
  int make_folder(const char* path, mode_t mode) noexcept override;
  int status(const char* path, struct stat& status) noexcept override;
  int rename(const char* from, const char* to) noexcept override;
  int unlink(const char* path) noexcept override;
  int open_folder(const char* path) noexcept override;
  int connect(int fd, const sockaddr* to, socklen_t size) noexcept override;
  ssize_t send(int fd, const void* data, std::size_t size) noexcept override;
  ssize_t read(int fd, void* data, std::size_t size) noexcept override;
  int make_watch() noexcept override;
  int watch_folder(int watch, const char* path, std::uint32_t events) noexcept override;
  int unwatch_folder(int watch, int number) noexcept override;
  int make_memory(const char* name) noexcept override;
  int kernel_file(int fd) noexcept override;
  void close(int fd) noexcept override;

 private:
  const std::shared_ptr<SimRing> ring_;
  SimProvider& kernel_;
  Engine& engine_;
  Context& context_;
  [[nodiscard]] ProcessTable& table() noexcept { return engine_.processes(); }
  [[nodiscard]] Held stream_for(const io::ProcessOptions& options, std::size_t index, int fd);

  std::vector<io::ThreadPool::Job*> jobs_;
};

/// The three parts over one ring.
io::Backend sim_backend(std::shared_ptr<SimRing> ring, Engine& engine, Context& context);

}  // namespace horus::HORUS_ABI::sim::detail
