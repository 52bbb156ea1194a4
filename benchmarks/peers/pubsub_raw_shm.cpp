// SPDX-License-Identifier: Apache-2.0
//
// A ring in shared memory written by hand, one writer and one reader in each direction: what the machine gives. It
// knows nothing of names, of other subscribers, or of a side that dies.
//
//   pubsub_raw_shm --transport copy|in_place   …and the options of pubsub_load.hpp
//
// copy: messages are copied into the ring and out of it; in_place: they are written and read where they lie.
// --mode poll spins; sleep waits on a futex.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <new>
#include <vector>

#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../common/pubsub_blocking.hpp"

namespace {

// Sleeps until the other side rings; a side that finds nobody asleep makes no system call.
class Doorbell {
 public:
  template <class Condition>
  void wait_until(Condition&& condition) {
    while (!condition()) {
      asleep_.store(1, std::memory_order_seq_cst);
      if (!condition()) futex(FUTEX_WAIT, 1);
      asleep_.store(0, std::memory_order_relaxed);
    }
  }
  void ring() {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_relaxed) != 0 && asleep_.exchange(0) != 0) futex(FUTEX_WAKE, 1);
  }

 private:
  void futex(int operation, std::uint32_t value) {
    ::syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&asleep_), operation, value, nullptr, nullptr, 0);
  }
  std::atomic<std::uint32_t> asleep_{0};
};

struct Ring {
  alignas(64) std::atomic<std::uint64_t> written{0};
  alignas(64) std::atomic<std::uint64_t> read{0};
  alignas(64) Doorbell message;
  alignas(64) Doorbell room;
};

class RawShmPeer {
 public:
  explicit RawShmPeer(const bench::PubsubOptions& options)
      : options_(options), stride_((options.size + 63) / 64 * 64) {
    if (options.transport != "copy" && options.transport != "in_place")
      bench::fail("--transport wants copy or in_place, not '" + options.transport + "'");
    const std::size_t ring_bytes = sizeof(Ring) + stride_ * options.depth();
    void* memory = ::mmap(nullptr, 2 * ring_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) bench::fail("mmap", errno);
    for (int i = 0; i < 2; ++i) rings_[i] = new (static_cast<std::byte*>(memory) + i * ring_bytes) Ring;
  }

  class End {
   public:
    End(RawShmPeer& peer, bench::Side side)
        : out_(*peer.rings_[side == bench::Side::echo ? 1 : 0]),
          in_(*peer.rings_[side == bench::Side::echo ? 0 : 1]),
          stride_(peer.stride_),
          depth_(peer.options_.depth()),
          poll_(peer.options_.poll),
          copies_(peer.options_.transport == "copy"),
          buffer_(peer.options_.size) {}

    void send(std::uint64_t number) {
      if (written_ - read_seen_ == depth_) {
        wait(out_.room, [this] {
          read_seen_ = out_.read.load(std::memory_order_acquire);
          return written_ - read_seen_ < depth_;
        });
      }
      std::byte* to = slot(out_, written_);
      std::memcpy(copies_ ? buffer_.data() : to, &number, sizeof number);
      if (copies_) std::memcpy(to, buffer_.data(), buffer_.size());
      out_.written.store(++written_, std::memory_order_release);
      if (!poll_) out_.message.ring();
    }
    std::uint64_t receive() {
      if (written_seen_ == read_) {
        wait(in_.message, [this] {
          written_seen_ = in_.written.load(std::memory_order_acquire);
          return written_seen_ != read_;
        });
      }
      const std::byte* from = slot(in_, read_);
      if (copies_) std::memcpy(buffer_.data(), from, buffer_.size());
      std::uint64_t number = 0;
      std::memcpy(&number, copies_ ? buffer_.data() : from, sizeof number);
      in_.read.store(++read_, std::memory_order_release);
      if (!poll_) in_.room.ring();
      return number;
    }

   private:
    template <class Condition>
    void wait(Doorbell& bell, Condition&& condition) {
      if (!poll_) return bell.wait_until(condition);
      while (!condition()) bench::relax_cpu();
    }
    std::byte* slot(Ring& ring, std::uint64_t number) {
      return reinterpret_cast<std::byte*>(&ring + 1) + stride_ * (number & (depth_ - 1));
    }

    Ring& out_;
    Ring& in_;
    const std::size_t stride_;
    const std::uint64_t depth_;
    const bool poll_;
    const bool copies_;
    std::vector<std::byte> buffer_;
    std::uint64_t written_ = 0;
    std::uint64_t read_seen_ = 0;
    std::uint64_t read_ = 0;
    std::uint64_t written_seen_ = 0;
  };

 private:
  const bench::PubsubOptions options_;
  const std::size_t stride_;
  Ring* rings_[2] = {nullptr, nullptr};
};

}  // namespace

int main(int argc, char** argv) { return bench::run_blocking_pubsub<RawShmPeer>(argc, argv, "in_place"); }
