// SPDX-License-Identifier: Apache-2.0
#include <horus/io/tls.hpp>

#include <cerrno>
#include <utility>

#include <horus/io/time.hpp>
#include <horus/io/tls/tls_context.hpp>
#include <horus/io/tls/tls_filter.hpp>

namespace horus::HORUS_ABI::io {

namespace {

using detail::StreamHold;
using detail::TlsContextState;
using detail::TlsFilter;
using detail::TlsHandshake;

constexpr const char* kHandshake = "shake hands with";

// Its place among a server's handshakes.
class Place {
 public:
  Place(detail::TlsHandshakes& places, TlsHandshake& handshake) noexcept
      : places_(places), handshake_(handshake) {}
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { places_.leave(handshake_); }

 private:
  detail::TlsHandshakes& places_;
  TlsHandshake& handshake_;
};

Task<Result<>> shake_hands_in_turn(std::shared_ptr<TlsContextState> context, TlsFilter& filter,
                                   StreamHold self) {
  TlsHandshake handshake;
  handshake.filter = &filter;
  auto entering = context->handshakes.enter(handshake);
  const int refused = co_await entering;
  if (refused == EBUSY) {
    co_return Error(EBUSY, kHandshake, self->label)
        .with_detail("(more handshakes wait than handshakes_waiting allows)");
  }
  if (refused != 0) co_return Error(refused, kHandshake, self->label);
  const Place place(context->handshakes, handshake);
  auto shaking = filter.shake_hands(self);
  auto shaken = co_await shaking;
  if (!shaken && handshake.gave_way) {
    co_return Error(ETIMEDOUT, kHandshake, self->label)
        .with_detail("(it gave its place to others that wait: see handshake_grace)");
  }
  co_return shaken;
}

std::string host_of(const std::string& host_and_port) {
  std::string host = host_and_port.substr(0, host_and_port.rfind(':'));
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return host;
}

}  // namespace

Task<Result<TlsStream>> TlsStream::connect(std::string host_and_port, TlsContext context,
                                           ConnectOptions options) {
  std::string host = host_of(host_and_port);
  auto connecting = TcpStream::connect(std::move(host_and_port), std::move(options));
  auto stream = co_await connecting;
  if (!stream) co_return stream.error();
  auto shaking = connect(*std::move(stream), std::move(context), std::move(host));
  auto shaken = co_await shaking;
  co_return shaken;
}

Task<Result<TlsStream>> TlsStream::connect(ByteStream stream, TlsContext context, std::string name) {
  return shake_hands(std::move(stream), std::move(context), std::move(name));
}

Task<Result<TlsStream>> TlsStream::accept(ByteStream stream, TlsContext context) {
  return shake_hands(std::move(stream), std::move(context), {});
}

Task<Result<TlsStream>> TlsStream::shake_hands(ByteStream stream, TlsContext context, std::string name) {
  const std::shared_ptr<TlsContextState> state = context.state_;
  if (!stream) co_return Error(EBADF, kHandshake, "(the stream is not open)");
  if (!state) co_return Error(EINVAL, kHandshake, stream.name()).with_detail("(an empty TlsContext)");
  state->owner.check("TlsContext");
  if (state->expects_name && name.empty()) {
    co_return Error(EINVAL, kHandshake, stream.name())
        .with_detail("(whose certificate is expected? Give its name, or allowed_names)");
  }
  std::string label = stream.name();
  auto made = std::make_unique<TlsFilter>(std::move(stream), state, std::move(name));
  TlsFilter& filter = *made;
  TlsStream shaken(std::move(made), label);
  Task<Result<>> shaking =
      state->server ? shake_hands_in_turn(state, filter, shaken.state_) : filter.shake_hands(shaken.state_);
  auto in_time = with_timeout(state->handshake_limit, std::move(shaking));
  const auto done = co_await in_time;
  if (!done) co_return done.error().on(kHandshake, label);
  co_return shaken;
}

TlsSession TlsStream::session() const {
  if (!state_) return {};
  tls::Facts facts = static_cast<const TlsFilter&>(*state_->filter).facts();
  TlsSession session;
  session.version = std::move(facts.version);
  session.cipher = std::move(facts.cipher);
  session.protocol = std::move(facts.protocol);
  session.server_name = std::move(facts.server_name);
  session.key_identity = std::move(facts.key_identity);
  session.peer_names = std::move(facts.peer_names);
  session.peer_certificate = std::move(facts.peer_certificate);
  session.resumed = facts.resumed;
  return session;
}

}  // namespace horus::HORUS_ABI::io
