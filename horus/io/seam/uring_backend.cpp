// SPDX-License-Identifier: Apache-2.0
// The kernel as backend: the reactor's rings are the kernel's rings, one system call per batch.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fmt/format.h>
#include <liburing.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/thread_sanitizer.hpp>
#include <horus/io/reactor_config.hpp>
#include <horus/io/seam/backend.hpp>
#include <horus/io/seam/uring_abi.hpp>

namespace horus::HORUS_ABI::io {
namespace {

// In a time namespace the kernel's ring takes absolute times for those of the host, and never wakes: then waits are
// relative (time_namespaces(7)).
bool is_in_time_namespace() noexcept {
  std::FILE* offsets = std::fopen("/proc/self/timens_offsets", "re");
  if (offsets == nullptr) return false;  // a kernel without them
  char clock[32];
  long long seconds = 0;
  long long nanoseconds = 0;
  bool shifted = false;
  while (std::fscanf(offsets, "%31s %lld %lld", clock, &seconds, &nanoseconds) == 3) {
    const bool monotonic = std::strcmp(clock, "monotonic") == 0 || std::strcmp(clock, "1") == 0;
    shifted = shifted || (monotonic && (seconds != 0 || nanoseconds != 0));
  }
  static_cast<void>(std::fclose(offsets));
  return shifted;
}

// The memory of a ring that has gone may be the next one's, on another thread.
constinit char ring_memory = 0;

class UringRing final : public Ring {
 public:
  ~UringRing() override {
    tsan_release(&ring_memory);
    if (ring_.ring_fd >= 0) ::io_uring_queue_exit(&ring_);
    if (event_fd_ >= 0) ::close(event_fd_);
  }

  int set_up(const ReactorConfig& config) noexcept;
  [[nodiscard]] const char* name() const noexcept override { return "uring"; }
  int enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept override;

  int pollable_fd() noexcept override {
    if (event_fd_ >= 0) return event_fd_;
    event_fd_ = above_standard(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (event_fd_ < 0) return -errno;
    if (abi::register_op(ring_.ring_fd, IORING_REGISTER_EVENTFD, &event_fd_, 1) < 0) return -errno;
    return event_fd_;
  }
  // An eventfd that is written, and read through this ring, signals ours from within its own signal. Since Linux 6.10 or
  // so the kernel does that once per registration (io_uring/eventfd.c: IO_EVENTFD_OP_SIGNAL_BIT is never cleared):
  // whoever was signalled registers again.
  void clear_pollable() noexcept override {
    std::uint64_t count;
    if (event_fd_ < 0 || ::read(event_fd_, &count, sizeof count) < 0) return;
    abi::register_op(ring_.ring_fd, IORING_UNREGISTER_EVENTFD, nullptr, 0);
    abi::register_op(ring_.ring_fd, IORING_REGISTER_EVENTFD, &event_fd_, 1);
  }

  bool send_completion(std::uint64_t user_data) noexcept override;

  int register_buffer_ring(io_uring_buf_ring* ring, std::uint32_t entries,
                           std::uint16_t group) noexcept override {
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<std::uintptr_t>(ring);
    registration.ring_entries = entries;
    registration.bgid = group;
    return register_op(IORING_REGISTER_PBUF_RING, &registration, 1);
  }
  int unregister_buffer_ring(std::uint16_t group) noexcept override {
    io_uring_buf_reg registration{};
    registration.bgid = group;
    return register_op(IORING_UNREGISTER_PBUF_RING, &registration, 1);
  }
  int register_buffers(const iovec* buffers, unsigned count) noexcept override {
    return register_op(IORING_REGISTER_BUFFERS, buffers, count);
  }
  int unregister_buffers() noexcept override { return register_op(IORING_UNREGISTER_BUFFERS, nullptr, 0); }

  int register_file(int fd) noexcept override;
  void unregister_file(int place) noexcept override {
    if (update_file(place, -1) >= 0) free_places_.push_back(place);
  }

 private:
  int register_op(unsigned opcode, const void* argument, unsigned count) noexcept {
    const int result = abi::register_op(ring_.ring_fd, opcode, argument, count);
    return result < 0 ? -errno : result;
  }

  int update_file(int place, std::int32_t fd) noexcept {
    io_uring_files_update update{};
    update.offset = static_cast<std::uint32_t>(place);
    update.fds = reinterpret_cast<std::uintptr_t>(&fd);
    return register_op(IORING_REGISTER_FILES_UPDATE, &update, 1);
  }

  static constexpr int kFilePlaces = 256;
  static constexpr unsigned kMostFileWorkers = 40;  // more than kMostDetours
  static constexpr unsigned kMostOtherWorkers = 64;
  io_uring ring_{};
  bool has_file_table_ = false;
  std::vector<int> free_places_;
  int event_fd_ = -1;
  bool absolute_timer_ = true;              // until the kernel refuses it
  std::atomic<bool> takes_messages_{true};  // the same
};

int UringRing::set_up(const ReactorConfig& config) noexcept {
  ring_.ring_fd = -1;
  io_uring_params parameters{};
  const auto attempt = [&](std::uint32_t submission_entries, std::uint32_t completion_entries) {
    parameters = {};
    parameters.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
                       IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE | IORING_SETUP_TASKRUN_FLAG;
    parameters.cq_entries = completion_entries;
    return ::io_uring_queue_init_params(submission_entries, &ring_, &parameters);
  };
  int result = attempt(config.submission_entries, config.completion_entries);
  // The memory of a ring that was closed a moment ago is charged to RLIMIT_MEMLOCK until the kernel gets round to it.
  for (int again = 0; result == -ENOMEM && again < 5; ++again) {
    ::usleep(10'000);
    result = attempt(config.submission_entries, config.completion_entries);
  }
  // Rings of two pages do everything too, with more enters; completions beyond their room wait in the kernel.
  if (result == -ENOMEM && config.completion_entries > 64) {
    result = attempt(std::min(config.submission_entries, 32U), 64);
  }
  if (result < 0) {
    ring_.ring_fd = -1;
    return result;
  }
  tsan_acquire(&ring_memory);
  ring_.ring_fd = ring_.enter_ring_fd = above_standard(ring_.ring_fd);
  if (ring_.ring_fd < 0) return -errno;
  // Threads of the kernel's for calls that wait: files (bounded by the file system's hardware), and everything else.
  // What is with them at a time is bounded above (detour.hpp); the kernel's own limit for the second is that of processes.
  unsigned most_workers[2] = {kMostFileWorkers, kMostOtherWorkers};
  static_cast<void>(register_op(IORING_REGISTER_IOWQ_MAX_WORKERS, most_workers, 2));
  constexpr unsigned kNeeded = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP | IORING_FEAT_FAST_POLL;
  if ((parameters.features & kNeeded) != kNeeded) return -EINVAL;
  rings_.sqes = ring_.sq.sqes;
  rings_.sq_entries = parameters.sq_entries;
  rings_.sq_head = ring_.sq.khead;
  rings_.sq_tail = ring_.sq.ktail;
  rings_.sq_flags = ring_.sq.kflags;
  rings_.cqes = ring_.cq.cqes;
  rings_.cq_entries = parameters.cq_entries;
  rings_.cq_head = ring_.cq.khead;
  rings_.cq_tail = ring_.cq.ktail;
  absolute_timer_ = !is_in_time_namespace();
  // Slot i of the index array names entry i for ever, so that submitting is writing the entry and the tail.
  for (unsigned i = 0; i < parameters.sq_entries; ++i) ring_.sq.array[i] = i;
  return 0;
}

int UringRing::enter(std::uint32_t to_submit, std::uint32_t min_complete, std::int64_t deadline_ns) noexcept {
  std::uint32_t flags = IORING_ENTER_GETEVENTS;  // always: with DEFER_TASKRUN nothing completes without it
  if (min_complete == 0 || deadline_ns == kNever) {
    const int result = abi::enter(ring_.ring_fd, to_submit, min_complete, flags, nullptr, _NSIG / 8);
    return result < 0 ? -errno : result;
  }
  flags |= IORING_ENTER_EXT_ARG;
  while (true) {
    std::int64_t wait_ns = deadline_ns;
    if (!absolute_timer_) {
      wait_ns -= monotonic_ns();
      if (wait_ns < 0) wait_ns = 0;
    }
    const __kernel_timespec until{wait_ns / 1'000'000'000, wait_ns % 1'000'000'000};
    io_uring_getevents_arg argument{};
    argument.sigmask_sz = _NSIG / 8;
    argument.ts = reinterpret_cast<std::uintptr_t>(&until);
    const int result =
        abi::enter(ring_.ring_fd, to_submit, min_complete,
                   flags | (absolute_timer_ ? abi::kEnterAbsoluteTimer : 0), &argument, sizeof argument);
    if (result >= 0) return result;
    if (errno == EINVAL && absolute_timer_) {  // before Linux 6.12, found out before anything was submitted
      absolute_timer_ = false;
      continue;
    }
    // A timeout after a submission reports the timeout; the reactor reads the head to see what was consumed.
    return errno == ETIME ? 0 : -errno;
  }
}

// The ring's number is ours as long as this lives, and the kernel keeps completions that find no room. A kernel that cannot
// do it (before Linux 6.13), and a filter that forbids it, is not asked again.
bool UringRing::send_completion(std::uint64_t user_data) noexcept {
  if (!takes_messages_.load(std::memory_order_relaxed)) return false;
  const int saved = errno;
  const bool sent = abi::send_message(ring_.ring_fd, user_data) == 0;
  if (!sent && (errno == EINVAL || errno == ENOSYS || errno == EPERM || errno == EACCES))
    takes_messages_.store(false, std::memory_order_relaxed);
  errno = saved;
  return sent;
}

// The table is made when the first file wants a place.
int UringRing::register_file(int fd) noexcept {
  if (!has_file_table_) {
    has_file_table_ = true;
    const std::vector<std::int32_t> empty(kFilePlaces, -1);
    if (register_op(IORING_REGISTER_FILES, empty.data(), kFilePlaces) == 0) {
      for (int place = kFilePlaces - 1; place >= 0; --place) free_places_.push_back(place);
    }
  }
  if (free_places_.empty()) return -ENFILE;
  const int place = free_places_.back();
  const int result = update_file(place, fd);
  if (result < 0) return result;
  free_places_.pop_back();
  return place;
}

std::string first_word_of(const char* path) {
  char text[16] = {};
  const int fd = ::open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return {};
  const ssize_t size = ::read(fd, text, sizeof text - 1);
  ::close(fd);
  std::string word(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!word.empty() && word.back() == '\n') word.pop_back();
  return word;
}

}  // namespace

std::string explain_uring_failure(int error) {
  switch (error) {
    case EPERM: {
      const std::string disabled = first_word_of("/proc/sys/kernel/io_uring_disabled");
      if (disabled == "1" || disabled == "2") {
        return fmt::format("kernel.io_uring_disabled is {}; allow it with: sysctl kernel.io_uring_disabled=0",
                           disabled);
      }
      return "forbidden by a seccomp filter (Docker's and containerd's default); run the container with a "
             "profile that "
             "allows io_uring_setup, io_uring_enter and io_uring_register";
    }
    case ENOSYS: return "this kernel, or the container's seccomp filter, has no io_uring_setup";
    case ENOMEM: {
      rlimit limit{};
      ::getrlimit(RLIMIT_MEMLOCK, &limit);
      return fmt::format("locked memory ran out; RLIMIT_MEMLOCK is {} KiB, raise it with ulimit -l",
                         limit.rlim_cur / 1024);
    }
    case EINVAL: return "this kernel is older than Linux 6.1, the first that can do what Horus needs";
    case EMFILE:
    case ENFILE: return "too many open descriptors; raise the limit with ulimit -n";
    default: return describe_code(error);
  }
}

Result<Backend> make_uring_backend(const ReactorConfig& config) {
  auto ring = std::make_shared<UringRing>();
  const int result = ring->set_up(config);
  if (result < 0) return Error(-result, "io_uring_setup");
  return Backend{.ring = std::move(ring)};
}

}  // namespace horus::HORUS_ABI::io
