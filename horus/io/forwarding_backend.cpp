// SPDX-License-Identifier: Apache-2.0
#include <horus/io/forwarding_backend.hpp>

#include <utility>

namespace horus::io {

ForwardingBackend::ForwardingBackend(std::unique_ptr<Backend> real) noexcept : real_(std::move(real)) {
  rings_ = real_->rings();
}

const char* ForwardingBackend::name() const noexcept { return real_->name(); }
int ForwardingBackend::enter(std::uint32_t to_submit, std::uint32_t min_complete,
                             std::int64_t deadline_ns) noexcept {
  return real_->enter(to_submit, min_complete, deadline_ns);
}
int ForwardingBackend::pollable_fd() noexcept { return real_->pollable_fd(); }
void ForwardingBackend::clear_pollable() noexcept { real_->clear_pollable(); }
bool ForwardingBackend::send_completion(std::uint64_t user_data) noexcept {
  return real_->send_completion(user_data);
}
int ForwardingBackend::register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                                            std::uint16_t group) noexcept {
  return real_->register_buffer_ring(ring, entries, group);
}
int ForwardingBackend::unregister_buffer_ring(std::uint16_t group) noexcept {
  return real_->unregister_buffer_ring(group);
}
int ForwardingBackend::register_buffers(const iovec* buffers, unsigned count) noexcept {
  return real_->register_buffers(buffers, count);
}
int ForwardingBackend::unregister_buffers() noexcept { return real_->unregister_buffers(); }
int ForwardingBackend::register_file(int fd) noexcept { return real_->register_file(fd); }
void ForwardingBackend::unregister_file(int place) noexcept { real_->unregister_file(place); }
void ForwardingBackend::may_be_another(int fd) noexcept { real_->may_be_another(fd); }
std::int64_t ForwardingBackend::now_ns() noexcept { return real_->now_ns(); }
std::int64_t ForwardingBackend::wall_clock_ns() noexcept { return real_->wall_clock_ns(); }
bool ForwardingBackend::has_virtual_clock() const noexcept { return real_->has_virtual_clock(); }
std::uint64_t ForwardingBackend::choose(std::uint64_t count) noexcept { return real_->choose(count); }
void ForwardingBackend::spend(std::string_view node) noexcept { real_->spend(node); }
int ForwardingBackend::socket(int domain, int type, int protocol) noexcept {
  return real_->socket(domain, type, protocol);
}
int ForwardingBackend::bind(int fd, const sockaddr* address, socklen_t size) noexcept {
  return real_->bind(fd, address, size);
}
int ForwardingBackend::listen(int fd, int backlog) noexcept { return real_->listen(fd, backlog); }
int ForwardingBackend::set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept {
  return real_->set_option(fd, level, option, value, size);
}
int ForwardingBackend::get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept {
  return real_->get_option(fd, level, option, value, size);
}
int ForwardingBackend::local_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  return real_->local_address(fd, address, size);
}
int ForwardingBackend::peer_address(int fd, sockaddr* address, socklen_t* size) noexcept {
  return real_->peer_address(fd, address, size);
}
int ForwardingBackend::pipe(int ends[2], int flags) noexcept { return real_->pipe(ends, flags); }
int ForwardingBackend::socket_pair(int ends[2], int domain, int type) noexcept {
  return real_->socket_pair(ends, domain, type);
}
int ForwardingBackend::event_fd(unsigned initial, int flags) noexcept {
  return real_->event_fd(initial, flags);
}
void ForwardingBackend::ring(int event_fd, std::uint64_t count) noexcept { real_->ring(event_fd, count); }
int ForwardingBackend::status_flags(int fd) noexcept { return real_->status_flags(fd); }
int ForwardingBackend::close_descriptor(int fd) noexcept { return real_->close_descriptor(fd); }
Closing ForwardingBackend::closing_of(int fd) noexcept { return real_->closing_of(fd); }
bool ForwardingBackend::let_go(int fd) noexcept { return real_->let_go(fd); }
bool ForwardingBackend::run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept {
  return real_->run_job(pool, job);
}
bool ForwardingBackend::take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept {
  return real_->take_job_back(pool, job);
}
int ForwardingBackend::duplicate(int fd) noexcept { return real_->duplicate(fd); }
int ForwardingBackend::list_directory(int fd, void* buffer, std::size_t size) noexcept {
  return real_->list_directory(fd, buffer, size);
}
ssize_t ForwardingBackend::read_link(const char* path, char* target, std::size_t size) noexcept {
  return real_->read_link(path, target, size);
}
int ForwardingBackend::access(const char* path, int mode) noexcept { return real_->access(path, mode); }
int ForwardingBackend::change_mode(const char* path, mode_t mode) noexcept {
  return real_->change_mode(path, mode);
}
int ForwardingBackend::truncate(int fd, std::int64_t size) noexcept { return real_->truncate(fd, size); }
void ForwardingBackend::remove_tree(const char* path) noexcept { real_->remove_tree(path); }
void ForwardingBackend::random_bytes(void* out, std::size_t size) noexcept { real_->random_bytes(out, size); }
int ForwardingBackend::make_fifo(const char* path, mode_t mode) noexcept {
  return real_->make_fifo(path, mode);
}
Backend::NameLookUp ForwardingBackend::name_look_up() noexcept { return real_->name_look_up(); }
Result<std::vector<Address>> ForwardingBackend::look_up(const std::string& host, std::uint16_t port) {
  return real_->look_up(host, port);
}
Result<pid_t> ForwardingBackend::spawn(const ProcessOptions& options, const std::array<int, 3>& descriptors) {
  return real_->spawn(options, descriptors);
}
int ForwardingBackend::use_fifo(int fd) noexcept { return real_->use_fifo(fd); }
int ForwardingBackend::set_pipe_room(int fd, std::size_t bytes) noexcept {
  return real_->set_pipe_room(fd, bytes);
}
bool ForwardingBackend::path_may_wait(int folder, const char* path) noexcept {
  return real_->path_may_wait(folder, path);
}
bool ForwardingBackend::file_may_wait(int fd, const char* path) noexcept {
  return real_->file_may_wait(fd, path);
}
int ForwardingBackend::open_terminal_again(int fd) noexcept { return real_->open_terminal_again(fd); }
ssize_t ForwardingBackend::transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept {
  return real_->transfer_now(fd, parts, count, writing);
}
int ForwardingBackend::control_device(int fd, unsigned long request, void* argument) noexcept {
  return real_->control_device(fd, request, argument);
}
pid_t ForwardingBackend::process_id() noexcept { return real_->process_id(); }
void ForwardingBackend::exit_now(int code) noexcept { real_->exit_now(code); }
int ForwardingBackend::send_signal(pid_t pid, int number, const std::int32_t* value) noexcept {
  return real_->send_signal(pid, number, value);
}
int ForwardingBackend::claim_signals(SignalClaim& claim) noexcept { return real_->claim_signals(claim); }
void ForwardingBackend::release_signals(const SignalClaim& claim) noexcept { real_->release_signals(claim); }
int ForwardingBackend::open_process(pid_t pid) noexcept { return real_->open_process(pid); }
int ForwardingBackend::signal_process(int pidfd, int number) noexcept {
  return real_->signal_process(pidfd, number);
}
int ForwardingBackend::reap(int pidfd, siginfo_t& info, bool keep) noexcept {
  return real_->reap(pidfd, info, keep);
}
void ForwardingBackend::reap_killed(pid_t pid) noexcept { real_->reap_killed(pid); }
void ForwardingBackend::await_end(int pidfd, int limit_ms) noexcept { real_->await_end(pidfd, limit_ms); }

}  // namespace horus::io
