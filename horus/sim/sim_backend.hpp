// SPDX-License-Identifier: Apache-2.0
// The seam's simulated side: the interpreter over the simulated kernel, and what does not go through entries.
// One thread, the world's. Owned by its reactor.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include <horus/io/interpreter.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/sim/kernel.hpp>

namespace horus::sim::detail {

// Constructed before the interpreter and destroyed after it.
struct KernelHolder {
  KernelHolder(Engine& engine, Context& context) noexcept : provider(engine, context) {}
  SimProvider provider;
};

/// The seam's other side: the interpreter over that kernel, and what does not go through entries.
class SimBackend : private KernelHolder, public io::Interpreter {
 public:
  SimBackend(Engine& engine, Context& context, const io::ReactorConfig& config);
  /// Tells the instance what it left open.
  ~SimBackend() override;
  [[nodiscard]] const char* name() const noexcept override { return "sim"; }
  [[nodiscard]] SimProvider& kernel() noexcept { return provider; }

  [[nodiscard]] bool has_virtual_clock() const noexcept override { return true; }
  [[nodiscard]] std::int64_t now_ns() noexcept override;
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
  int close_descriptor(int fd) noexcept override;
  int duplicate(int fd) noexcept override;
  int list_directory(int fd, void* buffer, std::size_t size) noexcept override;
  ssize_t read_link(const char* path, char* target, std::size_t size) noexcept override;
  int access(const char* path, int mode) noexcept override;
  int change_mode(const char* path, mode_t mode) noexcept override;
  int truncate(int fd, std::int64_t size) noexcept override;
  void remove_tree(const char* path) noexcept override;
  void ring(int event_fd, std::uint64_t count) noexcept override;
  int status_flags(int fd) noexcept override;
  bool run_job(io::ThreadPool& pool, io::ThreadPool::Job& job) noexcept override;
  bool take_job_back(io::ThreadPool& pool, io::ThreadPool::Job& job) noexcept override;
  void random_bytes(void* out, std::size_t size) noexcept override;

 private:
  Engine& engine_;
  Context& context_;
  std::vector<io::ThreadPool::Job*> jobs_;
};

}  // namespace horus::sim::detail
