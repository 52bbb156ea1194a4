// SPDX-License-Identifier: Apache-2.0
// What a TlsContext stands for, and whose turn it is to shake hands. One thread. Internal.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include <horus/base/intrusive_list.hpp>
#include <horus/base/result.hpp>
#include <horus/io/base/owner_thread.hpp>
#include <horus/io/byte_stream.hpp>
#include <horus/io/loop/timer_queue.hpp>
#include <horus/io/tls.hpp>
#include <horus/io/tls/engine.hpp>
#include <horus/task/event.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::io::detail {

struct TlsHandshakesTag;

/// One handshake that has a place.
struct TlsHandshake : ListHook<TlsHandshakesTag> {
  TlsFilter* filter = nullptr;
  std::int64_t since_ns = 0;
  bool gave_way = false;  // others wait for its place
};

/// Places for a server's handshakes. A peer that begins one and goes on slowly, or not at all, keeps its place for the grace
/// only, once others wait: what it costs is bounded in number and in time.
class TlsHandshakes : private Timer {
 public:
  TlsHandshakes(std::size_t places, std::size_t waiting, Duration grace) noexcept
      : places_(places), most_waiting_(waiting), grace_(grace) {}
  TlsHandshakes(const TlsHandshakes&) = delete;
  TlsHandshakes& operator=(const TlsHandshakes&) = delete;
  ~TlsHandshakes();

  /// Waits for a place, which `handshake` has until leave(): 0, EBUSY when too many wait, ECANCELED.
  Task<int> enter(TlsHandshake& handshake);
  void leave(TlsHandshake& handshake) noexcept;
  [[nodiscard]] std::size_t running() const noexcept { return running_; }

 private:
  // Has the oldest give way as soon as its grace is over, while somebody waits.
  void arm() noexcept;
  void oldest_gives_way() noexcept;

  IntrusiveList<TlsHandshake, TlsHandshakesTag> list_;  // the oldest first, without those that gave way
  Semaphore places_;
  std::size_t running_ = 0;
  std::size_t waiting_ = 0;
  std::size_t leaving_ = 0;  // gave way, and still have their place
  std::size_t most_waiting_;
  Duration grace_;
};

/// Tickets of servers that were connected to before: each is used once (RFC 8446, appendix C.4).
class TlsTickets {
 public:
  void keep(const std::string& name, std::shared_ptr<void> ticket);
  std::shared_ptr<void> take(const std::string& name) noexcept;

 private:
  std::map<std::string, std::shared_ptr<void>> tickets_;
  std::deque<std::string> order_;  // the oldest first
};

struct TlsContextState {
  explicit TlsContextState(const TlsOptions& options) noexcept
      : handshakes(options.handshakes_at_once, options.handshakes_waiting, options.handshake_grace) {}

  std::shared_ptr<tls::EngineContext> engine;
  bool server = false;
  bool expects_name = false;  // a client's peers have to be named
  bool resume = true;
  bool offload = false;  // steps of a handshake may take long
  Duration handshake_limit{};
  Duration close_limit{};
  OwnerThread owner;
  TlsHandshakes handshakes;
  TlsTickets tickets;
};

}  // namespace horus::HORUS_ABI::io::detail
