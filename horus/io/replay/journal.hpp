// SPDX-License-Identifier: Apache-2.0
// The journal of an exact recording, and its replay: what one thread's loops were told by the kernel and by other threads,
// in the order in which they heard of it. A recording writes it beside the run; a replay answers from it, without kernel
// and without peers, so that the same program takes the same steps. Internal.
//
// Threads: those loops', but for what says otherwise.
#pragma once

#include <horus/base/compiler.hpp>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include <sys/types.h>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/io/base/remote.hpp>
#include <horus/io/base/thread_pool.hpp>
#include <horus/io/replay/format.hpp>
#include <horus/io/replay/log_file.hpp>

namespace horus::HORUS_ABI {
class PromiseBase;
class Chain;
}  // namespace horus::HORUS_ABI

namespace horus::HORUS_ABI::io {

class HORUS_API Journal {
 public:
  using Cursor = replay::Cursor;
  using Event = replay::Event;
  using Kind = replay::Kind;

  /// What a loop decides with a look at what other threads do.
  enum class Decision : std::uint8_t { stays_awake, stops, has_posts, looks, is_mute };
  /// A replay that cannot go on as the recording did ends the process with this code.
  static constexpr int kDivergedCode = 73;
  /// One whose recording ends before the program does (it was killed, or there was no more room), with this one.
  static constexpr int kOverCode = 74;

  static Result<std::unique_ptr<Journal>> record(const std::string& path, std::uint64_t most_bytes);
  static Result<std::unique_ptr<Journal>> replay(const std::string& path);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;
  ~Journal();
  /// The program ends: notes that, or tells whether the replay came as far.
  void end(int exit_code) noexcept;

  [[nodiscard]] bool replays() const noexcept { return replays_; }
  /// True on the thread whose loops it follows, and in work that it runs there. Any thread.
  [[nodiscard]] bool is_here() const noexcept;
  /// Nothing more is written: the file is full.
  [[nodiscard]] bool is_over() const noexcept { return over_; }

  // --- The loop

  /// `truth` as this run sees it; a replay gives what the recording saw.
  bool decide(Decision decision, bool truth) noexcept;
  /// Recording: a post is taken. Replay: whether the recording took one here.
  void takes_post() noexcept;
  [[nodiscard]] bool expects_post() noexcept;
  /// Replay: `what` has to come from another thread of this process, and has not come yet. Waits a little; ends the process
  /// when it does not come.
  void wait_for_thread(const char* what) noexcept;
  /// Replay: lets other threads of this process catch up, 100 µs long.
  static void rest() noexcept;
  /// `work` is back. Any thread; true: the journal keeps it until next_arrival() (replay).
  bool comes_back(RemoteWork& work) noexcept;
  /// Recording: the loop takes `work`.
  void takes(RemoteWork& work) noexcept;
  /// Replay: what the recording took here; null: nothing.
  [[nodiscard]] RemoteWork* next_arrival() noexcept;
  /// Something that other threads changed is seen: `state` describes it. A replay: true when the recording saw something
  /// here, and then `state` is that.
  [[nodiscard]] bool outside(bool seen, std::vector<std::byte>& state) noexcept;
  /// Runs here what is not part of the recorded run: what another thread did there, or a recording of topics, which a replay
  /// may have without the recorded run having had it. Nothing of it is in the log, and the clock stands still.
  template <class F>
  static auto aside(F&& work) {
    struct Nobody {
      Nobody() noexcept : before(std::exchange(at_work_, is_there() ? &self : at_work_)) {}
      Nobody(const Nobody&) = delete;
      Nobody& operator=(const Nobody&) = delete;
      ~Nobody() { at_work_ = before; }
      AtWork self;
      AtWork* before;
    };
    const Nobody nobody;
    return std::forward<F>(work)();
  }
  /// From the monotonic clock of the recorded run to UTC.
  [[nodiscard]] std::int64_t wall_clock_offset_ns() const noexcept { return began_wall_ns_ - began_ns_; }
  /// Whose code runs; for whoever reads of a difference.
  void runs(const Chain* chain, const PromiseBase* promise) noexcept {
    chain_ = chain;
    promise_ = promise;
  }

  // --- The parts of a backend

  /// Recording: writes an event, in a job into what the loop takes with it.
  void write(const Event& event) noexcept;
  /// An empty event to fill, of this thread.
  Event& blank(Kind kind) noexcept;
  /// Replay: the log, behind the kind of its next event. Where that is another kind, this ends the process; `now` says what
  /// this run does instead (a text, or a function that gives one).
  template <class Now>
  Cursor& expect(Kind kind, const Now& now) noexcept {
    if (next_kind() != kind) [[unlikely]] {
      if constexpr (std::is_invocable_v<const Now&>) {
        is_not_next(now());
      } else {
        is_not_next(now);
      }
    }
    return take();
  }
  [[nodiscard]] Kind next_kind() const noexcept;
  /// A copy of where the log is read.
  [[nodiscard]] Cursor peek() const noexcept;
  /// Replay: what was recorded is not what this run does. Ends the process.
  [[noreturn]] void differs(const std::string& recorded, const std::string& now) noexcept;

  /// How the log names a descriptor: its number where Horus has made it, and else, as other code has opened it and it has
  /// another number in each run, by the order in which they were first seen. Any thread.
  [[nodiscard]] std::int64_t name_of(int fd) noexcept;
  /// Horus has made `fd`; -errno is none. Any thread.
  int learn(int fd) noexcept;
  void forget(int fd) noexcept;
  /// `copy` names the same open file as `fd`; -errno is none.
  int copies(int fd, int copy) noexcept;
  /// 1 or 2 where `fd` is standard output or standard error, or a copy of it; -1: something else.
  [[nodiscard]] int standard_stream(int fd) noexcept;

  /// Work goes to a pool, and its number is this. A recording gives it a new one.
  std::uint64_t send_job(ThreadPool::Job& job) noexcept;
  /// It does not, or was taken back.
  void forget_job(ThreadPool::Job& job) noexcept;

  // --- Work on a pool: what a function gave there

  /// Replay: what this work gave when it was recorded; empty: it runs again. Any thread.
  [[nodiscard]] static bool given_result(std::vector<std::byte>& result) noexcept;
  /// Recording. Any thread; without a recording nothing.
  static void keep_result(std::span<const std::byte> result) noexcept;
  /// The calling thread is at work for a loop with a journal.
  [[nodiscard]] static bool at_work() noexcept;

 private:
  struct Job {
    std::uint64_t number = 0;
    ThreadPool::Job* job = nullptr;
    void (*run)(ThreadPool::Job& job) noexcept = nullptr;
  };
  enum class Origin : std::uint8_t { job, loop, elsewhere };
  struct Returned {
    Origin origin = Origin::elsewhere;
    std::uint64_t number = 0;
    std::vector<std::byte> calls;
  };
  // The work that this thread does for a journal.
  struct AtWork {
    Journal* journal = nullptr;
    std::uint64_t number = 0;
    std::vector<std::byte> calls;  // recording: so far
    Cursor answers;                // replay
  };

  Journal() noexcept;
  static bool is_there() noexcept;
  static void run_job(ThreadPool::Job& job) noexcept;
  Cursor& take() noexcept;
  [[noreturn]] void is_not_next(const std::string& now) noexcept;
  Job take_job(const ThreadPool::Job& job) noexcept;
  void begin_program();
  [[nodiscard]] std::string place() const;
  [[noreturn]] void stop(const std::string& text, int code) noexcept;

  static thread_local AtWork* at_work_;
  std::string path_;
  const std::uint64_t thread_;  // of those loops
  const pid_t process_;
  std::unique_ptr<replay::LogWriter> writer_;
  Event scratch_{Kind::clock};
  bool replays_ = false;
  bool over_ = false;
  std::optional<replay::LogFile> file_;  // replay
  Cursor cursor_;
  std::uint64_t event_ = 0;  // how many were read
  std::uint64_t jobs_ = 0;
  std::uint64_t left_out_ = 0;  // pieces of work of other threads that are not replayed
  int waits_ = 0;
  std::int64_t began_ns_ = 0;  // both clocks at the beginning of the recorded run
  std::int64_t began_wall_ns_ = 0;
  const Chain* chain_ = nullptr;
  const PromiseBase* promise_ = nullptr;
  std::mutex mutex_;  // of what follows
  std::unordered_map<const ThreadPool::Job*, Job> away_;
  std::unordered_set<int> descriptors_;                       // that Horus has made
  std::unordered_map<int, std::int64_t> foreign_;             // others, by number
  std::unordered_map<int, int> copies_;                       // of standard streams
  std::int64_t foreigners_ = 0;                               // so far
  std::unordered_map<const RemoteWork*, Returned> returned_;  // recording
  std::deque<RemoteWork*> errands_, strangers_, back_;        // replay
};

}  // namespace horus::HORUS_ABI::io
