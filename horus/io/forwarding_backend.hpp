// SPDX-License-Identifier: Apache-2.0
// A backend that hands everything to another one: the base of those that stand between a reactor and its backend (a
// fault injector, a stopwatch, a checker) and change one thing. One thread, the reactor's.
#pragma once

#include <array>
#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/io/backend.hpp>

namespace horus::io {

/// Owns `real` and shares its rings.
class HORUS_API ForwardingBackend : public Backend {
 public:
  explicit ForwardingBackend(std::unique_ptr<Backend> real) noexcept;

  [[nodiscard]] const char* name() const noexcept override;
  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override;
  int pollable_fd() noexcept override;
  void clear_pollable() noexcept override;
  bool send_completion(std::uint64_t user_data) noexcept override;
  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override;
  int unregister_buffer_ring(std::uint16_t group) noexcept override;
  int register_buffers(const iovec* buffers, unsigned count) noexcept override;
  int unregister_buffers() noexcept override;
  int register_file(int fd) noexcept override;
  void unregister_file(int place) noexcept override;
  void may_be_another(int fd) noexcept override;

  [[nodiscard]] std::int64_t now_ns() noexcept override;
  [[nodiscard]] std::int64_t wall_clock_ns() noexcept override;
  [[nodiscard]] bool has_virtual_clock() const noexcept override;
  [[nodiscard]] std::uint64_t choose(std::uint64_t count) noexcept override;
  void spend(std::string_view node) noexcept override;
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
  void ring(int event_fd, std::uint64_t count) noexcept override;
  int status_flags(int fd) noexcept override;
  int close_descriptor(int fd) noexcept override;
  Closing closing_of(int fd) noexcept override;
  bool let_go(int fd) noexcept override;
  bool run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept override;
  bool take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept override;
  int duplicate(int fd) noexcept override;
  int list_directory(int fd, void* buffer, std::size_t size) noexcept override;
  ssize_t read_link(const char* path, char* target, std::size_t size) noexcept override;
  int access(const char* path, int mode) noexcept override;
  int change_mode(const char* path, mode_t mode) noexcept override;
  int truncate(int fd, std::int64_t size) noexcept override;
  void remove_tree(const char* path) noexcept override;
  void random_bytes(void* out, std::size_t size) noexcept override;
  int make_fifo(const char* path, mode_t mode) noexcept override;
  Result<std::vector<Address>> look_up(const std::string& host, std::uint16_t port) override;
  [[nodiscard]] NameLookUp name_look_up() noexcept override;
  Result<pid_t> spawn(const ProcessOptions& options, const std::array<int, 3>& descriptors) override;
  int use_fifo(int fd) noexcept override;
  int set_pipe_room(int fd, std::size_t bytes) noexcept override;
  bool path_may_wait(int folder, const char* path) noexcept override;
  bool file_may_wait(int fd, const char* path) noexcept override;
  int open_terminal_again(int fd) noexcept override;
  ssize_t transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept override;
  int control_device(int fd, unsigned long request, void* argument) noexcept override;
  pid_t process_id() noexcept override;
  void exit_now(int code) noexcept override;
  int send_signal(pid_t pid, int number, const std::int32_t* value) noexcept override;
  int claim_signals(SignalClaim& claim) noexcept override;
  void release_signals(const SignalClaim& claim) noexcept override;
  int open_process(pid_t pid) noexcept override;
  int signal_process(int pidfd, int number) noexcept override;
  int reap(int pidfd, siginfo_t& info, bool keep) noexcept override;
  void reap_killed(pid_t pid) noexcept override;
  void await_end(int pidfd, int limit_ms) noexcept override;

 protected:
  [[nodiscard]] Backend& real() noexcept { return *real_; }

 private:
  std::unique_ptr<Backend> real_;
};

}  // namespace horus::io
