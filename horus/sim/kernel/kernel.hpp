// SPDX-License-Identifier: Apache-2.0
// The simulated kernel as one process sees it: its table of descriptors, attempts, readiness, files.
// One thread, the world's. Belongs to the process's backend; objects refer to it while descriptors do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <horus/io/seam/provider.hpp>
#include <horus/sim/engine/engine.hpp>

namespace horus::HORUS_ABI::sim::detail {

/// What the simulated kernel knows about the process that calls it.
class Context {
 public:
  Context(Engine& engine, std::uint64_t number, Host& host,
          const std::map<std::string, Distribution, std::less<>>& costs) noexcept
      : engine_(engine), number_(number), host_(host), costs_(costs) {}
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  [[nodiscard]] std::uint64_t number() const noexcept { return number_; }
  [[nodiscard]] Host& host() noexcept { return host_; }
  [[nodiscard]] std::int64_t now() const noexcept { return std::max(engine_.now(), busy_until_); }
  /// CPU time passes in it.
  void spend(Duration cost) noexcept { busy_until_ = saturating_add(now(), cost.count()); }
  void spend_for(std::string_view node) noexcept;
  /// It may have something to do: it gets a turn.
  void wake() noexcept { woken_ = true; }
  /// Calls `action` after `delay`, unless the process has ended by then.
  void after(Duration delay, std::function<void()> action);
  /// Calls `action` with the process's reactor as the thread's current one.
  virtual void enter(const std::function<void()>& action) { action(); }
  /// Itself in the table of processes; set before anything runs.
  [[nodiscard]] SimProcess& process() noexcept { return *process_; }
  /// Its kernel is gone, and left so many descriptors open.
  void left_open(std::size_t descriptors) noexcept { leaked_ = descriptors; }
  /// Descriptors that were open at its end.
  [[nodiscard]] std::size_t leaked() const noexcept { return leaked_; }

 protected:
  ~Context() = default;

  Engine& engine_;
  const std::uint64_t number_;
  Host& host_;
  const std::map<std::string, Distribution, std::less<>>& costs_;
  SimProcess* process_ = nullptr;
  std::int64_t busy_until_ = 0;
  bool woken_ = false;
  std::size_t leaked_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>('\0');  // until it has ended
};

/// The simulated kernel as one process sees it.
class SimProvider final : public io::Provider, public Referrer {
 public:
  static constexpr std::size_t kMostDescriptors = 1024;  ///< RLIMIT_NOFILE as most systems set it

  SimProvider(Engine& engine, Context& context) noexcept : engine_(engine), context_(context) {}

  int classify(int fd, io::DescriptorTraits& traits) noexcept override;
  ssize_t receive(int fd, void* data, std::size_t size, int flags) noexcept override;
  ssize_t send(int fd, const void* data, std::size_t size, int flags) noexcept override;
  ssize_t receive_message(int fd, msghdr& message, int flags) noexcept override;
  ssize_t send_message(int fd, const msghdr& message, int flags) noexcept override;
  ssize_t read(int fd, const iovec* parts, int count, std::int64_t offset,
               io::DescriptorTraits& traits) noexcept override;
  ssize_t write(int fd, const iovec* parts, int count, std::int64_t offset,
                io::DescriptorTraits& traits) noexcept override;
  int accept(int fd, sockaddr* address, socklen_t* size, int flags,
             const io::DescriptorTraits& traits) noexcept override;
  int connect(int fd, const sockaddr* address, socklen_t size) noexcept override;
  int connect_result(int fd) noexcept override;
  int poll(int fd, std::uint32_t events) noexcept override;
  int shutdown(int fd, int how) noexcept override;
  int close(int fd) noexcept override;
  int watch(int fd, std::uint32_t before, std::uint32_t after) noexcept override;
  std::uint32_t generation(int fd) noexcept override;
  int wait(Readiness* ready, int limit, std::int64_t deadline_ns) noexcept override;
  void tick(std::int64_t period_ns) noexcept override;
  int pollable_fd() noexcept override { return -EOPNOTSUPP; }
  void ring() noexcept override {}
  bool start(io::BlockingOperation& operation) noexcept override;
  bool cancel(io::BlockingOperation& operation) noexcept override;
  void wait_until_quiet() noexcept override {}
  [[nodiscard]] std::int64_t now_ns() noexcept override { return context_.now(); }
  [[nodiscard]] bool has_whims() const noexcept override { return true; }
  bool whim(Whim which) noexcept override;
  io::RemoteWork* take_finished() noexcept override { return finished_.take(); }

  // --- The table of descriptors.
  /// The lowest free number; -EMFILE when there are too many.
  int add(std::shared_ptr<Object> object);
  /// At a certain number, which is free.
  void install(int fd, const std::shared_ptr<Object>& object);
  int duplicate(int fd);
  [[nodiscard]] std::shared_ptr<Object> shared(int fd) noexcept;
  [[nodiscard]] bool has_room() const noexcept;
  [[nodiscard]] Object* find(int fd) noexcept;
  /// Without the three standard ones.
  [[nodiscard]] std::size_t open_descriptors() const noexcept { return open_; }
  /// As the kernel does at the end of a process.
  void close_all() noexcept;
  /// The readiness of `fd` may have changed.
  void touch(int fd) noexcept override;
  /// The process has a turn soon, whatever for.
  void wake() noexcept { context_.wake(); }
  [[nodiscard]] bool has_candidates() const noexcept { return !candidates_.empty() || !finished_.empty(); }
  /// The process is gone: nothing it asks for reaches anybody.
  void cut_off() noexcept { cut_off_ = true; }
  [[nodiscard]] bool is_cut_off() const noexcept { return cut_off_; }
  /// The reactor's destructor waits: nothing may take virtual time any more.
  void drain() noexcept { draining_ = true; }
  /// Nobody else moves the world on: waiting does, until something happens here.
  void run_alone() noexcept { alone_ = true; }

 private:
  struct Entry {
    std::shared_ptr<Object> object;
    std::uint32_t watched = 0;
    std::uint32_t generation = 0;
    bool candidate = false;
  };
  // What `fd` names, about to take or give bytes.
  [[nodiscard]] Object* receiver(int fd) noexcept;
  [[nodiscard]] Object* sender(int fd) noexcept;
  ssize_t moved(const char* what, int fd, ssize_t result) noexcept;
  [[nodiscard]] std::size_t shortened(std::size_t size) noexcept;
  std::vector<iovec> shortened(const iovec* parts, std::size_t count) noexcept;
  [[nodiscard]] bool unlucky(unsigned rate) noexcept;
  void finish(io::BlockingOperation& operation) noexcept;
  std::int32_t perform(const io_uring_sqe& entry);
  ssize_t transfer(const io_uring_sqe& entry, const iovec* parts, std::size_t count, bool writing);
  int open(const io_uring_sqe& entry);
  int give_rights(msghdr& message, std::vector<Held>& rights, std::size_t room);

  Engine& engine_;
  Context& context_;
  std::vector<Entry> table_;
  std::size_t open_ = 0;  // without the three standard ones
  std::vector<int> candidates_;
  std::vector<io::BlockingOperation*> started_;
  io::RemoteList finished_;
  std::uint64_t retry_ticks_ = 0;
  bool ticking_ = false;
  bool cut_off_ = false;
  bool draining_ = false;
  bool alone_ = false;
};

}  // namespace horus::HORUS_ABI::sim::detail
