// SPDX-License-Identifier: Apache-2.0
#include <horus/io/replay/journal.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <system_error>

#include <fcntl.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/base/version.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/replay/result.hpp>
#include <horus/io/seam/clock.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/task/chain.hpp>

namespace horus::HORUS_ABI::io {

namespace {

// What other threads of this program do again at a replay comes soon.
constexpr unsigned kLook_us = 100;
constexpr Duration kPatience = std::chrono::seconds(5);

constexpr const char* kDecisions[] = {"the loop stays awake", "it stops", "it has posts to take",
                                      "the scheduler is asked to look", "a publisher is mute"};

Journal* the_journal = nullptr;  // of the process; set before its first job leaves

std::string arguments_of_process() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return text;
}

// Behind the program's own name.
std::string_view options_of(std::string_view arguments) {
  const std::size_t end = arguments.find('\0');
  return end == std::string_view::npos ? std::string_view() : arguments.substr(end + 1);
}

std::string spaced(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

std::string machine() {
  utsname names{};
  ::uname(&names);
  return names.machine;
}

replay::Program this_program() {
  std::error_code ignored;
  replay::Program program;
  program.version = version();
  program.machine = machine();
  program.file = std::filesystem::read_symlink("/proc/self/exe", ignored).string();
  program.folder = std::filesystem::current_path(ignored).string();
  program.arguments = arguments_of_process();
  program.began_ns = Clock::kernel()->now_ns();
  program.began_wall_ns = Clock::kernel()->wall_clock_ns();
  return program;
}

// What other code opens in this run must not have the number of a descriptor of the recorded one, and what it closes by such a
// number must be nobody's.
void occupy_numbers() {
  constexpr int kMost = 512;
  const int limit = static_cast<int>(System::kernel()->descriptor_limit());
  const int nothing = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (nothing < 0) return;
  for (int fd = STDERR_FILENO + 1; fd < std::min(kMost, limit / 2); ++fd) {
    if (::fcntl(fd, F_GETFD) < 0) ::dup3(nothing, fd, O_CLOEXEC);
  }
}

bool is_debugged() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    if (word == "TracerPid:") return file >> word && word != "0";
  }
  return false;
}

}  // namespace

thread_local Journal::AtWork* Journal::at_work_ = nullptr;

Journal::Journal() noexcept : thread_(detail::thread_number()), process_(::getpid()) {}

Result<std::unique_ptr<Journal>> Journal::record(const std::string& path, std::uint64_t most_bytes) {
  auto writer = replay::LogWriter::create(path, most_bytes);
  if (!writer) return writer.error();
  std::unique_ptr<Journal> journal(new Journal);
  journal->path_ = path;
  journal->writer_ = std::move(*writer);
  Event event(Kind::program);
  const replay::Program program = this_program();
  journal->began_ns_ = program.began_ns;
  journal->began_wall_ns_ = program.began_wall_ns;
  replay::write_program(event, program);
  journal->write(event);
  the_journal = journal.get();
  return journal;
}

Result<std::unique_ptr<Journal>> Journal::replay(const std::string& path) {
  auto log = replay::LogFile::open(path);
  if (!log) return log.error();
  std::unique_ptr<Journal> journal(new Journal);
  journal->path_ = path;
  journal->file_.emplace(std::move(*log));
  journal->replays_ = true;
  occupy_numbers();
  journal->cursor_ = Cursor(journal->file_->events());
  if (journal->cursor_.kind() != Kind::program)
    return Error(kBadInput, "replay", path).with_detail("(it does not begin with the program)");
  journal->begin_program();
  the_journal = journal.get();
  return journal;
}

void Journal::begin_program() {
  cursor_.take_kind();
  ++event_;
  const replay::Program recorded = replay::read_program(cursor_);
  const replay::Program own = this_program();
  began_ns_ = recorded.began_ns;
  began_wall_ns_ = recorded.began_wall_ns;
  if (recorded.version != own.version)
    log_warning(fmt::format("replay {}: it was recorded with Horus {}, and this is {}", path_,
                            recorded.version, own.version));
  if (recorded.machine != own.machine)
    log_warning(fmt::format("replay {}: it was recorded on {}, and this is {}", path_, recorded.machine,
                            own.machine));
  if (options_of(recorded.arguments) != options_of(own.arguments))
    log_warning(fmt::format("replay {}: the recorded program was started as \"{}\", and this one as \"{}\"",
                            path_, spaced(recorded.arguments), spaced(own.arguments)));
}

Journal::~Journal() {
  if (the_journal == this) the_journal = nullptr;
}

void Journal::end(int exit_code) noexcept {
  if (process_ != ::getpid()) return;  // a child of fork()
  if (!replays()) {
    if (!over_) write(blank(Kind::end).number(static_cast<std::uint32_t>(exit_code)));
    over_ = true;
    if (!writer_->end_helper(kPatience)) static_cast<void>(writer_.release());
    writer_.reset();
    return;
  }
  const Kind kind = cursor_.kind();
  if (left_out_ > 0)
    log_info(fmt::format("replay {}: {} pieces of work that other threads handed over were left out", path_,
                         left_out_));
  if (kind == Kind::end) {
    Cursor last = cursor_;
    last.take_kind();
    const auto recorded = static_cast<int>(last.number());
    if (recorded != exit_code) {
      log_warning(
          fmt::format("replay {}: its exit code is {}, and was {}: something that is not in the recording "
                      "has another outcome",
                      path_, exit_code, recorded));
      return;
    }
    log_info(fmt::format("replay {}: equal to its recording, {} events", path_, event_));
  } else {
    log_warning(fmt::format("replay {}: the program ended before its recording did ({}, at byte {} of {})",
                            path_, replay::name_of(kind), cursor_.at(), file_->events().size()));
  }
}

bool Journal::is_here() const noexcept {
  return at_work_ != nullptr ? at_work_->journal == this : horus::detail::thread_state.number == thread_;
}

// --- Writing and reading ----------------------------------------------------------------------------------------------

Journal::Event& Journal::blank(Kind kind) noexcept {
  scratch_.begin(kind);
  return scratch_;
}

void Journal::write(const Event& event) noexcept {
  if (at_work_ != nullptr) {
    const auto bytes = event.bytes();
    at_work_->calls.insert(at_work_->calls.end(), bytes.begin(), bytes.end());
    return;
  }
  if (over_ || writer_->append(event.bytes())) return;
  over_ = true;
  const int problem = writer_->problem();
  log_warning(fmt::format("record exactly {}: {} after {} bytes; the rest of the run is not in it", path_,
                          problem == 0 ? "its largest size is reached" : describe_code(problem),
                          writer_->bytes()));
}

Journal::Kind Journal::next_kind() const noexcept {
  return at_work_ != nullptr ? at_work_->answers.kind() : cursor_.kind();
}

Journal::Cursor Journal::peek() const noexcept { return at_work_ != nullptr ? at_work_->answers : cursor_; }

Journal::Cursor& Journal::take() noexcept {
  Cursor& from = at_work_ != nullptr ? at_work_->answers : cursor_;
  from.take_kind();
  ++event_;
  return from;
}

void Journal::is_not_next(const std::string& now) noexcept {
  const Cursor& from = at_work_ != nullptr ? at_work_->answers : cursor_;
  if (from.broken()) differs("an event that cannot be read: the file is damaged", now);
  if (&from == &cursor_ && from.at_end())
    stop(fmt::format(
             "replay {}: the recording is over here, after {} events: its program was killed, or crashed\n"
             "  now: {}{}",
             path_, event_, now, place()),
         kOverCode);
  if (&from == &cursor_ && from.kind() == Kind::limit)
    stop(fmt::format("replay {}: the recording had no more room here (its largest size, or the disk's), "
                     "after {} events{}",
                     path_, event_, place()),
         kOverCode);
  std::string recorded = from.at_end() ? "nothing more, in this work" : replay::name_of(from.kind());
  if (from.kind() == Kind::decision) {
    Cursor peek = from;
    peek.take_kind();
    const std::uint64_t which = peek.number();
    if (which < std::size(kDecisions)) recorded += fmt::format(": {}", kDecisions[which]);
  }
  differs(recorded, now);
}

std::string Journal::place() const {
  std::string text;
  if (chain_ == nullptr) return text;
  text = fmt::format("\n  in: {}", chain_->name());
  const PromiseBase* promise = promise_;
  if (promise != nullptr && promise->where.line() != 0)
    text += fmt::format(", which last awaited at {}:{}", promise->where.file_name(), promise->where.line());
  return text;
}

void Journal::differs(const std::string& recorded, const std::string& now) noexcept {
  stop(fmt::format("replay {}: this run differs from its recording, at event {} (byte {} of {})\n"
                   "  recorded: {}\n  now:      {}{}",
                   path_, event_, cursor_.at(), file_->events().size(), recorded, now, place()),
       kDivergedCode);
}

// The program must not go on: nothing that it would do from here on has happened.
void Journal::stop(const std::string& text, int code) noexcept {
  log_error(text);
  static_cast<void>(flush_log());
  std::fflush(nullptr);
  if (is_debugged()) ::raise(SIGTRAP);
  std::_Exit(code);
}

// --- What the loop asks -----------------------------------------------------------------------------------------------

bool Journal::decide(Decision decision, bool truth) noexcept {
  if (!replays()) {
    if (truth) write(blank(Kind::decision).number(static_cast<std::uint64_t>(decision)));
    return truth;
  }
  if (next_kind() != Kind::decision) return false;
  Cursor peek = cursor_;
  peek.take_kind();
  if (peek.number() != static_cast<std::uint64_t>(decision)) return false;
  cursor_ = peek;
  ++event_;
  return true;
}

void Journal::takes_post() noexcept { write(blank(Kind::post)); }

bool Journal::expects_post() noexcept {
  if (next_kind() != Kind::post) return false;
  cursor_.take_kind();
  ++event_;
  waits_ = 0;
  return true;
}

void Journal::wait_for_thread(const char* what) noexcept {
  if (++waits_ > kPatience / std::chrono::microseconds(kLook_us))
    differs(what, "no other thread of this run does that");
  rest();
}

void Journal::rest() noexcept { ::usleep(kLook_us); }

bool Journal::comes_back(RemoteWork& work) noexcept {
  const bool by_loop = at_work_ == nullptr && horus::detail::thread_state.number == thread_;
  const Origin origin = at_work() ? Origin::job : by_loop ? Origin::loop : Origin::elsewhere;
  const std::lock_guard lock(mutex_);
  if (replays()) {
    (origin == Origin::job ? back_ : by_loop ? errands_ : strangers_).push_back(&work);
    return true;
  }
  Returned& returned = returned_[&work];
  returned.origin = origin;
  if (at_work()) {
    returned.number = at_work_->number;
    returned.calls = std::move(at_work_->calls);
  }
  return false;
}

void Journal::takes(RemoteWork& work) noexcept {
  Returned returned;
  {
    const std::lock_guard lock(mutex_);
    const auto found = returned_.find(&work);
    if (found == returned_.end()) return;  // it came before there was a journal
    returned = std::move(found->second);
    returned_.erase(found);
  }
  switch (returned.origin) {
    case Origin::job:
      return write(
          blank(Kind::job).number(returned.number).block(returned.calls.data(), returned.calls.size()));
    case Origin::loop: return write(blank(Kind::errand));
    case Origin::elsewhere: return write(blank(Kind::foreign));
  }
}

RemoteWork* Journal::next_arrival() noexcept {
  while (true) {
    const Kind kind = next_kind();
    if (kind != Kind::job && kind != Kind::errand && kind != Kind::foreign) return nullptr;
    cursor_.take_kind();
    ++event_;
    if (kind == Kind::job) {
      const std::uint64_t number = cursor_.number();
      const auto calls = cursor_.block();
      Job job;
      {
        const std::lock_guard lock(mutex_);
        const auto found = std::find_if(away_.begin(), away_.end(),
                                        [&](const auto& entry) { return entry.second.number == number; });
        if (found != away_.end()) {
          job = found->second;
          away_.erase(found);
        }
      }
      if (job.job == nullptr)
        differs(fmt::format("offloaded work {} comes back", number), "it was not sent away");
      AtWork work{this, number, {}, Cursor(calls)};
      // As on its pool: this thread has no reactor meanwhile.
      auto* const reactor = std::exchange(horus::detail::thread_state.reactor, nullptr);
      at_work_ = &work;
      job.run(*job.job);
      at_work_ = nullptr;
      horus::detail::thread_state.reactor = reactor;
    }
    const std::lock_guard lock(mutex_);
    auto& from = kind == Kind::job ? back_ : kind == Kind::errand ? errands_ : strangers_;
    if (from.empty()) {
      // What other threads than the loop's do is not replayed.
      if (kind == Kind::errand) differs(replay::name_of(kind), "the loop has left nothing");
      ++left_out_;
      continue;
    }
    RemoteWork* const work = from.front();
    from.pop_front();
    return work;
  }
}

bool Journal::outside(bool seen, std::vector<std::byte>& state) noexcept {
  if (!replays()) {
    if (seen) write(blank(Kind::outside).block(state.data(), state.size()));
    return seen;
  }
  if (next_kind() != Kind::outside) return false;
  cursor_.take_kind();
  ++event_;
  const auto recorded = cursor_.block();
  state.assign(recorded.begin(), recorded.end());
  return true;
}

std::int64_t Journal::name_of(int fd) noexcept {
  constexpr std::int64_t kForeign = 1'000'000;
  if (fd <= STDERR_FILENO) return fd;
  const std::lock_guard lock(mutex_);
  if (descriptors_.count(fd) != 0) return fd;
  const auto [place, is_new] = foreign_.try_emplace(fd, kForeign + foreigners_);
  if (is_new) ++foreigners_;
  return place->second;
}

int Journal::learn(int fd) noexcept {
  if (fd < 0) return fd;
  const std::lock_guard lock(mutex_);
  descriptors_.insert(fd);
  return fd;
}

void Journal::forget(int fd) noexcept {
  const std::lock_guard lock(mutex_);
  if (descriptors_.erase(fd) == 0) foreign_.erase(fd);
  copies_.erase(fd);
}

int Journal::copies(int fd, int copy) noexcept {
  const int stream = standard_stream(fd);
  if (stream < 0 || copy < 0) return copy;
  const std::lock_guard lock(mutex_);
  copies_[copy] = stream;
  return copy;
}

int Journal::standard_stream(int fd) noexcept {
  if (fd == STDOUT_FILENO || fd == STDERR_FILENO) return fd;
  const std::lock_guard lock(mutex_);
  const auto found = copies_.find(fd);
  return found == copies_.end() ? -1 : found->second;
}

// --- Work on a pool ---------------------------------------------------------------------------------------------------

std::uint64_t Journal::send_job(ThreadPool::Job& job) noexcept {
  const std::lock_guard lock(mutex_);
  Job& entry = away_[&job];
  entry = {++jobs_, &job, job.run};
  if (!replays()) job.run = &run_job;
  return entry.number;
}

void Journal::forget_job(ThreadPool::Job& job) noexcept {
  const Job entry = take_job(job);
  if (entry.run != nullptr) job.run = entry.run;
}

Journal::Job Journal::take_job(const ThreadPool::Job& job) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = away_.find(&job);
  if (found == away_.end()) return {};
  const Job entry = found->second;
  away_.erase(found);
  return entry;
}

// On a thread of a pool, while recording.
void Journal::run_job(ThreadPool::Job& job) noexcept {
  const Job entry = the_journal->take_job(job);
  AtWork work{the_journal, entry.number, {}, {}};
  at_work_ = &work;
  job.run = entry.run;
  entry.run(job);  // it may be gone afterwards
  at_work_ = nullptr;
}

// Whether the calling thread has a journal.
bool Journal::is_there() noexcept { return the_journal != nullptr && the_journal->is_here(); }

bool Journal::at_work() noexcept { return at_work_ != nullptr && at_work_->journal != nullptr; }

namespace replay {

bool at_work() noexcept { return Journal::at_work(); }

bool given_result(std::vector<std::byte>& result) noexcept { return Journal::given_result(result); }

void keep_result(std::span<const std::byte> result) noexcept { Journal::keep_result(result); }

const char* literal(std::string text) {
  static std::mutex mutex;
  static auto* const all = new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return all->insert(std::move(text)).first->c_str();
}

void save_error(Event& event, const Error& error) {
  event.number(static_cast<std::uint64_t>(error.code()));
  event.text(error.operation()).text(error.target()).text(error.detail());
}

Error load_error(Cursor& cursor) {
  const auto code = static_cast<int>(cursor.number());
  const char* const operation = literal(cursor.text());
  const Error error(code, operation, cursor.text());
  const std::string detail = cursor.text();
  return detail.empty() ? error : error.with_detail(detail);
}

void save_exception(Event& event, const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& error) {
    save_error(event.number(1), error);
  } catch (const std::exception& other) {
    event.number(0).text(other.what());
  } catch (...) {
    event.number(0).text("an exception that is not a std::exception");
  }
}

std::exception_ptr load_exception(Cursor& cursor) {
  if (cursor.number() != 0) return std::make_exception_ptr(load_error(cursor));
  return std::make_exception_ptr(std::runtime_error(cursor.text()));
}

}  // namespace replay

bool Journal::given_result(std::vector<std::byte>& result) noexcept {
  if (!at_work() || !at_work_->journal->replays() || at_work_->answers.kind() != Kind::result) return false;
  at_work_->answers.take_kind();
  const auto recorded = at_work_->answers.block();
  result.assign(recorded.begin(), recorded.end());
  return true;
}

void Journal::keep_result(std::span<const std::byte> result) noexcept {
  if (!at_work() || at_work_->journal->replays()) return;
  Event event(Kind::result);
  event.block(result.data(), result.size());
  at_work_->journal->write(event);
}

}  // namespace horus::HORUS_ABI::io
