// SPDX-License-Identifier: Apache-2.0
// A file is not overwritten while it is read. Internal; one reactor's thread.
#pragma once

#include <horus/base/compiler.hpp>

#include <cerrno>
#include <string>

#include <horus/base/result.hpp>
#include <horus/io/fs.hpp>
#include <horus/task/task.hpp>

namespace horus::HORUS_ABI::bag {

/// EINVAL when `to` is the file `from` under any name.
inline Task<Result<>> check_distinct(std::string from, std::string to) {
  const auto there = co_await io::fs::status(to);
  if (!there) co_return Result<>();
  const auto here = co_await io::fs::status(from);
  if (!here) co_return here.error();
  if (here->inode == there->inode && here->device == there->device)
    co_return Error(EINVAL, "write", to).with_detail("(it is the file that is read: choose another name)");
  co_return Result<>();
}

}  // namespace horus::HORUS_ABI::bag
