// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/tcp/tcp_transport.hpp>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <poll.h>
#include <unistd.h>

#include <fmt/format.h>

#include <horus/base/log.hpp>
#include <horus/io/time.hpp>
#include <horus/msg/format/names.hpp>

namespace horus::HORUS_ABI::msg {
namespace {

constexpr std::size_t kPeersTogether = 4;  // times TcpHubOptions::max_inbound_bytes
constexpr std::size_t kHandshakesAtOnce = 16;
constexpr const char* kProtocol = "horus-hub";  // ALPN
constexpr int kListenTries = 15;
constexpr int kListenRest_ms = 20;

Error impossible(int code, std::string_view address, std::string_view why) {
  return Error(code, "make a TCP hub", fmt::format("at {} ({})", address, why));
}

std::uint32_t process_here() {
  const std::uint64_t simulated = io::System::here().world_process();
  return static_cast<std::uint32_t>(
      simulated != 0 ? simulated : static_cast<std::uint64_t>(io::System::here().process_id()));
}

LocalPort describe(const Port& port) {
  LocalPort local;
  local.info = port.info();
  local.layout = *port.info().layout;
  local.info.layout = nullptr;
  if (local.info.direction == Direction::out) {
    local.outbox = port.shared_outbox();
    local.max_bytes = local.layout.element_bytes == 0
                          ? local.layout.head_bytes
                          : local.layout.tail_offset + port.outbox().max_tail_bytes();
  } else {
    local.inbox = port.shared_inbox();
  }
  return local;
}

// The TCP hubs of this process. Any thread.
class Neighbours {
 public:
  void remember(const wire::Greeting& hub) {
    const std::lock_guard lock(mutex_);
    hubs_.emplace(hub.process, hub.instance);
  }
  void forget(const wire::Greeting& hub) {
    const std::lock_guard lock(mutex_);
    hubs_.erase({hub.process, hub.instance});
  }
  bool contain(std::uint32_t process, std::uint64_t instance) {
    const std::lock_guard lock(mutex_);
    return hubs_.contains({process, instance});
  }

 private:
  std::mutex mutex_;
  std::set<std::pair<std::uint32_t, std::uint64_t>> hubs_;
};
Neighbours& neighbours() {
  static auto* all = new Neighbours();  // never destroyed: hubs of static objects end later than any static
  return *all;
}

}  // namespace

// --- Making it --------------------------------------------------------------------------------------------------------

TcpTransport::TcpTransport(std::string address, std::string hub, const TcpHubOptions& options)
    : address_(std::move(address)),
      hub_(std::move(hub)),
      options_(options),
      reactor_(io::Reactor::current()),
      waker_(reactor_->waker()),
      inbound_(std::make_shared<InboundBudget>(options_.max_inbound_bytes * kPeersTogether)) {
  greeting_.hub = hub_;
  reactor_->system().random_bytes(&greeting_.instance, sizeof greeting_.instance);
  greeting_.process = process_here();
  greeting_.idle_ms = static_cast<std::uint32_t>(options_.idle_limit.count() / 1'000'000);
  reached_at_ = address_;
  neighbours().remember(greeting_);
}

TcpTransport::~TcpTransport() { neighbours().forget(greeting_); }

Result<> TcpTransport::check(const std::string& address, const std::string& hub,
                             const TcpHubOptions& options) {
  if (hub.empty() || hub.size() > wire::kLongestName || !is_text(hub))
    return impossible(EINVAL, address, "a hub's name has 1 to 255 bytes of printable UTF-8");
  if (auto sound = options.check(); !sound) return sound.error();
  if (options.role == TcpRole::connect) return {};
  const auto where = io::Address::parse(address);
  if (!where || !where->is_ip())
    return impossible(EINVAL, address, "to listen it takes a numeric address and a port, 127.0.0.1:8080");
  if (!where->is_loopback() && !options.insecure && !options.tls) {
    return impossible(
        EPERM, address,
        "other machines would reach it, unencrypted: say TcpHubOptions::with_tls(), or use 127.0.0.1 or "
        "TcpRole::connect, or TcpHubOptions::insecure when the network is trusted");
  }
  return {};
}

Result<std::shared_ptr<Transport>> TcpTransport::create(const std::string& address, const std::string& hub,
                                                        const TcpHubOptions& options) {
  // The constructor is private to everyone else.
  std::shared_ptr<TcpTransport> transport(new TcpTransport(address, hub, options));
  if (options.tls) {
    if (auto ready = transport->use_tls(); !ready) return ready.error();
  }
  if (options.role != TcpRole::connect) {
    Result<> listening = transport->listen();
    // A program that was killed may hold the address a little longer: its ring ends in the background.
    const bool must = options.role == TcpRole::listen && !transport->reactor_->clock().nature().only_asleep;
    for (int tries = 0; must && listening.code() == EADDRINUSE && tries < kListenTries; ++tries) {
      static_cast<void>(::poll(nullptr, 0, kListenRest_ms));
      listening = transport->listen();
    }
    const bool elsewhere = listening.code() == EADDRINUSE || listening.code() == EADDRNOTAVAIL;
    if (!listening && (options.role == TcpRole::listen || !elsewhere)) return listening.error();
  }
  if (options.role != TcpRole::listen) {
    Target& target = transport->targets_.emplace_back();
    target.address = address;
    target.may_listen = options.role == TcpRole::automatic;
  }
  for (const std::string& peer : options.peers) transport->targets_.emplace_back().address = peer;
  for (Target& target : transport->targets_) {
    target.state.address = "tcp " + target.address;
    target.state.problem = "not tried yet";
  }
  transport->publish_state();
  static_cast<void>(transport->reactor_->spawn(run(transport), "tcp hub " + hub));
  return std::shared_ptr<Transport>(std::move(transport));
}

Result<> TcpTransport::use_tls() {
  io::TlsOptions how;
  how.certificate = options_.tls->certificate;
  how.private_key = options_.tls->private_key;
  how.authority = options_.tls->authority;
  how.keys = options_.tls->keys;
  how.handshake_limit = options_.handshake_limit;
  how.handshakes_at_once = kHandshakesAtOnce;
  how.handshakes_waiting = options_.max_connections;
  how.protocols = {kProtocol};
  // Hubs are known by what they are called, not by where they are.
  if (how.keys.empty())
    how.allowed_names = options_.tls->allowed.empty() ? std::vector<std::string>{"*"} : options_.tls->allowed;
  io::TlsOptions as_client = how;
  if (!as_client.keys.empty()) as_client.keys.resize(1);
  auto server = io::TlsContext::server_at_once(std::move(how));
  if (!server) return server.error();
  auto client = io::TlsContext::client_at_once(std::move(as_client));
  if (!client) return client.error();
  tls_server_ = *std::move(server);
  tls_client_ = *std::move(client);
  return {};
}

Result<> TcpTransport::listen() {
  auto listener = io::TcpListener::listen(address_);
  if (!listener) return listener.error();
  listener_ = std::move(*listener);
  const std::lock_guard lock(mutex_);
  reached_at_ = listener_.local_address().to_string();
  return {};
}

// --- Any thread -------------------------------------------------------------------------------------------------------

void TcpTransport::port_opened(const std::shared_ptr<Port>& port) {
  if (port->info().origin != nullptr) return;  // another transport's: nothing is passed on
  LocalPort local = describe(*port);
  if (io::Reactor::current() == reactor_) return settle_port(std::move(local));
  waker_->hand_over([self = shared_from_this(), local = std::move(local)]() mutable {
    self->settle_port(std::move(local));
  });
}

void TcpTransport::port_closed(const PortInfo& port) {
  if (port.origin != nullptr) return;
  if (io::Reactor::current() == reactor_) return remove_port(port);
  waker_->hand_over([self = shared_from_this(), port] { self->remove_port(port); });
}

std::vector<PeerState> TcpTransport::peers() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

std::string TcpTransport::address() const {
  const std::lock_guard lock(mutex_);
  return reached_at_;
}

void TcpTransport::close() {
  if (io::Reactor::current() == reactor_) return stop_.set();
  waker_->hand_over([self = shared_from_this()] { self->stop_.set(); });
}

bool TcpTransport::is_neighbour(const wire::Greeting& peer) const {
  return peer.process == greeting_.process && neighbours().contain(peer.process, peer.instance);
}

void TcpTransport::settle_port(LocalPort port) {
  const std::uint64_t id = port.info.id;
  const auto [entry, fresh] = ports_.emplace(id, std::move(port));
  if (!fresh) return;
  const LocalPort& kept = entry->second;
  for (const Connection& connection : connections_) connection.session->port_opened(kept);
}

void TcpTransport::remove_port(const PortInfo& port) {
  ports_.erase(port.id);
  seen_.forget_subscriber(port.id);
  for (const Connection& connection : connections_) connection.session->port_closed(port);
}

// --- Its tasks --------------------------------------------------------------------------------------------------------

Task<> TcpTransport::run(std::shared_ptr<TcpTransport> self) {
  Scope scope("tcp hub", Failures::log);
  self->scope_ = &scope;
  if (self->listener_ && !(!self->targets_.empty() && self->targets_.front().may_listen))
    static_cast<void>(scope.spawn(self->accept_all(), "tcp accept"));
  for (Target& target : self->targets_)
    static_cast<void>(scope.spawn(self->reach(target), "tcp " + target.address));
  auto waiting = self->wait_for_end();
  co_await waiting;
  scope.cancel();
  co_await scope.join();
  self->scope_ = nullptr;
  self->listener_.reset();
  self->ports_.clear();
  self->publish_state();
  self->alive_.store(false, std::memory_order_relaxed);
}

// What publishers left behind when they closed is still sent, for a while.
Task<> TcpTransport::wait_for_end() {
  try {
    co_await stop_.wait();
    const std::int64_t until = now_ns() + options_.linger.count();
    std::vector<std::shared_ptr<TcpSession>> sessions;
    sessions.reserve(connections_.size());
    for (const Connection& connection : connections_) sessions.push_back(connection.session);
    for (const auto& session : sessions) {
      auto draining = with_timeout(Duration(std::max<std::int64_t>(until - now_ns(), 0)), session->drained());
      static_cast<void>(co_await draining);
    }
  } catch (const Error& error) {
    if (!error.cancelled()) log_error(error.message());
  }
}

Task<> TcpTransport::reach(Target& target) {
  Duration pause = options_.retry_first;
  while (true) {
    if (target.may_listen) {
      if (!listener_) static_cast<void>(listen());  // whoever had the address may be gone
      if (listener_) {
        target.state = {};
        publish_state();
        auto accepting = accept_all();
        co_await accepting;
        listener_.reset();
      }
    }
    // The other hub may have come to us meanwhile, or by another of its addresses.
    while (target.instance != 0 && find(target.instance) != nullptr) {
      session_ended_.reset();
      co_await session_ended_.wait();
    }
    bool established = false;
    auto connecting = connect(target, established);
    co_await connecting;
    if (established) pause = options_.retry_first;
    co_await sleep(jittered(pause));
    pause = std::min(pause * 2, options_.retry_most);
  }
}

Task<> TcpTransport::connect(Target& target, bool& established) {
  io::ConnectOptions how;
  how.timeout = options_.retry_most;
  auto connecting = io::TcpStream::connect(target.address, how);
  Result<io::TcpStream> stream = co_await connecting;
  Result<> ended;
  if (stream) {
    auto holding = hold(std::move(*stream), true, &target);
    ended = co_await holding;
  } else {
    ended = stream.error();
  }
  if (target.state.connected) established = true;
  target.state.connected = false;
  target.state.problem = ended ? std::string("the connection ended") : ended.error().message();
  const bool duplicate = target.instance != 0 && find(target.instance) != nullptr;
  const bool cancelled = !ended && ended.error().cancelled();
  if (!target.told && !cancelled && !duplicate)
    log_warning(fmt::format("hub {}: {}; trying again", hub_, target.state.problem));
  target.told = true;
  publish_state();
}

Duration TcpTransport::jittered(Duration pause) {
  std::uint16_t chance = 0;
  reactor_->system().random_bytes(&chance, sizeof chance);
  const std::int64_t tenth = pause.count() / 10;
  return pause - Duration(tenth) + Duration(2 * tenth * chance / UINT16_MAX);
}

Task<> TcpTransport::accept_all() {
  while (true) {
    auto accepting = listener_.accept();
    Result<io::TcpStream> stream = co_await accepting;
    if (!stream) {
      if (stream.error().cancelled()) throw Error(stream.error());
      log_error(fmt::format("hub {}: {}", hub_, stream.error().message()));
      co_return;
    }
    const std::string host = stream->peer_address().host();
    std::uint32_t all = 0;
    for (const auto& [other, count] : incoming_) all += count;
    const auto found = incoming_.find(host);
    const std::uint32_t from_there = found == incoming_.end() ? 0 : found->second;
    const bool too_many = all >= options_.max_connections;
    const bool full = too_many || from_there >= options_.max_connections_per_address;
    if (full && !make_room(too_many ? std::string() : host)) {
      const std::string problem =
          too_many ? fmt::format("refused: {} connections are open (TcpHubOptions::max_connections)", all)
                   : fmt::format(
                         "refused: {} connections from there are open "
                         "(TcpHubOptions::max_connections_per_address)",
                         from_there);
      remember_failure(stream->peer_address().to_string(), problem);
      continue;  // the stream closes
    }
    ++incoming_[host];
    static_cast<void>(scope_->spawn(serve(std::move(*stream)), "tcp connection"));
  }
}

Task<> TcpTransport::serve(io::TcpStream stream) {
  struct Place {  // among the connections
    std::map<std::string, std::uint32_t>& places;
    std::string host;
    Place(std::map<std::string, std::uint32_t>& all, std::string name) : places(all), host(std::move(name)) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place() {
      const auto found = places.find(host);
      if (--found->second == 0) places.erase(found);
    }
  };
  const Place place(incoming_, stream.peer_address().host());
  const std::string address = stream.peer_address().to_string();
  auto holding = hold(std::move(stream), false, nullptr);
  const Result<> ended = co_await holding;
  const bool left = ended.code() == kEndOfStream || ended.code() == kTruncated;
  if (!ended && !left && !ended.error().cancelled()) remember_failure(address, ended.error().message());
}

// The connection as it is, or encrypted. `target`: whom we connected to; null: who came to us.
Task<Result<io::ByteStream>> TcpTransport::secured(io::TcpStream stream, const Target* target) {
  if (!options_.tls) co_return Result<io::ByteStream>(std::move(stream));
  std::string host =
      target == nullptr ? std::string() : target->address.substr(0, target->address.rfind(':'));
  Task<Result<io::TlsStream>> shaking =
      target == nullptr ? io::TlsStream::accept(std::move(stream), tls_server_)
                        : io::TlsStream::connect(std::move(stream), tls_client_, std::move(host));
  auto shaken = co_await shaking;
  if (!shaken) co_return shaken.error();
  co_return Result<io::ByteStream>(*std::move(shaken));
}

Task<Result<>> TcpTransport::hold(io::TcpStream stream, bool outgoing, Target* target) {
  const io::Address peer = stream.peer_address();
  const std::string name = "tcp " + peer.to_string();
  const bool same_machine = peer.is_loopback();
  auto securing = secured(std::move(stream), target);
  auto bytes = co_await securing;
  if (!bytes) co_return bytes.error();
  auto session =
      std::make_shared<TcpSession>(std::make_unique<TcpSessionStream>(*std::move(bytes)), name, greeting_,
                                   options_, same_machine, static_cast<SessionOwner&>(*this));
  Connection& added = connections_.emplace_back();
  added.session = session;
  added.outgoing = outgoing;
  added.host = outgoing ? std::string() : peer.host();
  added.since_ns = now_ns();
  added.target = target;
  auto running = TcpSession::run(session);
  Result<> ended = co_await running;
  std::erase_if(connections_, [&](const Connection& one) { return one.session == session; });
  if (session->established()) {
    log_info(fmt::format("hub {}: lost hub {} at {} ({})", hub_, session->peer().hub, name,
                         ended ? std::string("it ended") : ended.error().message()));
  }
  session_ended_.set();
  publish_state();
  co_return ended;
}

}  // namespace horus::HORUS_ABI::msg
