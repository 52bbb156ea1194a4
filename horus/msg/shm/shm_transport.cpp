// SPDX-License-Identifier: Apache-2.0
// The hub among others: its socket, whoever connects to it, and its ports. Whom it looks for is in shm_members.cpp.
#include <horus/msg/shm/shm_transport.hpp>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <utility>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/replay/environment.hpp>
#include <horus/io/seam/system.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/shm/shm_session.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr Duration kLastBreath =
    std::chrono::milliseconds(20);  // until a dying process has closed everything
constexpr Duration kLinksEvery = std::chrono::seconds(1);
constexpr Duration kLinksLeast = std::chrono::milliseconds(10);
constexpr std::size_t kEndsKept = 8;
constexpr std::size_t kSaid = 1024;  // problems in the log, each once

// The hubs of this process. Any thread.
struct SharingHubs {
  std::mutex mutex;
  std::map<std::uint64_t, std::uint64_t>
      instances;  // and the process of a simulated world that each belongs to
};
SharingHubs& sharing_here() {
  static auto* all = new SharingHubs();  // never destroyed: hubs of static objects end later than any static
  return *all;
}

constexpr std::size_t kMiB = std::size_t{1} << 20;
constexpr std::size_t kGiB = std::size_t{1} << 30;

}  // namespace

ShmTotals::ShmTotals(std::size_t limit) noexcept
    : publishers({4096, 16384, 64}),
      descriptions({kMiB, 8 * kMiB, 16384}),
      descriptors({64 + 32, limit / 8, 8}),
      chunks({4096, 16384, 16}),
      addresses({1024 * kGiB, 8192 * kGiB, 16 * kGiB}),
      outgoing({16 * kMiB, 64 * kMiB, 65536}) {}

Result<std::shared_ptr<Transport>> ShmTransport::create(std::string hub, ShmOptions options,
                                                        std::shared_ptr<Arena> memory) {
  auto transport = std::make_shared<ShmTransport>(std::move(hub), std::move(options), std::move(memory));
  auto bound = transport->bind();
  if (!bound) return bound.error();
  io::Reactor::current()->spawn(run(transport), "hub " + transport->hub_);
  return std::shared_ptr<Transport>(transport);
}

ShmTransport::ShmTransport(std::string hub, ShmOptions options, std::shared_ptr<Arena> memory)
    : hub_(std::move(hub)),
      options_(std::move(options)),
      memory_(std::move(memory)),
      directories_(candidate_directories(options_.directory)),
      reactor_(io::Reactor::current()),
      waker_(reactor_->waker()),
      totals_(io::System::here().descriptor_limit()) {
  reactor_->system().random_bytes(&instance_, sizeof instance_);
  name_ = socket_name(hub_, instance_);
  const std::lock_guard lock(sharing_here().mutex);
  sharing_here().instances.emplace(instance_, io::System::here().world_process());
}

ShmTransport::~ShmTransport() {
  const std::lock_guard lock(sharing_here().mutex);
  sharing_here().instances.erase(instance_);
}

bool ShmTransport::is_neighbour(std::uint64_t instance) {
  const std::lock_guard lock(sharing_here().mutex);
  const auto found = sharing_here().instances.find(instance);
  return found != sharing_here().instances.end() && found->second == io::System::here().world_process();
}

// In the first directory that there is. The listener before it ends: nobody finds it any more.
Result<> ShmTransport::bind() {
  Result<> failed;
  for (const std::string& directory : directories_) {
    failed = prepare_directory(directory);
    if (!failed) continue;
    auto bound = bind_socket(directory, name_);
    if (!bound) {
      failed = bound.error();
      continue;
    }
    directory_ = directory;
    inode_ = bound->inode;
    ++generation_;
    listener_ = std::move(bound->listener);
    return {};
  }
  return failed;
}

// --- Its life ---------------------------------------------------------------------------------------------------------

Task<> ShmTransport::run(std::shared_ptr<ShmTransport> self) {
  ShmTransport& hub = *self;
  Scope scope("hub", Failures::log);
  hub.scope_ = &scope;
  hub.begin(accept(self), "accept");
  hub.begin(look_around(self), "look for hubs");
  hub.begin(look_after_links(self), "look after links");
  try {
    if (!hub.closing_) co_await hub.closed_.wait();
  } catch (const Error&) {
    // The reactor ends.
  }
  hub.alive_.store(false, std::memory_order_release);  // from here on begin() starts nothing
  scope.cancel();
  co_await scope.join();
  hub.scope_ = nullptr;
  hub.listener_.reset();
  const std::string path = hub.directory_ + "/" + hub.name_;
  if (is_still_there(path, hub.inode_)) static_cast<void>(io::System::here().unlink(path.c_str()));
  hub.members_.clear();
  hub.publish_state();
}

// Starts a task beside run(). False once the hub closes: whoever awaited something meanwhile has nothing more to do.
bool ShmTransport::begin(Task<> task, const char* name) {
  if (scope_ == nullptr || !alive()) return false;
  scope_->spawn(std::move(task), name);
  return true;
}

void ShmTransport::close() {
  waker_->hand_over([self = shared_from_this()] {
    self->closing_ = true;
    self->closed_.set();
  });
}

Task<> ShmTransport::accept(std::shared_ptr<ShmTransport> self) {
  ShmTransport& hub = *self;
  while (true) {
    const std::uint64_t generation = hub.generation_;
    auto accepting = hub.listener_.accept();
    auto stream = co_await accepting;
    if (!stream) {
      if (!hub.alive()) co_return;
      if (hub.generation_ != generation) continue;  // bound anew
      if (stream.error().cancelled()) co_return;
      hub.say(fmt::format("hub {}: {}", hub.hub_, stream.error().message()));
      co_await sleep(kLinksEvery);
      continue;
    }
    if (!hub.make_room()) {
      hub.say(fmt::format("hub {}: {} peers are the limit (ShmOptions::max_peers): one more was refused",
                          hub.hub_, hub.options_.max_peers));
      continue;
    }
    if (!hub.begin(serve(self, std::move(*stream), "shm"), "hub session")) co_return;
  }
}

// A place for one more session; one in which nothing happens gives way.
bool ShmTransport::make_room() {
  if (sessions_.size() < options_.max_peers) return true;
  const std::int64_t now = now_ns();
  const auto idle = std::find_if(sessions_.begin(), sessions_.end(),
                                 [&](const auto& session) { return session->is_idle(now); });
  if (idle == sessions_.end()) return false;
  (*idle)->end("it gave its place up to another: nothing was wanted of it");
  return sessions_.size() < options_.max_peers + 16;  // it goes within this turn or the next
}

Task<> ShmTransport::serve(std::shared_ptr<ShmTransport> self, io::UnixStream stream, std::string address) {
  ShmTransport& hub = *self;
  auto session = std::make_shared<ShmSession>(hub, std::move(stream), std::move(address));
  struct Known {  // among the sessions, however it ends
    ShmTransport& transport;
    const std::shared_ptr<ShmSession>& session;
    Known(ShmTransport& at, const std::shared_ptr<ShmSession>& one) : transport(at), session(one) {
      transport.sessions_.push_back(session);
    }
    Known(const Known&) = delete;
    Known& operator=(const Known&) = delete;
    ~Known() {
      std::erase(transport.sessions_, session);
      const auto found = transport.established_.find(session->peer_instance());
      if (found != transport.established_.end() && found->second.lock() == session)
        transport.established_.erase(found);
    }
  };
  SessionEnd how = SessionEnd::lost;
  {
    const Known known(hub, session);
    auto running = ShmSession::run(session);
    how = co_await running;
  }
  if (!hub.alive()) co_return;
  const std::uint64_t instance = session->peer_instance();
  const PeerState state = session->state();
  const bool told = how == SessionEnd::duplicate;
  if (const auto member = hub.members_.find(instance); member != hub.members_.end() && instance != 0) {
    if (session->was_up()) member->second.pause = Duration::zero();
    if (!told) hub.try_later(member->second, session->was_up() ? std::string() : state.problem);
    hub.look_again();
  } else if (!told && session->was_up()) {
    hub.begin(clear_after(self, socket_name(session->peer_hub(), instance)), "clear up");
  }
  // What went wrong stays to be seen; a peer that just left does not, not even one that left in the middle of a handshake.
  if (!told && !session->left_early() && !state.problem.empty() && state.problem != "handshake") {
    hub.failed_.push_back(state);
    hub.failed_.back().connected = false;
    if (hub.failed_.size() > kEndsKept) hub.failed_.pop_front();
    if (!session->was_up()) hub.say(fmt::format("hub {}: {}: {}", hub.hub_, state.address, state.problem));
  }
  hub.publish_state();
}

void ShmTransport::keep_lent(std::vector<ServedLink> lent, io::Descriptor process) {
  begin(LentSlots::keep(lent_, std::move(lent), std::move(process)), "keep samples");
}

// The socket of a process that died refuses, and is removed.
Task<> ShmTransport::clear_after(std::shared_ptr<ShmTransport> self, std::string name) {
  co_await sleep(kLastBreath);
  for (const std::string& directory : self->directories_)
    sweep_temporary(directory + "/" + name, Duration::zero());
}

Task<> ShmTransport::look_after_links(std::shared_ptr<ShmTransport> self) {
  while (true) {
    co_await sleep(
        std::min<Duration>(kLinksEvery, std::max<Duration>(self->options_.idle_limit / 4, kLinksLeast)));
    const auto sessions = self->sessions_;
    for (const auto& session : sessions) session->look_after_links();
  }
}

std::size_t ShmTransport::sessions_of(int pid) const noexcept {
  return static_cast<std::size_t>(
      std::count_if(sessions_.begin(), sessions_.end(), [&](const auto& one) { return one->pid() == pid; }));
}

std::shared_ptr<ShmSession> ShmTransport::session_with(std::uint64_t instance) const {
  const auto found = established_.find(instance);
  auto session = found != established_.end() ? found->second.lock() : nullptr;
  return session != nullptr && !session->has_ended() ? session : nullptr;
}

void ShmTransport::has_session(const std::shared_ptr<ShmSession>& session) {
  if (io::is_exact()) {
    static std::once_flag told;
    std::call_once(told, [&] {
      log_warning("hub " + name_ +
                  ": an exact recording has nothing of what other processes put into shared memory");
    });
  }
  const std::uint64_t instance = session->peer_instance();
  established_[instance] = session;
  if (const auto member = members_.find(instance); member != members_.end()) member->second.problem.clear();
  std::erase_if(failed_, [&](const PeerState& other) { return other.address == session->state().address; });
}

// --- Ports ------------------------------------------------------------------------------------------------------------

void ShmTransport::port_opened(const std::shared_ptr<Port>& port) {
  waker_->hand_over([self = shared_from_this(), weak = std::weak_ptr(port)] {
    if (const auto alive = weak.lock()) self->add_port(alive);
  });
}

void ShmTransport::add_port(const std::shared_ptr<Port>& port) {
  const PortInfo& info = port->info();
  if (info.origin != nullptr || !ports_.try_emplace(info.id, port).second) return;
  if (info.direction == Direction::in) subscribers_.emplace(info.topic, info.id);
  const auto sessions = sessions_;
  for (const auto& session : sessions) session->announce(port);
  if (info.link && info.peer != hub_) {  // it may lead to a hub of another name
    hinted_ = true;
    look_.set();
  }
}

void ShmTransport::port_closed(const PortInfo& port) {
  waker_->hand_over([self = shared_from_this(), port] {
    if (self->ports_.erase(port.id) == 0) return;
    std::erase_if(self->subscribers_, [&](const auto& entry) { return entry.second == port.id; });
    const auto sessions = self->sessions_;
    for (const auto& session : sessions) session->withdraw(port);
  });
}

std::vector<std::shared_ptr<Port>> ShmTransport::ports() const {
  std::vector<std::shared_ptr<Port>> open;
  for (const auto& [id, weak] : ports_) {
    if (auto port = weak.lock()) open.push_back(std::move(port));
  }
  return open;
}

std::vector<std::shared_ptr<Port>> ShmTransport::subscribers_of(const std::string& topic) const {
  std::vector<std::shared_ptr<Port>> open;
  const auto [begin, end] = subscribers_.equal_range(topic);
  for (auto entry = begin; entry != end; ++entry) {
    if (auto port = find_port(entry->second)) open.push_back(std::move(port));
  }
  return open;
}

std::shared_ptr<Port> ShmTransport::find_port(std::uint64_t id) const {
  const auto found = ports_.find(id);
  return found != ports_.end() ? found->second.lock() : nullptr;
}

// --- What a person should know ----------------------------------------------------------------------------------------

void ShmTransport::say(const std::string& problem) {
  if (said_.size() < kSaid && said_.insert(problem).second) log_warning(problem);
}

void ShmTransport::publish_state() {
  std::vector<PeerState> states;
  for (const auto& session : sessions_) {
    if (session_with(session->peer_instance()) == session) states.push_back(session->state());
  }
  for (const auto& [instance, member] : members_) {
    if (established_.contains(instance) || (member.problem.empty() && !member.dialing)) continue;
    PeerState& state = states.emplace_back();
    state.name = hub_;
    state.address = "shm " + member.directory + "/" + member.name;
    state.problem = member.problem.empty() ? "handshake" : member.problem;
  }
  for (const auto& [directory, problem] : own_problems_) {
    PeerState& state = states.emplace_back();
    state.address = "shm " + directory;
    state.problem = problem;
  }
  states.insert(states.end(), failed_.begin(), failed_.end());
  const std::lock_guard lock(mutex_);
  states_ = std::move(states);
}

std::vector<PeerState> ShmTransport::peers() const {
  const std::lock_guard lock(mutex_);
  return states_;
}

}  // namespace horus::HORUS_ABI::msg
