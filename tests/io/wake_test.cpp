// SPDX-License-Identifier: Apache-2.0
// How other threads end a reactor's sleep: a completion in its ring where the kernel can do that, else a descriptor. None
// is lost, and none reaches a ring that is not that reactor's.
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>

#include <horus/io/reactor.hpp>
#include <horus/io/seam/forwarding.hpp>
#include <horus/io/seam/uring_abi.hpp>
#include <horus/io/time.hpp>

#include "../support/real_kernel.hpp"
#include "backend_seam.hpp"

using horus::io::Reactor;
using horus::io::ReactorConfig;
using namespace horus::literals;

namespace {

// A ring of somebody else in this process, by the bare system calls; not valid where they are forbidden.
class ForeignRing {
 public:
  explicit ForeignRing(std::uint32_t flags = 0) {
    io_uring_params parameters{};
    parameters.flags = flags;
    fd_ = static_cast<int>(::syscall(__NR_io_uring_setup, 4, &parameters));
    if (fd_ < 0) return;
    size_ = parameters.cq_off.cqes + parameters.cq_entries * sizeof(io_uring_cqe);
    memory_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, IORING_OFF_CQ_RING);
    tail_ = reinterpret_cast<std::uint32_t*>(static_cast<char*>(memory_) + parameters.cq_off.tail);
  }
  ForeignRing(const ForeignRing&) = delete;
  ForeignRing& operator=(const ForeignRing&) = delete;
  ~ForeignRing() {
    if (fd_ < 0) return;
    ::munmap(memory_, size_);
    ::close(fd_);
  }
  [[nodiscard]] bool valid() const noexcept { return fd_ >= 0 && memory_ != MAP_FAILED; }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] std::uint32_t completions() const noexcept {
    return std::atomic_ref(*tail_).load(std::memory_order_acquire);
  }

 private:
  int fd_ = -1;
  std::size_t size_ = 0;
  void* memory_ = MAP_FAILED;
  std::uint32_t* tail_ = nullptr;
};

// What ended waits.
struct Counts {
  std::atomic<int> sends{0}, sent_by_ring{0}, rings{0};
  int instead = -1;  // the ring that completions go to
};

class WatchedRing final : public horus::io::ForwardingRing {
 public:
  WatchedRing(std::shared_ptr<horus::io::Ring> real, std::shared_ptr<Counts> counts)
      : ForwardingRing(std::move(real)), counts_(std::move(counts)) {}
  bool send_completion(std::uint64_t user_data) noexcept override {
    ++counts_->sends;
    if (counts_->instead >= 0) return horus::io::abi::send_message(counts_->instead, user_data) == 0;
    const bool sent = ForwardingRing::send_completion(user_data);
    counts_->sent_by_ring += sent ? 1 : 0;
    return sent;
  }

 private:
  const std::shared_ptr<Counts> counts_;
};

class WatchedSystem final : public horus::io::ForwardingSystem {
 public:
  WatchedSystem(std::shared_ptr<horus::io::System> real, std::shared_ptr<Counts> counts)
      : ForwardingSystem(std::move(real)), counts_(std::move(counts)) {}
  void add_to_event(int event_fd, std::uint64_t count) noexcept override {
    ++counts_->rings;
    ForwardingSystem::add_to_event(event_fd, count);
  }

 private:
  const std::shared_ptr<Counts> counts_;
};

horus::io::Backend watched(const std::shared_ptr<Counts>& counts) {
  horus::io::Backend backend = seam::make_backend(ReactorConfig()).or_throw();
  backend.ring = std::make_shared<WatchedRing>(backend.ring, counts);
  backend.system = std::make_shared<WatchedSystem>(backend.system, counts);
  return backend;
}

bool can_send(horus::io::Ring& ring) { return ring.send_completion(2); }

// Until the loop has gone to sleep for the first time: whoever posts from then on has to wake it.
void wait_for_sleep(const Reactor& reactor) {
  while (reactor.statistics().enters == 0) std::this_thread::yield();
}

// So many round trips between this thread and a loop that may fall asleep in each of them.
void post_one_by_one(Reactor& reactor, int count) {
  std::atomic<int> handled{0};
  for (int i = 0; i < count; ++i) {
    while (!reactor.post([&handled] { handled.fetch_add(1, std::memory_order_release); }))
      std::this_thread::yield();
    while (handled.load(std::memory_order_acquire) <= i) std::this_thread::yield();
  }
}

}  // namespace

TEST_CASE("a completion that another thread sends ends a wait, and carries what was sent") {
  NEEDS_REAL_KERNEL("other threads");
  seam::Driver driver(seam::make_backend(ReactorConfig()).or_throw());
  if (!can_send(driver.ring())) return;  // this backend, or this kernel, has none
  CHECK(driver.take(2).result == 0);
  std::thread sender([&] { CHECK(driver.ring().send_completion(42)); });
  const seam::Completion completion = driver.take(42);
  sender.join();
  CHECK(completion.result == 0);
  CHECK(completion.flags == 0);
}

TEST_CASE("sent completions that find no room in the ring are kept") {
  NEEDS_REAL_KERNEL("other threads");
  seam::Driver driver(seam::make_backend(ReactorConfig().with_entries(2, 2)).or_throw());
  if (!can_send(driver.ring())) return;
  CHECK(driver.take(2).result == 0);
  constexpr std::uint64_t kSent = 100;
  std::thread sender([&] {
    for (std::uint64_t i = 0; i < kSent; ++i) CHECK(driver.ring().send_completion(1000 + i));
  });
  sender.join();
  for (std::uint64_t i = 0; i < kSent; ++i) CHECK(driver.take(1000 + i).result == 0);
}

TEST_CASE("posts wake a sleeping loop through its ring where there is one, and ring no bell then") {
  NEEDS_REAL_KERNEL("other threads");
  const auto counts = std::make_shared<Counts>();
  Reactor reactor(watched(counts), ReactorConfig());
  std::thread poster([&] {
    wait_for_sleep(reactor);
    post_one_by_one(reactor, 500);
    CHECK(counts->rings == counts->sends - counts->sent_by_ring);
    reactor.stop();
  });
  reactor.run();
  poster.join();
  CHECK(counts->sends > 0);
  const bool all_or_none = counts->sent_by_ring == 0 || counts->sent_by_ring == counts->sends;
  CHECK(all_or_none);
}

TEST_CASE("a ring that takes no messages yet is not waited for: the bell rings") {
  NEEDS_REAL_KERNEL("other threads");
  const ForeignRing disabled(IORING_SETUP_R_DISABLED);
  if (!disabled.valid()) return;
  CHECK(horus::io::abi::send_message(disabled.fd(), 2) != 0);
  const auto counts = std::make_shared<Counts>();
  counts->instead = disabled.fd();
  Reactor reactor(watched(counts), ReactorConfig());
  std::thread poster([&] {
    wait_for_sleep(reactor);
    post_one_by_one(reactor, 100);
    CHECK(counts->rings == counts->sends);
    reactor.stop();
  });
  reactor.run();
  poster.join();
  CHECK(counts->sends > 0);
  CHECK(disabled.completions() == 0);
}

TEST_CASE("no wake-up is lost when the completion ring has room for two") {
  NEEDS_REAL_KERNEL("other threads");
  constexpr int kThreads = 3;
  Reactor reactor(ReactorConfig().with_entries(2, 2));
  std::atomic<int> at_work{kThreads};
  std::vector<std::thread> posters;
  for (int i = 0; i < kThreads; ++i) {
    posters.emplace_back([&] {
      wait_for_sleep(reactor);
      post_one_by_one(reactor, 300);
      if (at_work.fetch_sub(1) == 1) reactor.stop();
    });
  }
  reactor.run();
  for (std::thread& poster : posters) poster.join();
  CHECK(at_work == 0);
}

TEST_CASE("a loop inside another one is woken by its descriptor alone") {
  NEEDS_REAL_KERNEL("another loop");
  const auto counts = std::make_shared<Counts>();
  Reactor reactor(watched(counts), ReactorConfig());
  REQUIRE(reactor.poll_fd().ok());
  reactor.run_once();
  bool ran = false;
  std::thread poster([&] { CHECK(reactor.post([&ran] { ran = true; })); });
  poster.join();
  CHECK(counts->sends == 0);
  CHECK(counts->rings == 1);
  reactor.run_once();
  CHECK(ran);
}

// Wakers outlive their reactors, and a new ring gets the number of one that has ended.
TEST_CASE("whoever wakes reactors that come and go never reaches a ring that took their number") {
  NEEDS_REAL_KERNEL("other threads");
  std::mutex mutex;
  std::vector<std::shared_ptr<horus::io::Waker>> wakers;
  std::atomic<bool> over{false};
  std::thread waking([&] {
    while (!over.load()) {
      std::vector<std::shared_ptr<horus::io::Waker>> known;
      {
        const std::lock_guard lock(mutex);
        known = wakers;
      }
      for (const auto& waker : known) {
        waker->wake();
        static_cast<void>(waker->post([] {}));
      }
    }
  });
  int same_number = 0;
  bool untouched = true;
  for (int round = 0; round < 60; ++round) {
    int number = -1;
    {
      const ForeignRing first;  // the number that the next ring gets
      number = first.fd();
    }
    {
      Reactor reactor;
      {
        const std::lock_guard lock(mutex);
        wakers.push_back(reactor.waker());
        if (wakers.size() > 8) wakers.erase(wakers.begin());
      }
      for (int turn = 0; turn < 3; ++turn) reactor.run_once(1ms);
    }
    const ForeignRing second;
    if (!second.valid()) break;
    same_number += second.fd() == number ? 1 : 0;
    for (int i = 0; i < 20; ++i) std::this_thread::yield();
    untouched = untouched && second.completions() == 0;
  }
  over = true;
  waking.join();
  CHECK(untouched);
  if (ForeignRing().valid()) CHECK(same_number > 0);
}

TEST_CASE("a child of fork() does not wake its parent's loop") {
  NEEDS_REAL_KERNEL("fork");
  std::atomic<Reactor*> target{nullptr};
  std::thread loop([&] {
    Reactor reactor;
    target = &reactor;
    reactor.run();
  });
  while (target.load() == nullptr) std::this_thread::yield();
  Reactor& reactor = *target.load();
  wait_for_sleep(reactor);
  const std::uint64_t before = reactor.statistics().completions;
  const pid_t child = ::fork();
  if (child == 0) {
    static_cast<void>(reactor.post([] {}));
    ::_exit(0);
  }
  REQUIRE(child > 0);
  CHECK(::waitpid(child, nullptr, 0) == child);
  std::atomic<bool> handled{false};
  std::uint64_t completions = 0;
  CHECK(reactor.post([&] {
    completions = reactor.statistics().completions;
    handled = true;
  }));
  while (!handled) std::this_thread::yield();
  CHECK(completions == before + 1);  // of this process's own post
  reactor.stop();
  loop.join();
}
