// SPDX-License-Identifier: Apache-2.0
// What the reactor of a simulated process talks to: the simulated kernel, checked at the seam, and with whatever the
// kernel leaves open (the order of completions, when a call returns, who goes first) decided by the seed.
// One thread, the world's. Owned by the reactor.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <sys/types.h>

#include <horus/io/host_calls.hpp>
#include <horus/sim/kernel.hpp>
#include <horus/sim/relay.hpp>
#include <horus/sim/seam_checks.hpp>

namespace horus::sim::detail {

class ProcessBackend final : public RelayBackend, public io::HostCalls {
 public:
  /// `real` is, or stands in front of, the backend of `kernel`.
  ProcessBackend(std::unique_ptr<io::Backend> real, Engine& engine, Context& context, SimProvider& kernel,
                 std::string who);
  /// Checks what is left.
  ~ProcessBackend() override;

  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override;
  [[nodiscard]] std::int64_t now_ns() noexcept override;
  [[nodiscard]] std::uint64_t choose(std::uint64_t count) noexcept override;
  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override;
  int unregister_buffer_ring(std::uint16_t group) noexcept override;

  // What the process asks its host on the spot: process_host.cpp.
  [[nodiscard]] std::uint64_t world_process() const noexcept override;
  uid_t user() noexcept override;
  pid_t process() noexcept override;
  std::size_t descriptor_limit() noexcept override;
  int make_folder(const char* path, mode_t mode) noexcept override;
  int status(const char* path, struct stat& status) noexcept override;
  int rename(const char* from, const char* to) noexcept override;
  int unlink(const char* path) noexcept override;
  int open_folder(const char* path) noexcept override;
  int connect(int fd, const sockaddr* to, socklen_t size) noexcept override;
  int socket_pair(int ends[2], int domain, int type) noexcept override;
  ssize_t send(int fd, const void* data, std::size_t size) noexcept override;
  ssize_t read(int fd, void* data, std::size_t size) noexcept override;
  int make_watch() noexcept override;
  int watch_folder(int watch, const char* path, std::uint32_t events) noexcept override;
  int make_memory(const char* name) noexcept override;
  int kernel_file(int fd) noexcept override;
  void close(int fd) noexcept override;

 protected:
  void submitting(io_uring_sqe& entry) noexcept override;
  void completing(std::vector<Completion>& batch) noexcept override;
  [[nodiscard]] std::int64_t next_due() const noexcept override;

 private:
  struct Late {
    Completion completion;
    std::int64_t due_ns;
  };
  [[nodiscard]] bool happens(unsigned rate, std::uint64_t& counter) noexcept;
  void keep_some_back(std::vector<Completion>& batch) noexcept;
  void mix(std::vector<Completion>& batch) noexcept;

  Engine& engine_;
  Context& context_;
  SimProvider& kernel_;
  SeamChecks checks_;
  const pid_t made_by_;
  std::vector<Late> late_;
  bool early_ = false;  // the last call returned early: the next one does not
};

}  // namespace horus::sim::detail
