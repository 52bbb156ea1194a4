// SPDX-License-Identifier: Apache-2.0
#include <horus/io/tls/tls_context.hpp>

#include <cerrno>
#include <utility>

#include <horus/io/file_contents.hpp>
#include <horus/io/offload.hpp>
#include <horus/io/reactor.hpp>
#include <horus/io/tls/load_engine.hpp>
#include <horus/io/tls/seam_chance.hpp>
#include <horus/io/tls/tls_filter.hpp>

namespace horus::HORUS_ABI::io {

namespace {

constexpr std::size_t kPemLimit = std::size_t{4} << 20;  // bytes of a file with certificates
constexpr std::size_t kTicketsKept = 64;                 // servers
constexpr const char* kMakingContext = "make a TLS context";

Result<std::shared_ptr<tls::EngineContext>> make_engine_context(const tls::ContextSettings& settings) {
  const auto engine = tls::load_engine();
  if (!engine) return engine.error();
  tls::Failure failure;
  auto context = (*engine)->context(settings, failure);
  if (context == nullptr) return Error(EINVAL, kMakingContext).with_detail(failure.text);
  return context;
}

Result<> check(const TlsOptions& options) {
  const auto wrong = [](std::string_view what) { return Error(EINVAL, kMakingContext).with_detail(what); };
  if (options.handshake_limit <= Duration::zero()) return wrong("(handshake_limit has to be above zero)");
  if (options.close_limit < Duration::zero()) return wrong("(close_limit is negative)");
  if (options.handshakes_at_once == 0) return wrong("(handshakes_at_once has to be at least 1)");
  if (!options.verify && !options.allowed_names.empty())
    return wrong("(allowed_names without verification: a name that nobody has checked is no name)");
  return {};
}

Result<tls::ContextSettings> settings_of(const TlsOptions& options, bool server) {
  tls::ContextSettings settings;
  settings.server = server;
  settings.certificate = options.certificate;
  settings.private_key = options.private_key;
  settings.authorities = options.authority;
  settings.verify_peer = server ? options.ask_clients || !options.allowed_names.empty() : options.verify;
  settings.system_authorities =
      !server && settings.authorities.empty() && settings.verify_peer && options.keys.empty();
  if (server && settings.verify_peer && settings.authorities.empty() && options.keys.empty()) {
    return Error(EINVAL, kMakingContext)
        .with_detail("(a server that asks for certificates has to know whose: with_authority())");
  }
  settings.tls12 = options.tls12;
  settings.protocols = options.protocols;
  settings.allowed = options.allowed_names;
  for (const auto& [identity, secret] : options.keys) settings.keys.push_back({identity, secret});
  settings.chance = tls::seam_chance();
  return settings;
}

std::shared_ptr<detail::TlsContextState> state_of(const TlsOptions& options,
                                                  const tls::ContextSettings& settings,
                                                  std::shared_ptr<tls::EngineContext> engine) {
  auto state = std::make_shared<detail::TlsContextState>(options);
  state->server = settings.server;
  state->expects_name =
      !settings.server && settings.verify_peer && settings.keys.empty() && settings.allowed.empty();
  state->resume = options.resume && settings.keys.empty();
  state->handshake_limit = options.handshake_limit;
  state->close_limit = options.close_limit;
  state->engine = std::move(engine);
  // Where chance passes the seam it does so on the loop's thread alone.
  state->offload = state->engine->is_slow() && settings.chance == nullptr;
  return state;
}

}  // namespace

namespace detail {

TlsHandshakes::~TlsHandshakes() {
  if (pending()) Reactor::current()->timers().cancel(*this);
}

Task<int> TlsHandshakes::enter(TlsHandshake& handshake) {
  if (!places_.try_acquire()) {
    if (waiting_ >= most_waiting_) co_return EBUSY;
    ++waiting_;
    arm();
    bool mine = true;
    try {
      co_await places_.acquire();
    } catch (const Error&) {
      mine = false;
    }
    --waiting_;
    if (!mine) {
      arm();
      co_return ECANCELED;
    }
  }
  ++running_;
  handshake.since_ns = now_ns();
  list_.push_back(handshake);
  arm();
  co_return 0;
}

void TlsHandshakes::leave(TlsHandshake& handshake) noexcept {
  if (handshake.gave_way) {
    --leaving_;
  } else {
    handshake.ListHook<TlsHandshakesTag>::unlink();
  }
  --running_;
  places_.release();
  arm();
}

void TlsHandshakes::arm() noexcept {
  TimerQueue& timers = Reactor::current()->timers();
  if (pending()) timers.cancel(*this);
  const TlsHandshake* oldest = list_.front();
  if (oldest == nullptr || waiting_ <= leaving_) return;
  expired = [](Timer& timer) noexcept { static_cast<TlsHandshakes&>(timer).oldest_gives_way(); };
  timers.insert(*this, saturating_add(oldest->since_ns, grace_.count()));
}

void TlsHandshakes::oldest_gives_way() noexcept {
  if (TlsHandshake* oldest = list_.pop_front()) {
    oldest->gave_way = true;
    ++leaving_;
    oldest->filter->abandon();
  }
  arm();
}

void TlsTickets::keep(const std::string& name, std::shared_ptr<void> ticket) {
  if (const auto known = tickets_.find(name); known != tickets_.end()) {
    known->second = std::move(ticket);
    return;
  }
  tickets_.emplace(name, std::move(ticket));
  order_.push_back(name);
  while (order_.size() > kTicketsKept) {
    tickets_.erase(order_.front());
    order_.pop_front();
  }
}

std::shared_ptr<void> TlsTickets::take(const std::string& name) noexcept {
  const auto known = tickets_.find(name);
  return known == tickets_.end() ? nullptr : std::move(known->second);
}

}  // namespace detail

Task<Result<TlsContext>> TlsContext::client(TlsOptions options) { return make(std::move(options), false); }
Task<Result<TlsContext>> TlsContext::server(TlsOptions options) { return make(std::move(options), true); }

Result<TlsContext> TlsContext::client_at_once(TlsOptions options) {
  return make_at_once(std::move(options), false);
}
Result<TlsContext> TlsContext::server_at_once(TlsOptions options) {
  return make_at_once(std::move(options), true);
}

Task<Result<TlsContext>> TlsContext::make(TlsOptions options, bool server) {
  if (const auto fine = check(options); !fine) co_return fine.error();
  const std::pair<const std::string*, std::string*> files[] = {
      {&options.certificate_file, &options.certificate},
      {&options.private_key_file, &options.private_key},
      {&options.authority_file, &options.authority},
  };
  for (const auto& [file, text] : files) {
    if (file->empty()) continue;
    auto reading = read_file(*file, kPemLimit);
    auto contents = co_await reading;
    if (!contents) co_return contents.error();
    *text = *std::move(contents);
  }
  auto settings = settings_of(options, server);
  if (!settings) co_return settings.error();
  const bool through_seam = settings->chance != nullptr;
  Result<std::shared_ptr<tls::EngineContext>> engine(nullptr);
  if (through_seam) {
    engine = make_engine_context(*settings);
  } else {
    auto making = offload(&make_engine_context, *settings);
    engine = co_await making;
  }
  if (!engine) co_return engine.error();
  TlsContext context;
  context.state_ = state_of(options, *settings, *std::move(engine));
  co_return context;
}

Result<TlsContext> TlsContext::make_at_once(TlsOptions options, bool server) {
  if (const auto fine = check(options); !fine) return fine.error();
  if (!options.certificate_file.empty() || !options.private_key_file.empty() ||
      !options.authority_file.empty())
    return Error(EINVAL, kMakingContext)
        .with_detail("(files are read by client() and server(), which wait for the disk)");
  auto settings = settings_of(options, server);
  if (!settings) return settings.error();
  auto engine = make_engine_context(*settings);
  if (!engine) return engine.error();
  TlsContext context;
  context.state_ = state_of(options, *settings, *std::move(engine));
  return context;
}

std::size_t TlsContext::handshakes() const noexcept { return state_ ? state_->handshakes.running() : 0; }

}  // namespace horus::HORUS_ABI::io
