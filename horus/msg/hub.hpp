// SPDX-License-Identifier: Apache-2.0
// Hub: the named endpoint through which a program's topics meet those of other programs. Any thread may make and use
// a hub; its ports belong to the thread that makes them.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <horus/base/export.hpp>
#include <horus/base/result.hpp>
#include <horus/msg/layout.hpp>
#include <horus/msg/link.hpp>
#include <horus/msg/options.hpp>
#include <horus/msg/publisher.hpp>
#include <horus/msg/session/hub_core.hpp>
#include <horus/msg/shm_options.hpp>
#include <horus/msg/subscriber.hpp>
#include <horus/msg/tcp_options.hpp>

namespace horus::HORUS_ABI::config {
class Document;
}

namespace horus::HORUS_ABI {

/// A named place where publishers and subscribers of the same topic find each other. A copy refers to the same hub,
/// which lives as long as any copy or port of it.
///
/// Semantics: `Hub("rover")` joins the ports that this process makes through it.
/// Errors: making a port throws Error: kTypeMismatch when the topic carries another type (the message names both
/// layouts), EINVAL for options out of range.
/// Thread safety: any thread.
/// Example:
/// ```
/// horus::Hub hub("rover");
/// auto out = hub.advertise<horus::messages::Twist>("cmd_vel");
/// auto in = hub.subscribe<horus::messages::Twist>("cmd_vel");
/// ```
class HORUS_API Hub {
 public:
  explicit Hub(std::string name = "local");
  explicit Hub(std::shared_ptr<msg::HubCore> core) noexcept : core_(std::move(core)) {}
  /// A hub that shares its topics over TCP with every hub that it is connected to. These are the hub that names the
  /// same address, whichever of the two starts first, and those of `options.peers`. It works on the reactor of this
  /// thread, or of the first thread that opens a port; any thread may make ports. A hub never forwards messages from
  /// one hub to a third one.
  /// Semantics: each subscriber has its queue here and is accounted for at the publisher
  /// (PublisherMetrics::in_flight). A lost connection is made again, and messages that were under way count as
  /// dropped.
  /// Errors: EINVAL for options out of range or no address; EPERM for an address that other machines reach, unless
  /// `options.insecure`; those of TcpListener::listen when it must listen.
  /// Example: `auto hub = horus::Hub::tcp("127.0.0.1:8080", "rover").or_throw();`
  static Result<Hub> tcp(std::string address, std::string name, const TcpHubOptions& options = {});

  /// A hub that meets the hubs of the same name in this user's other processes on this machine, through shared
  /// memory: subscribers read a message where its publisher wrote it. It works on the reactor of this thread; without
  /// one, on that of the first port.
  /// Errors: EPERM when the hubs' directory belongs to another user; ENAMETOOLONG, EMFILE.
  static Result<Hub> shm(std::string name, const ShmOptions& options = {});
  /// The hub of that name that this process and all others share, as shm() makes it. Every call gives the same hub.
  static Result<Hub> global_hub(std::string name, const ShmOptions& options = {});
  /// The hub that section `[hub.NAME]` of a configuration file describes; docs/hub.toml has every key. This call
  /// reads the file (.toml or .yaml) and blocks meanwhile, so use it at a program's start.
  /// Errors: kBadConfiguration for unknown keys, wrong types and values out of range, with file, line and key; those
  /// of open(2); those of shm() and tcp().
  /// Example: `auto hub = horus::Hub::from_config("rover.toml", "sensor_hub").or_throw();`
  static Result<Hub> from_config(const std::string& path, std::string name);
  /// The same, from a document that is already in memory.
  static Result<Hub> from_config(const config::Document& document, std::string name);

  template <Message T>
  [[nodiscard]] Publisher<T> advertise(std::string topic, const AdvertiseOptions& options = {}) const {
    return Publisher<T>(open(msg::out_port<T>(std::move(topic), options)));
  }
  template <Message T>
  [[nodiscard]] Subscriber<T> subscribe(std::string topic, const SubscribeOptions& options = {}) const {
    return Subscriber<T>(open(msg::in_port<T>(std::move(topic), options)));
  }
  /// This hub's end of a link with the hub named `peer`.
  template <Message T>
  [[nodiscard]] Link<T> create_link(std::string name, std::string peer, const SubscribeOptions& receive = {},
                                    const AdvertiseOptions& send = {}) const {
    const std::uint64_t pair = msg::new_pair();
    auto in = msg::in_port<T>(name, receive, peer, pair);
    auto out = msg::out_port<T>(std::move(name), send, std::move(peer), pair);
    Subscriber<T> incoming(open(std::move(in)));  // first: who sees the other direction may rely on this one
    return Link<T>(Publisher<T>(open(std::move(out))), std::move(incoming));
  }

  [[nodiscard]] const std::string& name() const noexcept { return core_->name(); }
  /// The address where others reach it ("127.0.0.1:43210", with the port that the kernel chose); empty without a
  /// transport.
  [[nodiscard]] std::string address() const;
  [[nodiscard]] HubMetrics metrics() const { return core_->metrics(); }
  [[nodiscard]] ConnectionState connection_state() const { return core_->connection_state(); }
  [[nodiscard]] const std::shared_ptr<msg::HubCore>& core() const noexcept { return core_; }

 private:
  [[nodiscard]] std::shared_ptr<msg::Port> open(std::shared_ptr<msg::Port> port) const {
    port->open(core_);
    return port;
  }

  std::shared_ptr<msg::HubCore> core_;
};

}  // namespace horus::HORUS_ABI
