// SPDX-License-Identifier: Apache-2.0
// The life of a session over shared memory: handshake, reading, writing, its end.
#include <horus/msg/shm/shm_session.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <sys/socket.h>

#include <fmt/format.h>

#include <horus/base/above_standard.hpp>
#include <horus/base/log.hpp>
#include <horus/io/poll.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/link/clock_offset.hpp>
#include <horus/msg/session/trim_heap.hpp>
#include <horus/msg/shm/shm_transport.hpp>
#include <horus/task/scope.hpp>

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77  // Linux 6.5
#endif

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kMuchToForget = 1024;     // publishers: what is kept of them is worth giving back
constexpr std::size_t kFrameKept = 160;         // bytes of memory that keep a frame, beside its own
constexpr std::size_t kLeastOfOneProcess = 16;  // sessions
constexpr std::size_t kBatchBytes = std::size_t{64} << 10;  // of one write, or one frame more
constexpr std::size_t kBatchDescriptors = 8;
constexpr std::size_t kMaxWaiting = 32;  // descriptors received, and not yet used
constexpr std::size_t kFramesPerTurn = 64;
constexpr Duration kProofLimit = std::chrono::milliseconds(500);
constexpr Duration kDyingLimit = std::chrono::milliseconds(20);
constexpr Duration kGoodbyeLimit = std::chrono::milliseconds(100);
constexpr Duration kIdleAfter = std::chrono::seconds(2);

// The peer has gone: nothing to tell anybody.
bool is_farewell(const Error& error) {
  return error.cancelled() || error.end_of_stream() || error.code() == EPIPE || error.code() == ECONNRESET;
}

Error broken_handshake(const char* what) { return {kBadInput, "talk to a hub", what}; }

Task<Result<>> set_or_ended(Event& event) {
  co_await event.wait();
  co_return Result<>();
}

}  // namespace

ShmSession::ShmSession(ShmTransport& transport, io::UnixStream stream, std::string address)
    : transport_(transport),
      stream_(std::move(stream)),
      address_(std::move(address)),
      outgoing_bytes_(transport.totals().outgoing),
      their_descriptors_(transport.totals().descriptors),
      announced_(transport.totals().publishers),
      description_bytes_(transport.totals().descriptions),
      their_chunks_(transport.totals().chunks),
      their_bytes_(transport.totals().addresses),
      links_(std::make_shared<Arena>(Arena::Use::links)) {}

ShmSession::~ShmSession() {
  end_subscriptions();
  end_serving(false);
  const bool much = publishers_.size() >= kMuchToForget;
  publishers_.clear();
  if (much) trim_heap();
}

// --- Its life ---------------------------------------------------------------------------------------------------------

Task<SessionEnd> ShmSession::run(std::shared_ptr<ShmSession> self) {
  ShmSession& session = *self;
  const Duration limit = session.transport_.options().handshake_limit;
  auto greeting = with_timeout(limit, session.greet());
  Result<SessionEnd> agreed = co_await greeting;
  if (agreed && *agreed == SessionEnd::lost) {
    // The other end may have an old session to examine first.
    auto agreeing = with_timeout(limit + kProofLimit, session.agree());
    agreed = co_await agreeing;
  }
  if (!agreed) {
    const bool silent = agreed.error().timed_out();
    session.problem_ = silent ? "it does not answer: it is stopped, or something keeps its thread busy"
                              : agreed.error().message();
    session.left_early_ = is_farewell(agreed.error()) && !silent;
    if (session.left_early_) session.problem_ = "it closed the connection before it had said who it is";
    if (agreed.error().cancelled() && !silent) session.problem_.clear();
    if (agreed.error().code() == EUSERS) co_return SessionEnd::refused;
    co_return agreed.error().code() == EPROTONOSUPPORT || agreed.error().code() == EPERM ? SessionEnd::refused
                                                                                         : SessionEnd::lost;
  }
  if (*agreed != SessionEnd::lost) co_return *agreed;
  session.up_ = session.was_up_ = true;
  session.up_since_ns_ = session.last_received_ns_ = now_ns();
  session.problem_.clear();
  session.transport_.publish_state();
  for (const auto& port : session.transport_.ports()) session.announce(port);
  Scope scope("session");
  scope.spawn(session.read());
  scope.spawn(session.write());
  scope.spawn(session.watch_process());
  scope.spawn(session.prepare());
  try {
    co_await session.ended_.wait();
  } catch (const Error&) {
    session.quiet_ = true;  // the hub goes, or the reactor
  }
  session.up_ = false;
  scope.cancel();
  co_await scope.join();
  session.end_subscriptions();
  auto asking = session.process_lives_on();
  const bool lives_on = co_await asking;
  session.end_serving(lives_on);
  co_return session.how_ended_;
}

// Who is there. Both ends say it first of all.
Task<Result<SessionEnd>> ShmSession::greet() {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  io::System& system = io::Reactor::current()->system();
  const int known = system.get_option(stream_.fd(), SOL_SOCKET, SO_PEERCRED, &credentials, &size);
  if (known < 0) co_return Error(-known, "ask for the peer's credentials");
  if (credentials.uid != io::System::here().user()) {
    co_return Error(EPERM, "share memory",
                    fmt::format("with user {} (only with the same user's processes)", credentials.uid));
  }
  // In another PID namespace it has no number here (0). Its socket's end tells then, and on new kernels its descriptor.
  pid_ = credentials.pid;
  const std::size_t most = std::max(kLeastOfOneProcess, transport_.options().max_peers / 8);
  if (pid_ > 0 && pid_ != io::System::here().process_id() && transport_.sessions_of(pid_) > most) {
    co_return Error(EUSERS, "talk to a hub",
                    fmt::format("of process {} (it has {} connections already)", pid_, most));
  }
  int process = -1;
  size = sizeof process;
  if (system.get_option(stream_.fd(), SOL_SOCKET, SO_PEERPIDFD, &process, &size) < 0)
    process = pid_ > 0 ? std::max(system.open_process(pid_), -1) : -1;
  process_ = io::Descriptor(above_standard(process));
  shm::Hello ours;
  ours.hub = transport_.hub();
  ours.instance = transport_.instance();
  ours.clock_offset = clock_offset();
  const std::vector<std::byte> hello = shm::encode(ours);
  auto sent = co_await stream_.write_all(io::Bytes(hello));
  if (!sent) co_return sent.error();
  auto frame = co_await read_frame();
  if (!frame) co_return frame.error();
  const auto* theirs = std::get_if<shm::Hello>(&frame->frame);
  if (theirs == nullptr) co_return broken_handshake("(it did not introduce itself)");
  const bool understood =
      theirs->highest >= shm::kLowest && theirs->lowest <= shm::kHighest && theirs->lowest > 1;
  if (!understood) {
    co_return Error(
        EPROTONOSUPPORT, "talk to a hub",
        fmt::format("of process {} (it speaks version {} of the protocol, we speak {} to {}: update "
                    "the older program)",
                    pid_, theirs->lowest, shm::kLowest, shm::kHighest));
  }
  hello_ = *theirs;
  clock_shift_ = clock_shift(theirs->clock_offset, ours.clock_offset);
  greeted_ = true;
  if (hello_.instance == transport_.instance()) co_return SessionEnd::duplicate;
  co_return SessionEnd::lost;
}

// Two hubs that find each other at the same moment have two connections, and a hub that was frozen may have a dead one: the
// hub with the smaller instance says which one it is.
Task<Result<SessionEnd>> ShmSession::agree() {
  const auto self = shared_from_this();
  if (transport_.instance() < hello_.instance) {
    while (const auto other = transport_.session_with(hello_.instance)) {
      auto proving = proves_itself(other, kProofLimit);
      const bool alive = co_await proving;
      if (!alive) {
        other->end("it did not answer for 500 ms, and connected anew");
        continue;
      }
      shm::Goodbye goodbye;
      const std::vector<std::byte> words = shm::encode(goodbye);
      static_cast<void>(
          co_await with_timeout(kGoodbyeLimit, [](ShmSession& session, io::Bytes bytes) -> Task<Result<>> {
            auto written = co_await session.stream_.write_all(bytes);
            co_return written;
          }(*this, io::Bytes(words))));
      co_return SessionEnd::duplicate;
    }
    transport_.has_session(self);  // before anything is awaited
    const std::vector<std::byte> welcome = shm::encode(shm::Welcome{});
    auto written = co_await stream_.write_all(io::Bytes(welcome));
    if (!written) co_return written.error();
    co_return SessionEnd::lost;
  }
  while (true) {
    auto frame = co_await read_frame();
    if (!frame) co_return frame.error();
    if (const auto* goodbye = std::get_if<shm::Goodbye>(&frame->frame)) {
      if (goodbye->reason.empty()) co_return SessionEnd::duplicate;
      co_return Error(ECONNREFUSED, "talk to a hub", "(" + goodbye->reason + ")");
    }
    if (std::holds_alternative<shm::Welcome>(frame->frame)) break;
    if (!std::holds_alternative<shm::Unknown>(frame->frame))
      co_return broken_handshake("(it spoke before it was asked)");
  }
  // A hub that connects anew has closed what it had. Where that lives on, somebody uses another's name.
  while (const auto other = transport_.session_with(hello_.instance)) {
    auto proving = proves_itself(other, kProofLimit);
    const bool alive = co_await proving;
    if (alive) co_return SessionEnd::duplicate;
    other->end({});
  }
  transport_.has_session(self);
  co_return SessionEnd::lost;
}

Task<bool> ShmSession::proves_itself(std::shared_ptr<ShmSession> self, Duration limit) {
  if (!self->up_) co_return true;  // it is being born at this very moment
  self->received_something_.reset();
  self->send(shm::Ping{});
  auto heard = co_await with_timeout(limit, set_or_ended(self->received_something_));
  co_return heard.ok() && !self->ended_.is_set();
}

void ShmSession::end(std::string problem) {
  if (ended_.is_set()) return;
  quiet_ = quiet_ || problem.empty();
  if (problem_.empty()) problem_ = std::move(problem);
  ended_.set();
  received_something_.set();
}

Task<> ShmSession::read() {
  std::size_t frames = 0;
  while (true) {
    auto frame = co_await read_frame();
    Result<> handled;
    if (frame) {
      last_received_ns_ = now_ns();
      received_something_.set();
      if (silent_) look_whether_it_answers();
      handled = handle(std::move(*frame));
    } else {
      handled = frame.error();
    }
    if (handled) {
      if (++frames % kFramesPerTurn == 0) co_await yield();  // meeting a large hub holds nobody up
      continue;
    }
    if (is_farewell(handled.error())) break;
    problem_ = handled.error().message();
    log_warning(fmt::format("hub {}: process {}: {}", transport_.hub(), pid_, problem_));
    break;
  }
  ended_.set();
  received_something_.set();
}

// All that waits goes out in one call, descriptors in the order of their frames: a thread that is busy with other things
// has turns far apart.
Task<> ShmSession::write() {
  while (true) {
    while (!outgoing_.empty()) {
      std::vector<Outgoing> batch;
      std::vector<std::byte> bytes;
      std::vector<int> descriptors;
      while (!outgoing_.empty() && bytes.size() < kBatchBytes && descriptors.size() < kBatchDescriptors) {
        Outgoing& next = batch.emplace_back(std::move(outgoing_.front()));
        outgoing_.pop_front();
        outgoing_bytes_.remove(next.bytes.size() + kFrameKept);
        bytes.insert(bytes.end(), next.bytes.begin(), next.bytes.end());
        if (next.descriptor >= 0) descriptors.push_back(next.descriptor);
      }
      Result<> sent;
      if (descriptors.empty()) {
        sent = co_await stream_.write_all(io::Bytes(bytes));
      } else {
        sent = co_await stream_.send_descriptors(descriptors, io::Bytes(bytes));
      }
      for (const Outgoing& one : batch) {
        if (one.bell != nullptr) one.bell->gave_away();
      }
      if (!sent) {
        if (!is_farewell(sent.error())) problem_ = sent.error().message();
        ended_.set();
        co_return;
      }
    }
    to_write_.reset();
    co_await to_write_.wait();
  }
}

// A child that the peer forked may keep its end of the socket open: its process tells for certain.
Task<> ShmSession::watch_process() {
  if (!process_) co_return;  // the socket alone must tell
  auto gone = co_await io::wait_readable(process_.get());
  if (gone) ended_.set();
}

// A program that ends closes its sockets a moment before it is gone. One in another PID namespace may have no descriptor
// here, and counts as gone.
Task<bool> ShmSession::process_lives_on() {
  if (serving_.empty() || !process_ || !transport_.alive()) co_return false;
  auto waiting = with_timeout(kDyingLimit, io::wait_readable(process_.get()));
  const Result<short> gone = co_await waiting;
  co_return !gone.ok() && gone.error().timed_out() && transport_.alive();
}

// What the peer's program held comes back to our publishers: at once when it is gone, else as it lets go.
void ShmSession::end_serving(bool lives_on) {
  std::vector<ServedLink> ended = std::exchange(serving_, {});
  std::vector<ServedLink> lent;
  for (const ServedLink& link : ended) {
    if (lives_on && !link.was_never_taken() && !link.let_go() && transport_.lent().admit(link)) {
      link.end();
      lent.push_back(link);
    } else {
      link.forget();
    }
  }
  tell_publishers(ended);
  if (!lent.empty()) transport_.keep_lent(std::move(lent), std::move(process_));
}

// What is queued is still delivered to our subscribers.
void ShmSession::end_subscriptions() noexcept {
  for (const Received& link : std::exchange(receiving_, {})) {
    end_subscription(link, quiet_ ? 1 : 2);
  }
  for (const OurBell& bell : std::exchange(bells_, {})) bell.source->close();
  requests_.clear();
  for (const auto& [request, link] : std::exchange(arriving_, {}))
    link.refuse();  // nobody else lets go of it
}

bool ShmSession::is_idle(std::int64_t now) const noexcept {
  return up_ && now - up_since_ns_ >= kIdleAfter.count() && serving_.empty() && preparing_.empty() &&
         receiving_.empty() && publishers_.empty();
}

PeerState ShmSession::state() const {
  PeerState state;
  state.name = hello_.hub;
  state.address = pid_ > 0   ? fmt::format("shm pid {}", pid_)
                  : greeted_ ? "shm, another PID namespace"
                             : address_;
  state.connected = up_;
  state.problem = problem_.empty() && !up_ ? "handshake" : problem_;
  if (silent_) state.problem = "it does not answer: it is stopped, or something keeps its thread busy";
  for (const auto& [topic, problem] : problems_)
    state.problem += (state.problem.empty() ? "" : "; ") + problem;
  return state;
}

// --- Bytes ------------------------------------------------------------------------------------------------------------

Task<Result<>> ShmSession::fill(std::size_t bytes) {
  std::array<std::byte, 16384> buffer;
  while (received_.size() - begin_ < bytes) {
    if (begin_ > 0) {
      received_.erase(received_.begin(), received_.begin() + static_cast<std::ptrdiff_t>(begin_));
      begin_ = 0;
    }
    auto came = co_await stream_.recv_descriptors(io::MutableBytes(buffer));
    if (!came) co_return came.error();
    if (descriptors_.size() + came->descriptors.size() > kMaxWaiting)
      co_return Error(kBadInput, "talk to a hub", "(it sent descriptors that nothing asks for)");
    if (!their_descriptors_.add(came->descriptors.size()))
      co_return Error(kBadInput, "talk to a hub",
                      "(it and others sent more descriptors than peers may have)");
    for (io::Descriptor& descriptor : came->descriptors) descriptors_.push_back(std::move(descriptor));
    received_.insert(received_.end(), buffer.begin(),
                     buffer.begin() + static_cast<std::ptrdiff_t>(came->size));
  }
  co_return Result<>();
}

Task<Result<shm::Decoded>> ShmSession::read_frame() {
  if (received_.size() - begin_ < 4) {
    auto filled = co_await fill(4);
    if (!filled) co_return filled.error();
  }
  const auto at = [&](std::size_t i) { return std::to_integer<std::size_t>(received_[begin_ + i]); };
  const std::size_t size = at(0) | at(1) << 8 | at(2) << 16 | at(3) << 24;
  if (size > shm::kMaxFrame) co_return Error(kBadInput, "talk to a hub", "(a frame beyond the limit)");
  if (received_.size() - begin_ < 4 + size) {
    auto filled = co_await fill(4 + size);
    if (!filled) co_return filled.error();
  }
  auto frame = shm::decode(std::span(received_).subspan(begin_ + 4, size));
  begin_ += 4 + size;
  co_return frame;
}

void ShmSession::send(const shm::Frame& frame, int descriptor, std::shared_ptr<const void> owner,
                      std::shared_ptr<WakeSource> bell) {
  std::vector<std::byte> bytes = shm::encode(frame);
  if (!outgoing_bytes_.add(bytes.size() + kFrameKept)) return end("it reads nothing");
  outgoing_.push_back({std::move(bytes), descriptor, std::move(owner), std::move(bell)});
  to_write_.set();
}

io::Descriptor ShmSession::take_descriptor() {
  if (descriptors_.empty()) return {};
  io::Descriptor first = std::move(descriptors_.front());
  descriptors_.pop_front();
  their_descriptors_.remove(1);  // whoever keeps it counts it anew
  return first;
}

}  // namespace horus::HORUS_ABI::msg
