// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/hub.hpp>

#include <map>
#include <mutex>
#include <utility>

#include <horus/msg/door/door.hpp>
#include <horus/msg/shm/shm_transport.hpp>
#include <horus/msg/tcp/tcp_transport.hpp>

namespace horus::HORUS_ABI {

Hub::Hub(std::string name) : core_(std::make_shared<msg::HubCore>(std::move(name))) {
  msg::door::open_once();
}

Result<Hub> Hub::shm(std::string name, const ShmOptions& options) {
  Hub hub(name);
  auto carried = hub.core_->carry(
      [name, options](msg::HubCore& core) { return msg::ShmTransport::create(name, options, core.memory()); },
      true);
  if (!carried) {
    // What was tried within; the cause stands behind it, once.
    const Error& why = carried.error();
    std::string where = name + ": " + why.operation();
    if (!why.target().empty()) where.append(" ").append(why.target());
    return why.on("Hub::shm", where);
  }
  return hub;
}

Result<Hub> Hub::global_hub(std::string name, const ShmOptions& options) {
  static std::mutex mutex;
  static auto* hubs = new std::map<std::string, std::weak_ptr<msg::HubCore>>();
  const std::lock_guard lock(mutex);
  std::weak_ptr<msg::HubCore>& known = (*hubs)[name];
  if (auto core = known.lock()) return Hub(std::move(core));
  auto hub = shm(std::move(name), options);
  if (hub) known = hub->core_;
  return hub;
}

Result<Hub> Hub::tcp(std::string address, std::string name, const TcpHubOptions& options) {
  if (auto sound = msg::TcpTransport::check(address, name, options); !sound) return sound.error();
  Hub hub(name);
  auto carried =
      hub.core()->carry([address = std::move(address), name = std::move(name), options](msg::HubCore&) {
        return msg::TcpTransport::create(address, name, options);
      });
  if (!carried) return carried.error();
  return hub;
}

std::string Hub::address() const { return core_->address(); }

}  // namespace horus::HORUS_ABI
