// SPDX-License-Identifier: Apache-2.0
// One life of a simulated process: its descriptors, its reactor, the world that the interpreter sees.
// One thread, the world's. Owned by the World; objects and events refer to it by number.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <horus/io/interpreter.hpp>
#include <horus/io/reactor.hpp>
#include <horus/sim/engine.hpp>
#include <horus/task/scope.hpp>

namespace horus::sim::detail {

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
  void left_open(std::size_t descriptors) noexcept { leaked_ = descriptors; }

 protected:
  ~Context() = default;

  Engine& engine_;
  const std::uint64_t number_;
  Host& host_;
  const std::map<std::string, Distribution, std::less<>>& costs_;
  std::int64_t busy_until_ = 0;
  bool woken_ = false;
  std::size_t leaked_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>('\0');  // until it has ended
};

/// The simulated kernel as one process sees it.
class SimProvider final : public io::Provider {
 public:
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
  void tick(bool on) noexcept override;
  int pollable_fd() noexcept override { return -EOPNOTSUPP; }
  void ring() noexcept override {}
  bool start(io::BlockingOperation& operation) noexcept override;
  bool cancel(io::BlockingOperation& operation) noexcept override;
  void wait_until_quiet() noexcept override {}
  io::RemoteWork* take_finished() noexcept override { return finished_.take(); }

  // --- The table of descriptors.
  /// The lowest free number; -EMFILE when there are too many.
  int add(std::shared_ptr<Object> object);
  int duplicate(int fd);
  [[nodiscard]] Object* find(int fd) noexcept;
  [[nodiscard]] std::size_t open_descriptors() const noexcept { return open_; }
  /// As the kernel does at the end of a process.
  void close_all() noexcept;
  /// The readiness of `fd` may have changed.
  void touch(int fd) noexcept;
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
  ssize_t moved(const char* what, int fd, ssize_t result) noexcept;
  [[nodiscard]] std::size_t shortened(std::size_t size) noexcept;
  [[nodiscard]] bool unlucky(unsigned rate) noexcept;
  void finish(io::BlockingOperation& operation) noexcept;
  std::int32_t perform(const io_uring_sqe& entry);
  ssize_t transfer(const io_uring_sqe& entry, const iovec* parts, std::size_t count, bool writing);
  int open(const io_uring_sqe& entry);

  Engine& engine_;
  Context& context_;
  std::vector<Entry> table_;
  std::vector<int> candidates_;
  std::vector<io::BlockingOperation*> started_;
  io::RemoteList finished_;
  std::size_t open_ = 0;
  std::uint64_t retry_ticks_ = 0;
  bool ticking_ = false;
  bool cut_off_ = false;
  bool draining_ = false;
  bool alone_ = false;
};

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
  void ring(int event_fd, std::uint64_t count) noexcept override;
  int status_flags(int) noexcept override { return 0; }
  bool run_job(io::ThreadPool& pool, io::ThreadPool::Job& job) noexcept override;
  bool take_job_back(io::ThreadPool& pool, io::ThreadPool::Job& job) noexcept override;
  void random_bytes(void* out, std::size_t size) noexcept override;

 private:
  Engine& engine_;
  Context& context_;
  std::vector<io::ThreadPool::Job*> jobs_;
};

/// One life of a process.
class Instance final : public Context {
 public:
  enum class State : std::uint8_t { running, stopping, ended };

  Instance(Engine& engine, std::uint64_t number, std::string name, Host& host,
           const std::map<std::string, Distribution, std::less<>>& costs);
  /// Only when it has ended.
  ~Instance();

  /// Starts `main`; what it needs must live until the instance has ended.
  void start(const std::function<Task<int>()>& main);
  /// One turn of its loop.
  void turn();
  /// Asks the main task to stop.
  void ask_to_stop();
  /// As SIGKILL does, seen from outside: all descriptors close now. Inside, the tasks are asked to stop and everything
  /// they try is refused.
  void kill();
  /// Runs `action` as this process.
  template <class F>
  void as_current(F&& action) {
    const io::CurrentReactor current(reactor_.get());
    std::forward<F>(action)();
  }
  void enter(const std::function<void()>& action) override { as_current(action); }

  [[nodiscard]] bool ended() const noexcept { return state_ == State::ended; }
  [[nodiscard]] bool killed() const noexcept { return killed_; }
  [[nodiscard]] bool has_work() noexcept;
  /// It has operations in flight.
  [[nodiscard]] bool waits_for_input() const noexcept { return reactor_->statistics().in_flight > 0; }
  /// When it has something to do without being woken; kNever.
  [[nodiscard]] std::int64_t wake_time() noexcept;
  [[nodiscard]] const std::string& name() const noexcept { return name_; }
  [[nodiscard]] SimProvider& kernel() noexcept { return backend_->kernel(); }
  [[nodiscard]] std::int64_t busy_until() const noexcept { return busy_until_; }
  [[nodiscard]] int exit_code() const noexcept { return exit_code_; }
  /// What the main task threw, or failed with.
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  /// Descriptors that were open when it ended by itself.
  [[nodiscard]] std::size_t leaked_descriptors() const noexcept { return leaked_; }

 private:
  void end();

  const std::string name_;
  SimBackend* backend_ = nullptr;  // the reactor's
  std::unique_ptr<io::Reactor> reactor_;
  std::unique_ptr<Scope> scope_;
  Spawned<int> main_;
  State state_ = State::running;
  bool killed_ = false;
  int exit_code_ = 0;
  std::string failure_;
};

}  // namespace horus::sim::detail
