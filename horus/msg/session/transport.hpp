// SPDX-License-Identifier: Apache-2.0
// How topics leave the process: a transport hears of every port of its hub, finds those of other processes, and connects
// the two, by links over shared memory or by ports of its own that stand for remote ones.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <horus/base/export.hpp>
#include <horus/msg/session/port.hpp>

namespace horus::HORUS_ABI {

/// One other process that a hub reaches, or tries to.
struct PeerState {
  std::string name;     ///< of its hub; empty before the first handshake
  std::string address;  ///< "tcp 10.0.0.2:8080", "shm pid 4711"
  bool connected = false;
  std::string problem;  ///< why it is not, or what was refused; empty: nothing to tell
};

}  // namespace horus::HORUS_ABI

namespace horus::HORUS_ABI::msg {

/// Carries topics between a hub and others. Every call comes from a thread that opens or closes a port, without locks
/// held by them but the hub's own: a transport does its work, opening ports of its own too, later and on the reactor that
/// it was made on.
class HORUS_API Transport {
 public:
  Transport() = default;
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  virtual ~Transport() = default;

  /// Ports that are open already are announced when the transport joins the hub.
  virtual void port_opened(const std::shared_ptr<Port>& port) = 0;
  virtual void port_closed(const PortInfo& port) = 0;
  /// Any thread.
  [[nodiscard]] virtual std::vector<PeerState> peers() const = 0;
  /// False when the reactor that it worked on has ended.
  [[nodiscard]] virtual bool alive() const noexcept = 0;
  /// Where others reach this hub, for people; empty where there is no such place. Any thread.
  [[nodiscard]] virtual std::string address() const { return {}; }
  /// The hub goes. Whatever still runs ends by itself.
  virtual void close() = 0;
};

/// Makes a transport for a hub, on this thread's reactor.
using TransportMaker = std::function<Result<std::shared_ptr<Transport>>(HubCore& hub)>;

/// True when the two meet: the same topic on the same hub, or the two ends of one link.
[[nodiscard]] HORUS_API bool meet(const PortInfo& out, const PortInfo& in) noexcept;

/// Connects two ports of this process. `far_end`: the inbox takes messages for another process, which settles the
/// account later. Errors: those of Outbox::attach; ENOMEM. Any thread.
HORUS_API Result<> connect_here(Outbox& outbox, const std::shared_ptr<Inbox>& inbox,
                                std::shared_ptr<FarEnd> far_end = nullptr, Role role = Role::subscriber);

}  // namespace horus::HORUS_ABI::msg
