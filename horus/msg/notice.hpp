// SPDX-License-Identifier: Apache-2.0
// Work for a reactor's thread that must not be refused because a mailbox is full. Any thread. Internal.
#pragma once

#include <memory>
#include <utility>

#include <horus/io/lookout.hpp>

namespace horus::msg {

/// Runs `work` on the reactor's thread, in order per sending thread. False when the reactor is gone: it is not run.
/// `work` must not throw.
template <class F>
bool send_notice(io::Waker& waker, F work) {
  struct Notice : io::RemoteWork {
    explicit Notice(F what) : work(std::move(what)) {}
    F work;
  };
  auto notice = std::make_unique<Notice>(std::move(work));
  notice->complete = [](io::RemoteWork& self) noexcept {
    const std::unique_ptr<Notice> own(static_cast<Notice*>(&self));
    own->work();
  };
  if (!waker.send(*notice)) return false;
  static_cast<void>(notice.release());
  return true;
}

}  // namespace horus::msg
