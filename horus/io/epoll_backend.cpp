// SPDX-License-Identifier: Apache-2.0
#include <horus/io/backend.hpp>
namespace horus::io {
Result<std::unique_ptr<Backend>> make_epoll_backend(const ReactorConfig&) { return Error(ENOSYS, "epoll backend"); }
}
