// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/shm_transport.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/shm_session.hpp>

namespace horus::msg {
namespace {

constexpr Duration kLastBreath =
    std::chrono::milliseconds(20);  // until a dying process has closed everything
constexpr std::size_t kMaxNamePart =
    24;  // characters of a hub's name in a path: a socket's path has 107 in all

std::string default_directory() {
  if (const char* chosen = std::getenv("HORUS_RUNTIME_DIR"); chosen != nullptr && *chosen != '\0')
    return chosen;
  if (const char* session = std::getenv("XDG_RUNTIME_DIR"); session != nullptr && *session != '\0')
    return std::string(session) + "/horus";
  return fmt::format("/tmp/horus-{}", ::geteuid());
}

}  // namespace

Result<std::string> runtime_directory(const std::string& wanted) {
  const std::string directory = wanted.empty() ? default_directory() : wanted;
  if (::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST)
    return Error(errno, "make the hubs' directory", directory);
  struct stat status{};
  if (::lstat(directory.c_str(), &status) != 0) return Error(errno, "look at the hubs' directory", directory);
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid() || (status.st_mode & 0022) != 0) {
    return Error(EPERM, "use the hubs' directory",
                 directory +
                     " (it must be a directory of this user that nobody else may write to; remove it, or set "
                     "HORUS_RUNTIME_DIR)");
  }
  return directory;
}

// A readable part, and a hash that tells long and odd names apart.
std::string socket_prefix(const std::string& hub) {
  std::string name;
  for (const char c : hub.substr(0, kMaxNamePart)) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    name += plain ? c : '_';
  }
  Layout hashed;
  hashed.name = hub;
  hashed.settle();
  return fmt::format("{}-{:08x}.", name, static_cast<std::uint32_t>(hashed.hash));
}

Result<std::shared_ptr<Transport>> ShmTransport::create(std::string hub, ShmOptions options) {
  static std::atomic<std::uint64_t> last{0};
  auto directory = runtime_directory(options.directory);
  if (!directory) return directory.error();
  auto transport = std::make_shared<ShmTransport>(std::move(hub), std::move(options), std::move(*directory));
  transport->instance_ = fmt::format("{}{}.{}", socket_prefix(transport->hub_), ::getpid(), ++last);
  const std::string path = transport->directory_ + "/" + transport->instance_;
  static_cast<void>(::unlink(path.c_str()));  // of a dead process that had our number
  auto listener = io::UnixListener::listen(path);
  if (!listener) return listener.error();
  transport->listener_ = std::move(*listener);
  static_cast<void>(::chmod(path.c_str(), 0600));
  io::Reactor::current()->spawn(transport->run(transport), "hub " + transport->hub_);
  return std::shared_ptr<Transport>(transport);
}

ShmTransport::ShmTransport(std::string hub, ShmOptions options, std::string directory)
    : hub_(std::move(hub)),
      options_(std::move(options)),
      directory_(std::move(directory)),
      reactor_(io::Reactor::current()),
      waker_(reactor_->waker()) {}

ShmTransport::~ShmTransport() = default;

// --- Its life ---------------------------------------------------------------------------------------------------------

Task<> ShmTransport::run(std::shared_ptr<ShmTransport> self) {
  Scope scope("hub", Failures::log);
  scope_ = &scope;
  scope.spawn(accept(self), "accept");
  scope.spawn(find_members(self, hub_), "find hubs");
  for (const auto& port : ports()) find_peer_of(port->info());
  try {
    if (!closing_) co_await closed_.wait();
  } catch (const Error&) {
    // The reactor ends.
  }
  alive_.store(false, std::memory_order_release);
  scope_ = nullptr;
  scope.cancel();
  co_await scope.join();
  for (const auto& source : sources_) source->close();
  sources_.clear();
  listener_.reset();
  static_cast<void>(::unlink((directory_ + "/" + instance_).c_str()));
}

void ShmTransport::close() {
  waker_->hand_over([self = shared_from_this()] {
    self->closing_ = true;
    self->closed_.set();
  });
}

Task<> ShmTransport::accept(std::shared_ptr<ShmTransport> self) {
  while (true) {
    auto stream = co_await listener_.accept();
    if (!stream) {
      if (!stream.error().cancelled())
        log_error(
            fmt::format("hub {}: accept: {}: no more hubs will be met", hub_, stream.error().message()));
      co_return;
    }
    if (sessions_.size() >= options_.max_peers) {
      log_warning(fmt::format("hub {}: {} peers are the limit (ShmOptions::max_peers): one more was refused",
                              hub_, options_.max_peers));
      continue;
    }
    scope_->spawn(serve(self, std::move(*stream), "shm"), "hub session");
  }
}

// Whoever comes later finds those who are there, so nobody has to look twice.
Task<> ShmTransport::find_members(std::shared_ptr<ShmTransport> self, std::string hub) {
  const std::string prefix = socket_prefix(hub);
  std::vector<std::string> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory_, error)) {
    std::string name = entry.path().filename();
    if (name.starts_with(prefix) && name != instance_) found.push_back(std::move(name));
  }
  std::sort(found.begin(), found.end());
  for (const std::string& name : found) {
    const bool known = std::any_of(sessions_.begin(), sessions_.end(),
                                   [&](const ShmSession* session) { return session->peer() == name; });
    if (known || sessions_.size() >= options_.max_peers) continue;
    auto stream = co_await reach(name);
    if (stream) {
      scope_->spawn(serve(self, std::move(*stream), "shm " + name), "hub session");
    } else if (stream.error().cancelled()) {
      co_return;
    } else if (stream.code() != ENOENT && stream.code() != ECONNREFUSED) {
      log_warning(fmt::format("hub {}: {}", hub_, stream.error().message()));
    }
  }
}

// Connects to a hub. The socket of a process that died refuses, and is removed.
Task<Result<io::UnixStream>> ShmTransport::reach(std::string instance) {
  const std::string path = directory_ + "/" + instance;
  auto stream = co_await io::UnixStream::connect(path, options_.handshake_limit);
  if (!stream && stream.code() == ECONNREFUSED) static_cast<void>(::unlink(path.c_str()));
  co_return stream;
}

// A session is over: its peer may have died without clearing up behind itself.
Task<> ShmTransport::clear_after(std::shared_ptr<ShmTransport>, std::string instance) {
  co_await sleep(kLastBreath);
  auto stream = co_await reach(std::move(instance));
}

Task<> ShmTransport::serve(std::shared_ptr<ShmTransport> self, io::UnixStream stream, std::string address) {
  ShmSession session(*this, ++last_session_, std::move(stream), std::move(address));
  sessions_.push_back(&session);
  auto running = session.run();
  co_await running;
  forget(session);
  if (!session.peer().empty() && scope_ != nullptr)
    scope_->spawn(clear_after(self, session.peer()), "clear up");
}

bool ShmTransport::claim(const ShmSession& session, std::uint64_t publisher, std::uint64_t subscriber) {
  return claims_.try_emplace({session.peer(), publisher, subscriber}, session.number()).second;
}

void ShmTransport::forget(ShmSession& session) {
  std::erase(sessions_, &session);
  std::erase_if(claims_, [&](const auto& claim) { return claim.second == session.number(); });
  for (ShmSession* other : sessions_) {
    if (other->peer() != session.peer()) continue;
    for (const auto& port : ports()) other->announce_again(*port);
  }
  const std::lock_guard lock(mutex_);
  // What went wrong stays to be seen; a peer that just left does not.
  const auto state = states_.find(session.number());
  if (state != states_.end() && state->second.problem.empty()) states_.erase(state);
  while (states_.size() > 2 * options_.max_peers) states_.erase(states_.begin());
}

// --- Ports ------------------------------------------------------------------------------------------------------------

void ShmTransport::port_opened(const std::shared_ptr<Port>& port) {
  waker_->hand_over([self = shared_from_this(), weak = std::weak_ptr(port)] {
    if (const auto alive = weak.lock()) self->add_port(alive);
  });
}

void ShmTransport::add_port(const std::shared_ptr<Port>& port) {
  if (port->info().origin != nullptr) return;
  ports_[port->info().id] = port;
  for (ShmSession* session : sessions_) session->announce(*port);
  find_peer_of(port->info());
}

// A link may lead to a hub of another name.
void ShmTransport::find_peer_of(const PortInfo& port) {
  if (port.link && port.peer != hub_ && scope_ != nullptr)
    scope_->spawn(find_members(shared_from_this(), port.peer), "find hubs");
}

void ShmTransport::port_closed(const PortInfo& port) {
  waker_->hand_over([self = shared_from_this(), port] {
    self->ports_.erase(port.id);
    std::erase_if(self->claims_, [&](const auto& claim) { return std::get<2>(claim.first) == port.id; });
    for (ShmSession* session : self->sessions_) session->withdraw(port);
  });
}

std::vector<std::shared_ptr<Port>> ShmTransport::ports() const {
  std::vector<std::shared_ptr<Port>> open;
  for (const auto& [id, weak] : ports_) {
    if (auto port = weak.lock()) open.push_back(std::move(port));
  }
  return open;
}

std::shared_ptr<Port> ShmTransport::find_port(std::uint64_t id) const {
  const auto found = ports_.find(id);
  return found != ports_.end() ? found->second.lock() : nullptr;
}

Result<std::shared_ptr<WakeSource>> ShmTransport::wake_source(const Owner& owner) {
  const std::shared_ptr<io::Waker>& waker = owner.waker != nullptr ? owner.waker : waker_;
  for (const auto& source : sources_) {
    if (source->waker() == waker) return source;
  }
  auto source = WakeSource::create(waker);
  if (source) sources_.push_back(*source);
  return source;
}

void ShmTransport::set_peer_state(std::uint64_t session, PeerState state) {
  const std::lock_guard lock(mutex_);
  states_[session] = std::move(state);
}

std::vector<PeerState> ShmTransport::peers() const {
  const std::lock_guard lock(mutex_);
  std::vector<PeerState> peers;
  for (const auto& [number, state] : states_) {
    // Two that found each other at the same moment have two sessions.
    const bool twice = std::any_of(peers.begin(), peers.end(), [&](const PeerState& other) {
      return other.address == state.address && other.name == state.name && other.problem == state.problem;
    });
    if (!twice) peers.push_back(state);
  }
  return peers;
}

}  // namespace horus::msg
