// SPDX-License-Identifier: Apache-2.0
// AddressSanitizer does not see what the kernel reads and writes. In builds with it, the reactor asks it about all memory
// of an entry (buffers, names, addresses) when the entry is submitted and when it completes: memory that was freed in
// between ends the program with a line that names the operation. Other builds have none of this. One thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cstdint>

#include <linux/io_uring.h>

#if defined(__SANITIZE_ADDRESS__)
#define HORUS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HORUS_ASAN 1
#endif
#endif

namespace horus::HORUS_ABI::io::detail {

#ifdef HORUS_ASAN
void watch_buffers_of(const io_uring_sqe& entry);
void check_buffers_of(const io_uring_cqe& completion);
#endif

}  // namespace horus::HORUS_ABI::io::detail
