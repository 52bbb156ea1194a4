// SPDX-License-Identifier: Apache-2.0
// What a loop, and its work on pools, ask the machine: written down by a recording, answered from the log by a replay. Each
// question stands here once, for both.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <set>
#include <type_traits>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/crc32c.hpp>
#include <horus/io/base/signal_claim.hpp>
#include <horus/io/replay/parts.hpp>
#include <horus/io/replay/result.hpp>
#include <horus/io/seam/forwarding.hpp>

#include <asm/termbits.h>

namespace horus::HORUS_ABI::io::replay {
namespace {

/// The questions. A log of format 1 names them by their number.
enum class Call : std::uint8_t {
  of_ring,  // rings.cpp
  socket,
  bind,
  listen,
  set_option,
  get_option,
  local_address,
  peer_address,
  pipe,
  socket_pair,
  event_fd,
  status_flags,
  closing_of,
  duplicate,
  connect,
  send,
  read,
  close,
  use_fifo,
  set_pipe_room,
  path_may_wait,
  file_may_wait,
  open_terminal_again,
  transfer_now,
  control_device,
  make_folder,
  status,
  rename,
  unlink,
  open_folder,
  make_watch,
  watch_folder,
  unwatch_folder,
  list_directory,
  read_link,
  access,
  change_mode,
  truncate,
  remove_tree,
  make_fifo,
  look_up,
  run_job,
  take_job_back,
  random_bytes,
  spawn,
  user,
  descriptor_limit,
  process_id,
  send_signal,
  claim_signals,
  release_signals,
  open_process,
  signal_process,
  reap,
  reap_killed,
  await_end,
  signal_action,
};

constexpr const char* kNames[] = {"a descriptor or a buffer of the ring",
                                  "socket",
                                  "bind",
                                  "listen",
                                  "setsockopt",
                                  "getsockopt",
                                  "getsockname",
                                  "getpeername",
                                  "pipe",
                                  "socketpair",
                                  "eventfd",
                                  "fcntl(F_GETFL)",
                                  "what closing costs",
                                  "dup",
                                  "connect",
                                  "send",
                                  "read",
                                  "close",
                                  "making a FIFO wait",
                                  "fcntl(F_SETPIPE_SZ)",
                                  "whether a path may wait",
                                  "whether a file may wait",
                                  "opening a terminal again",
                                  "readv or writev",
                                  "ioctl",
                                  "mkdir",
                                  "lstat",
                                  "rename",
                                  "unlink",
                                  "opening a folder",
                                  "inotify_init",
                                  "inotify_add_watch",
                                  "inotify_rm_watch",
                                  "getdents",
                                  "readlink",
                                  "access",
                                  "chmod",
                                  "ftruncate",
                                  "removing a folder",
                                  "mkfifo",
                                  "looking up a host",
                                  "offloading work",
                                  "taking work back",
                                  "getrandom",
                                  "starting a process",
                                  "geteuid",
                                  "getrlimit",
                                  "getpid",
                                  "kill",
                                  "claiming signals",
                                  "releasing signals",
                                  "pidfd_open",
                                  "pidfd_send_signal",
                                  "waitid",
                                  "waiting for a killed child",
                                  "waiting for the end of a child",
                                  "sigaction"};

static_assert(std::size(kNames) == static_cast<std::size_t>(Call::signal_action) + 1);

// What has to be equal in both runs: no addresses.
class Sum {
 public:
  template <class T>
    requires std::is_arithmetic_v<T> || std::is_enum_v<T>
  Sum& add(T value) noexcept {
    return bytes(&value, sizeof value);
  }
  Sum& bytes(const void* data, std::size_t size) noexcept {
    if (data != nullptr) sum_ = crc32c(std::span(static_cast<const std::byte*>(data), size), sum_);
    return *this;
  }
  Sum& text(const char* text) noexcept { return bytes(text, text == nullptr ? 0 : std::strlen(text)); }
  [[nodiscard]] std::uint32_t value() const noexcept { return sum_; }

 private:
  std::uint32_t sum_ = 0;
};

template <class... T>
std::uint32_t sum(T... values) noexcept {
  Sum all;
  (all.add(values), ...);
  return all.value();
}

// Memory that a call has filled, or as much as it may fill.
struct Filled {
  void* data;
  std::size_t size;
};

std::size_t at_least_zero(std::int64_t result) noexcept {
  return result > 0 ? static_cast<std::size_t>(result) : 0;
}

constexpr auto kNothing = [](std::int64_t) { return std::array<Filled, 0>(); };

auto filled(void* data) noexcept {
  return [data](std::int64_t result) { return std::array{Filled{data, at_least_zero(result)}}; };
}
template <class T>
auto whole(T& object) noexcept {
  return [&object](std::int64_t) { return std::array{Filled{&object, sizeof object}}; };
}
auto two(int* ends) noexcept {
  return [ends](std::int64_t) { return std::array{Filled{ends, 2 * sizeof *ends}}; };
}

// What this run has sent itself: the log tells of it.
void drop_pending(const SignalClaim& claim) noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  for (int number = 1; number <= 64; ++number) {
    if (claim.has(number)) ::sigaddset(&set, number);
  }
  const timespec at_once{0, 0};
  while (::sigtimedwait(&set, nullptr, &at_once) > 0) {
  }
}

class JournalSystem final : public ForwardingSystem {
 public:
  JournalSystem(Journal& journal, std::shared_ptr<System> behind)
      : ForwardingSystem(std::move(behind)), journal_(journal) {}

  // A replayed descriptor is a number that belongs to nobody.
  [[nodiscard]] bool has_kernel_descriptors() const noexcept override {
    return !journal_.replays() && ForwardingSystem::has_kernel_descriptors();
  }

  int socket(int domain, int type, int protocol) noexcept override {
    return made(Call::socket, sum(domain, type, protocol),
                [&] { return real().socket(domain, type, protocol); });
  }
  int bind(int fd, const sockaddr* address, socklen_t size) noexcept override {
    return ask(Call::bind, Sum().add(d(fd)).bytes(address, size).value(),
               [&] { return real().bind(fd, address, size); });
  }
  int listen(int fd, int backlog) noexcept override {
    return ask(Call::listen, sum(d(fd), backlog), [&] { return real().listen(fd, backlog); });
  }
  int set_option(int fd, int level, int option, const void* value, socklen_t size) noexcept override {
    return ask(Call::set_option, Sum().add(d(fd)).add(level).add(option).bytes(value, size).value(),
               [&] { return real().set_option(fd, level, option, value, size); });
  }
  int get_option(int fd, int level, int option, void* value, socklen_t* size) noexcept override {
    const socklen_t room = *size;
    return ask(
        Call::get_option, sum(d(fd), level, option, room),
        [&] { return real().get_option(fd, level, option, value, size); },
        [&](std::int64_t) { return std::array{Filled{size, sizeof *size}, Filled{value, room}}; });
  }
  int local_address(int fd, sockaddr* address, socklen_t* size) noexcept override {
    return ask_address(Call::local_address, fd, address, size,
                       [&] { return real().local_address(fd, address, size); });
  }
  int peer_address(int fd, sockaddr* address, socklen_t* size) noexcept override {
    return ask_address(Call::peer_address, fd, address, size,
                       [&] { return real().peer_address(fd, address, size); });
  }
  int pipe(int ends[2], int flags) noexcept override {
    return both(ends, ask(Call::pipe, sum(flags), [&] { return real().pipe(ends, flags); }, two(ends)));
  }
  int socket_pair(int ends[2], int domain, int type) noexcept override {
    return both(ends, ask(
                          Call::socket_pair, sum(domain, type),
                          [&] { return real().socket_pair(ends, domain, type); }, two(ends)));
  }
  int event_fd(unsigned initial, int flags) noexcept override {
    return made(Call::event_fd, sum(initial, flags), [&] { return real().event_fd(initial, flags); });
  }
  // What it wakes is in the log.
  void add_to_event(int event_fd, std::uint64_t count) noexcept override {
    if (!journal_.replays()) real().add_to_event(event_fd, count);
  }
  int status_flags(int fd) noexcept override {
    return ask(Call::status_flags, sum(d(fd)), [&] { return real().status_flags(fd); });
  }
  // The thread of a room would close a number that at a replay belongs to nobody: the ring does it.
  Closing closing_of(int fd) noexcept override {
    return ask(Call::closing_of, sum(d(fd)), [&] {
      const Closing closing = real().closing_of(fd);
      return closing == Closing::room ? Closing::entry : closing;
    });
  }
  int duplicate(int fd) noexcept override {
    return journal_.copies(fd, made(Call::duplicate, sum(d(fd)), [&] { return real().duplicate(fd); }));
  }
  int connect(int fd, const sockaddr* to, socklen_t size) noexcept override {
    return ask(Call::connect, Sum().add(d(fd)).bytes(to, size).value(),
               [&] { return real().connect(fd, to, size); });
  }
  ssize_t send(int fd, const void* data, std::size_t size) noexcept override {
    return ask(Call::send, Sum().add(d(fd)).bytes(data, size).value(),
               [&] { return real().send(fd, data, size); });
  }
  ssize_t read(int fd, void* data, std::size_t size) noexcept override {
    return ask(Call::read, sum(d(fd), size), [&] { return real().read(fd, data, size); }, filled(data));
  }
  void close(int fd) noexcept override {
    if (is_memory(fd)) return real().close(fd);
    ask(Call::close, sum(d(fd)), [&] {
      real().close(fd);
      return 0;
    });
    journal_.forget(fd);
  }
  int use_fifo(int fd) noexcept override {
    return ask(Call::use_fifo, sum(d(fd)), [&] { return real().use_fifo(fd); });
  }
  int set_pipe_room(int fd, std::size_t bytes) noexcept override {
    return ask(Call::set_pipe_room, sum(d(fd), bytes), [&] { return real().set_pipe_room(fd, bytes); });
  }
  bool path_may_wait(int folder, const char* path) noexcept override {
    return ask(Call::path_may_wait, Sum().add(d(folder)).text(path).value(),
               [&] { return real().path_may_wait(folder, path); });
  }
  bool file_may_wait(int fd, const char* path) noexcept override {
    return ask(Call::file_may_wait, Sum().add(d(fd)).text(path).value(),
               [&] { return real().file_may_wait(fd, path); });
  }
  int open_terminal_again(int fd) noexcept override {
    return journal_.copies(
        fd, made(Call::open_terminal_again, sum(d(fd)), [&] { return real().open_terminal_again(fd); }));
  }
  ssize_t transfer_now(int fd, const iovec* parts, int count, bool writing) noexcept override {
    Sum all;
    all.add(d(fd)).add(writing);
    for (int i = 0; i < count; ++i) {
      all.add(parts[i].iov_len);
      if (writing) all.bytes(parts[i].iov_base, parts[i].iov_len);
    }
    if (const int stream = journal_.standard_stream(fd); journal_.replays() && writing && stream >= 0)
      static_cast<void>(real().transfer_now(stream, parts, count, writing));  // what it says is seen again
    const auto parts_of = [&](std::int64_t result) {
      std::vector<Filled> memory;
      std::size_t left = writing ? 0 : at_least_zero(result);
      for (int i = 0; i < count && left > 0; ++i) {
        memory.push_back({parts[i].iov_base, std::min(parts[i].iov_len, left)});
        left -= memory.back().size;
      }
      return memory;
    };
    return ask(
        Call::transfer_now, all.value(), [&] { return real().transfer_now(fd, parts, count, writing); },
        parts_of);
  }
  int control_device(int fd, unsigned long request, void* argument) noexcept override {
    const bool fills = request == TCGETS2 && argument != nullptr;
    return ask(
        Call::control_device, sum(d(fd), request),
        [&] { return real().control_device(fd, request, argument); },
        [&](std::int64_t) { return std::array{Filled{argument, fills ? sizeof(struct termios2) : 0}}; });
  }

  int make_folder(const char* path, mode_t mode) noexcept override {
    return ask(Call::make_folder, Sum().text(path).add(mode).value(),
               [&] { return real().make_folder(path, mode); });
  }
  int status(const char* path, struct stat& status) noexcept override {
    return ask(
        Call::status, Sum().text(path).value(), [&] { return real().status(path, status); }, whole(status));
  }
  int rename(const char* from, const char* to) noexcept override {
    return ask(Call::rename, Sum().text(from).text(to).value(), [&] { return real().rename(from, to); });
  }
  int unlink(const char* path) noexcept override {
    return ask(Call::unlink, Sum().text(path).value(), [&] { return real().unlink(path); });
  }
  int open_folder(const char* path) noexcept override {
    return made(Call::open_folder, Sum().text(path).value(), [&] { return real().open_folder(path); });
  }
  int make_watch() noexcept override {
    return made(Call::make_watch, 0, [&] { return real().make_watch(); });
  }
  int watch_folder(int watch, const char* path, std::uint32_t events) noexcept override {
    return ask(Call::watch_folder, Sum().add(d(watch)).text(path).add(events).value(),
               [&] { return real().watch_folder(watch, path, events); });
  }
  int unwatch_folder(int watch, int number) noexcept override {
    return ask(Call::unwatch_folder, sum(d(watch), number),
               [&] { return real().unwatch_folder(watch, number); });
  }
  // Memory that the program shares is its own affair: there may be more or less of it at a replay, where topics are recorded.
  int make_memory(const char* name) noexcept override {
    int number = real().make_memory(name);
    if (number >= 0 && journal_.replays()) number = among_the_last(number);
    if (number < 0) return number;
    const std::lock_guard lock(mutex_);
    return *memory_.insert(number).first;
  }
  int kernel_file(int fd) noexcept override {
    if (!journal_.replays()) return real().kernel_file(fd);
    const std::lock_guard lock(mutex_);
    return memory_.count(fd) != 0 ? fd : -EBADF;
  }

  int list_directory(int fd, void* buffer, std::size_t size) noexcept override {
    return ask(
        Call::list_directory, sum(d(fd), size), [&] { return real().list_directory(fd, buffer, size); },
        filled(buffer));
  }
  ssize_t read_link(const char* path, char* target, std::size_t size) noexcept override {
    return ask(
        Call::read_link, Sum().text(path).add(size).value(),
        [&] { return real().read_link(path, target, size); }, filled(target));
  }
  int access(const char* path, int mode) noexcept override {
    return ask(Call::access, Sum().text(path).add(mode).value(), [&] { return real().access(path, mode); });
  }
  int change_mode(const char* path, mode_t mode) noexcept override {
    return ask(Call::change_mode, Sum().text(path).add(mode).value(),
               [&] { return real().change_mode(path, mode); });
  }
  int truncate(int fd, std::int64_t size) noexcept override {
    return ask(Call::truncate, sum(d(fd), size), [&] { return real().truncate(fd, size); });
  }
  void remove_tree(const char* path) noexcept override {
    ask(Call::remove_tree, Sum().text(path).value(), [&] {
      real().remove_tree(path);
      return 0;
    });
  }
  int make_fifo(const char* path, mode_t mode) noexcept override {
    return ask(Call::make_fifo, Sum().text(path).add(mode).value(),
               [&] { return real().make_fifo(path, mode); });
  }
  Result<std::vector<Address>> look_up(const std::string& host, std::uint16_t port) override {
    const std::uint32_t asked = Sum().text(host.c_str()).add(port).value();
    if (!journal_.is_here()) return real().look_up(host, port);
    if (journal_.replays()) return replayed_addresses(asked);
    auto found = real().look_up(host, port);
    Event event(Kind::call);
    begin(event, Call::look_up, asked, found ? 0 : -found.code());
    if (!found) {
      save_error(event.number(0), found.error());
      journal_.write(event);
      return found;
    }
    event.number(found->size());
    for (const Address& address : *found) event.block(address.data(), address.size());
    journal_.write(event);
    return found;
  }
  // The resolver's own threads have no place in a log: look_up() runs as work of the loop.
  [[nodiscard]] NameLookUp name_look_up() noexcept override { return nullptr; }

  bool run_job(ThreadPool& pool, ThreadPool::Job& job) noexcept override {
    if (!journal_.is_here() || Journal::at_work() || journal_.is_over()) return real().run_job(pool, job);
    const std::uint64_t number = journal_.send_job(job);
    const bool sent = ask(Call::run_job, sum(number), [&] { return real().run_job(pool, job); });
    if (!sent) journal_.forget_job(job);
    return sent;
  }
  bool take_job_back(ThreadPool& pool, ThreadPool::Job& job) noexcept override {
    const bool back = ask(Call::take_job_back, 0, [&] { return real().take_job_back(pool, job); });
    if (back) journal_.forget_job(job);
    return back;
  }
  void random_bytes(void* out, std::size_t size) noexcept override {
    ask(
        Call::random_bytes, sum(size),
        [&] {
          real().random_bytes(out, size);
          return 0;
        },
        [&](std::int64_t) { return std::array{Filled{out, size}}; });
  }
  Result<pid_t> spawn(const ProcessOptions& options, const std::array<int, 3>& descriptors) override {
    const std::uint32_t asked = sum(d(descriptors[0]), d(descriptors[1]), d(descriptors[2]));
    if (!journal_.is_here()) return real().spawn(options, descriptors);
    if (journal_.replays()) return replayed_process(asked);
    auto child = real().spawn(options, descriptors);
    Event event(Kind::call);
    begin(event, Call::spawn, asked, child ? *child : -child.code());
    event.number(child ? 0 : 1);
    if (!child) save_error(event, child.error());
    journal_.write(event);
    return child;
  }
  uid_t user() noexcept override {
    return ask(Call::user, 0, [&] { return real().user(); });
  }
  std::size_t descriptor_limit() noexcept override {
    return ask(Call::descriptor_limit, 0, [&] { return real().descriptor_limit(); });
  }
  pid_t process_id() noexcept override {
    return ask(Call::process_id, 0, [&] { return real().process_id(); });
  }
  int send_signal(pid_t pid, int number, const std::int32_t* value) noexcept override {
    return ask(Call::send_signal, sum(pid, number), [&] { return real().send_signal(pid, number, value); });
  }
  int signal_action(int number) noexcept override {
    return ask(Call::signal_action, sum(number), [&] { return real().signal_action(number); });
  }
  // A program that sends itself a signal does so at a replay, too, and must bear it: the log tells what it did.
  int claim_signals(SignalClaim& claim) noexcept override {
    if (journal_.replays()) {
      SignalClaim own = claim;
      if (real().claim_signals(own) >= 0) claims_.push_back(own);
    }
    return made(
        Call::claim_signals, sum(claim.numbers), [&] { return real().claim_signals(claim); }, whole(claim));
  }
  void release_signals(const SignalClaim& claim) noexcept override {
    const auto own = std::find_if(claims_.begin(), claims_.end(),
                                  [&](const SignalClaim& one) { return one.numbers == claim.numbers; });
    if (own != claims_.end()) {
      drop_pending(*own);
      real().release_signals(*own);
      claims_.erase(own);
    }
    ask(Call::release_signals, sum(claim.numbers), [&] {
      real().release_signals(claim);
      return 0;
    });
  }
  int open_process(pid_t pid) noexcept override {
    return made(Call::open_process, sum(pid), [&] { return real().open_process(pid); });
  }
  int signal_process(int pidfd, int number) noexcept override {
    return ask(Call::signal_process, sum(d(pidfd), number),
               [&] { return real().signal_process(pidfd, number); });
  }
  int reap(int pidfd, siginfo_t& info, bool keep) noexcept override {
    return ask(Call::reap, sum(d(pidfd), keep), [&] { return real().reap(pidfd, info, keep); }, whole(info));
  }
  void reap_killed(pid_t pid) noexcept override {
    ask(Call::reap_killed, sum(pid), [&] {
      real().reap_killed(pid);
      return 0;
    });
  }
  void await_end(int pidfd, int limit_ms) noexcept override {
    ask(Call::await_end, sum(d(pidfd), limit_ms), [&] {
      real().await_end(pidfd, limit_ms);
      return 0;
    });
  }

 private:
  static Event& begin(Event& event, Call call, std::uint32_t asked, std::int64_t result) {
    return event.number(static_cast<std::uint64_t>(call)).number(asked).signed_number(result);
  }

  // `ask_kernel` gives a number; `memory(result)`, what it has filled.
  template <class Ask, class Memory = decltype(kNothing)>
  auto ask(Call call, std::uint32_t asked, Ask ask_kernel, Memory memory = kNothing) noexcept
      -> std::invoke_result_t<Ask> {
    using Answer = std::invoke_result_t<Ask>;
    if (!journal_.is_here()) {
      // What another thread asks is not in the log. A number of a replay is none of the kernel's.
      if (!journal_.replays() || call == Call::user || call == Call::process_id ||
          call == Call::descriptor_limit)
        return ask_kernel();
      return static_cast<Answer>(0);
    }
    if (journal_.replays()) {
      Cursor& cursor = expect(call, asked);
      const auto answer = static_cast<Answer>(cursor.signed_number());
      const std::uint64_t parts = cursor.number();
      std::uint64_t taken = 0;
      for (const Filled& part : memory(static_cast<std::int64_t>(answer))) {
        const auto bytes = cursor.block();
        if (++taken > parts || bytes.size() > part.size)
          journal_.differs(fmt::format("{} gives other bytes than there is room for", name(call)),
                           name(call));
        if (!bytes.empty()) std::memcpy(part.data, bytes.data(), bytes.size());
      }
      if (taken != parts) journal_.differs(fmt::format("{} fills more memory", name(call)), name(call));
      return answer;
    }
    const Answer answer = ask_kernel();
    const auto parts = memory(static_cast<std::int64_t>(answer));
    Event& event = begin(fresh(), call, asked, static_cast<std::int64_t>(answer)).number(parts.size());
    for (const Filled& part : parts) event.block(part.data, part.size);
    journal_.write(event);
    return answer;
  }

  // The same, for a call that gives a descriptor.
  template <class Ask, class Memory = decltype(kNothing)>
  int made(Call call, std::uint32_t asked, Ask ask_kernel, Memory memory = kNothing) noexcept {
    return journal_.learn(ask(call, asked, ask_kernel, memory));
  }
  int both(const int* ends, int result) noexcept {
    if (result >= 0) {
      journal_.learn(ends[0]);
      journal_.learn(ends[1]);
    }
    return result;
  }
  [[nodiscard]] std::int64_t d(int fd) noexcept { return journal_.is_here() ? journal_.name_of(fd) : fd; }

  template <class Ask>
  int ask_address(Call call, int fd, sockaddr* address, socklen_t* size, Ask ask_kernel) noexcept {
    const socklen_t room = *size;
    return ask(call, sum(d(fd), room), ask_kernel, [this, address, size, room](std::int64_t) {
      const socklen_t bytes = journal_.replays() ? room : std::min(room, *size);
      return std::array{Filled{size, sizeof *size}, Filled{address, bytes}};
    });
  }

  // Each thread writes into its own.
  static Event& fresh() {
    static thread_local Event event(Kind::call);
    event.begin(Kind::call);
    return event;
  }

  static const char* name(Call call) noexcept {
    const auto index = static_cast<std::size_t>(call);
    return index < std::size(kNames) ? kNames[index] : "an unknown call";
  }

  Cursor& expect(Call call, std::uint32_t asked) {
    Cursor& cursor = journal_.expect(Kind::call, name(call));
    const auto recorded = static_cast<Call>(cursor.number());
    if (recorded != call) journal_.differs(name(recorded), name(call));
    if (cursor.number() != asked)
      journal_.differs(fmt::format("{} with other arguments", name(call)), name(call));
    return cursor;
  }

  Result<std::vector<Address>> replayed_addresses(std::uint32_t asked) {
    Cursor& cursor = expect(Call::look_up, asked);
    const auto failure = static_cast<int>(-cursor.signed_number());
    const std::uint64_t count = cursor.number();
    if (failure != 0) return load_error(cursor);
    std::vector<Address> addresses;
    for (std::uint64_t i = 0; i < count && !cursor.broken(); ++i) {
      const auto bytes = cursor.block();
      addresses.push_back(Address::from(reinterpret_cast<const sockaddr*>(bytes.data()),
                                        static_cast<socklen_t>(bytes.size())));
    }
    return addresses;
  }

  Result<pid_t> replayed_process(std::uint32_t asked) {
    Cursor& cursor = expect(Call::spawn, asked);
    const auto answer = static_cast<pid_t>(cursor.signed_number());
    if (cursor.number() == 0) return answer;
    return load_error(cursor);
  }

  // True once: it is about to be closed.
  bool is_memory(int fd) noexcept {
    const std::lock_guard lock(mutex_);
    return memory_.erase(fd) != 0;
  }
  // Numbers of the recorded run are small, and this one has to be told from them.
  static int among_the_last(int fd) noexcept {
    constexpr std::size_t kKept = 256;
    const std::size_t limit = System::kernel()->descriptor_limit();
    const int from =
        static_cast<int>(limit > 2 * kKept ? std::min<std::size_t>(limit - kKept, 1U << 20) : limit / 2);
    const int high = ::fcntl(fd, F_DUPFD_CLOEXEC, from);
    if (high < 0) return fd;
    ::close(fd);
    return high;
  }

  Journal& journal_;
  std::vector<SignalClaim> claims_;  // replay: the kernel's
  std::mutex mutex_;
  std::set<int> memory_;
};

}  // namespace

std::shared_ptr<System> journal_system(Journal& journal, std::shared_ptr<System> real) {
  return std::make_shared<JournalSystem>(journal, std::move(real));
}

}  // namespace horus::HORUS_ABI::io::replay
