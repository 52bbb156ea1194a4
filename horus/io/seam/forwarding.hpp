// SPDX-License-Identifier: Apache-2.0
// Parts of a backend that hand everything to another one: the bases of those that stand in front of a part (a fault
// injector, a stopwatch, a recorder) and change one thing. Threads: as the part itself.
#pragma once

#include <horus/base/compiler.hpp>

#include <memory>
#include <utility>

#include <horus/io/seam/backend.hpp>

namespace horus::HORUS_ABI::io {

/// Shares the rings of `real`.
class ForwardingRing : public Ring {
 public:
  explicit ForwardingRing(std::shared_ptr<Ring> real) noexcept : real_(std::move(real)) {
    rings_ = real_->rings();
  }

  [[nodiscard]] const char* name() const noexcept override { return real_->name(); }
  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override {
    return real_->enter(to_submit, min_complete, deadline_ns);
  }
  int pollable_fd() noexcept override { return real_->pollable_fd(); }
  void clear_pollable() noexcept override { return real_->clear_pollable(); }
  bool send_completion(std::uint64_t user_data) noexcept override {
    return real_->send_completion(user_data);
  }
  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override {
    return real_->register_buffer_ring(ring, entries, group);
  }
  int unregister_buffer_ring(std::uint16_t group) noexcept override {
    return real_->unregister_buffer_ring(group);
  }
  int register_buffers(const iovec* buffers, unsigned count) noexcept override {
    return real_->register_buffers(buffers, count);
  }
  int unregister_buffers() noexcept override { return real_->unregister_buffers(); }
  int register_file(int fd) noexcept override { return real_->register_file(fd); }
  void unregister_file(int place) noexcept override { return real_->unregister_file(place); }
  void may_be_another(int fd) noexcept override { return real_->may_be_another(fd); }
  int close_descriptor(int fd) noexcept override { return real_->close_descriptor(fd); }
  bool let_go(int fd) noexcept override { return real_->let_go(fd); }

 protected:
  [[nodiscard]] Ring& real() const noexcept { return *real_; }

 private:
  std::shared_ptr<Ring> real_;
};

/// `nature`: that of `real`, or what the one in front adds to it.
class ForwardingClock : public Clock {
 public:
  explicit ForwardingClock(std::shared_ptr<Clock> real) noexcept
      : Clock(real->nature()), real_(std::move(real)) {}
  ForwardingClock(std::shared_ptr<Clock> real, Nature nature) noexcept
      : Clock(nature), real_(std::move(real)) {}

  [[nodiscard]] std::int64_t now_ns() noexcept override { return real_->now_ns(); }
  [[nodiscard]] std::int64_t wall_clock_ns() noexcept override { return real_->wall_clock_ns(); }
  [[nodiscard]] std::uint64_t choose(std::uint64_t count) noexcept override { return real_->choose(count); }
  void spend(std::string_view node) noexcept override { return real_->spend(node); }

 protected:
  [[nodiscard]] Clock& real() const noexcept { return *real_; }

 private:
  std::shared_ptr<Clock> real_;
};

/// Everything is as on `real`.
class ForwardingSystem : public System {
 public:
  explicit ForwardingSystem(std::shared_ptr<System> real) noexcept : real_(std::move(real)) {}

  [[nodiscard]] std::uint64_t world_process() const noexcept override { return real_->world_process(); }
  [[nodiscard]] bool has_kernel_descriptors() const noexcept override {
    return real_->has_kernel_descriptors();
  }
  [[nodiscard]] bool has_threads() const noexcept override { return real_->has_threads(); }
  int socket(int domain, int type, int protocol) noexcept override {
    return real_->socket(domain, type, protocol);
  }
  int bind(int fd, const sockaddr* address, socklen_t size) noexcept override {
    return real_->bind(fd, address, size);
  }
  int listen(int fd, int backlog) noexcept override { return real_->listen(fd, backlog); }
  int set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept override {
    return real_->set_option(fd, level, option, value, size);
  }
  int get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept override {
    return real_->get_option(fd, level, option, value, size);
  }
  int local_address(int fd, sockaddr* address, socklen_t* size) noexcept override {
    return real_->local_address(fd, address, size);
  }
  int peer_address(int fd, sockaddr* address, socklen_t* size) noexcept override {
    return real_->peer_address(fd, address, size);
  }
  int pipe(int ends[2], int flags) noexcept override { return real_->pipe(ends, flags); }
  int socket_pair(int ends[2], int domain, int type) noexcept override {
    return real_->socket_pair(ends, domain, type);
  }
  int event_fd(unsigned initial, int flags) noexcept override { return real_->event_fd(initial, flags); }
  void add_to_event(int event_fd, std::uint64_t count) noexcept override {
    return real_->add_to_event(event_fd, count);
  }
  int status_flags(int fd) noexcept override { return real_->status_flags(fd); }
  Closing closing_of(int fd) noexcept override { return real_->closing_of(fd); }
  int duplicate(int fd) noexcept override { return real_->duplicate(fd); }
  int connect(int fd, const sockaddr* to, socklen_t size) noexcept override {
    return real_->connect(fd, to, size);
  }
  ssize_t send(int fd, const void* data, std::size_t size) noexcept override {
    return real_->send(fd, data, size);
  }
  ssize_t read(int fd, void* data, std::size_t size) noexcept override { return real_->read(fd, data, size); }
  void close(int fd) noexcept override { return real_->close(fd); }
  int use_fifo(int fd) noexcept override { return real_->use_fifo(fd); }
  int set_pipe_room(int fd, std::size_t bytes) noexcept override { return real_->set_pipe_room(fd, bytes); }
  bool path_may_wait(int folder, const char* path) noexcept override {
    return real_->path_may_wait(folder, path);
  }
  bool file_may_wait(int fd, const char* path) noexcept override { return real_->file_may_wait(fd, path); }
  int open_terminal_again(int fd) noexcept override { return real_->open_terminal_again(fd); }
  ssize_t transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept override {
    return real_->transfer_now(fd, parts, count, writing);
  }
  int control_device(int fd, unsigned long request, void* argument) noexcept override {
    return real_->control_device(fd, request, argument);
  }
  int make_folder(const char* path, mode_t mode) noexcept override { return real_->make_folder(path, mode); }
  int status(const char* path, struct stat& status) noexcept override { return real_->status(path, status); }
  int rename(const char* from, const char* to) noexcept override { return real_->rename(from, to); }
  int unlink(const char* path) noexcept override { return real_->unlink(path); }
  int open_folder(const char* path) noexcept override { return real_->open_folder(path); }
  int make_watch() noexcept override { return real_->make_watch(); }
  int watch_folder(int watch, const char* path, std::uint32_t events) noexcept override {
    return real_->watch_folder(watch, path, events);
  }
  int unwatch_folder(int watch, int number) noexcept override { return real_->unwatch_folder(watch, number); }
  int make_memory(const char* name) noexcept override { return real_->make_memory(name); }
  int kernel_file(int fd) noexcept override { return real_->kernel_file(fd); }
  int list_directory(int fd, void* buffer, std::size_t size) noexcept override {
    return real_->list_directory(fd, buffer, size);
  }
  ssize_t read_link(const char* path, char* target, std::size_t size) noexcept override {
    return real_->read_link(path, target, size);
  }
  int access(const char* path, int mode) noexcept override { return real_->access(path, mode); }
  int change_mode(const char* path, mode_t mode) noexcept override { return real_->change_mode(path, mode); }
  int truncate(int fd, std::int64_t size) noexcept override { return real_->truncate(fd, size); }
  void remove_tree(const char* path) noexcept override { return real_->remove_tree(path); }
  int make_fifo(const char* path, mode_t mode) noexcept override { return real_->make_fifo(path, mode); }
  Result<std::vector<Address>> look_up(const std::string& host, std::uint16_t port) override {
    return real_->look_up(host, port);
  }
  [[nodiscard]] NameLookUp name_look_up() noexcept override { return real_->name_look_up(); }
  bool run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept override { return real_->run_job(pool, job); }
  bool take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept override {
    return real_->take_job_back(pool, job);
  }
  void random_bytes(void* out, std::size_t size) noexcept override { return real_->random_bytes(out, size); }
  Result<pid_t> spawn(const ProcessOptions& options, const std::array<int, 3>& descriptors) override {
    return real_->spawn(options, descriptors);
  }
  std::size_t descriptor_limit() noexcept override { return real_->descriptor_limit(); }
  uid_t user() noexcept override { return real_->user(); }
  pid_t process_id() noexcept override { return real_->process_id(); }
  void exit_now(int code) noexcept override { return real_->exit_now(code); }
  int send_signal(pid_t pid, int number, const std::int32_t* value) noexcept override {
    return real_->send_signal(pid, number, value);
  }
  int signal_action(int number) noexcept override { return real_->signal_action(number); }
  int claim_signals(SignalClaim& claim) noexcept override { return real_->claim_signals(claim); }
  void release_signals(const SignalClaim& claim) noexcept override { return real_->release_signals(claim); }
  int open_process(pid_t pid) noexcept override { return real_->open_process(pid); }
  int signal_process(int pidfd, int number) noexcept override { return real_->signal_process(pidfd, number); }
  int reap(int pidfd, siginfo_t& info, bool keep) noexcept override { return real_->reap(pidfd, info, keep); }
  void reap_killed(pid_t pid) noexcept override { return real_->reap_killed(pid); }
  void await_end(int pidfd, int limit_ms) noexcept override { return real_->await_end(pidfd, limit_ms); }

 protected:
  [[nodiscard]] System& real() const noexcept { return *real_; }

 private:
  std::shared_ptr<System> real_;
};

}  // namespace horus::HORUS_ABI::io
