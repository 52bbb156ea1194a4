// SPDX-License-Identifier: Apache-2.0
#include "log_node.hpp"

#include "inputs.hpp"

namespace rover {

using horus::Task;

namespace {
constexpr int64_t kPauseAfterRefusal_ns = 1'000'000'000;
}

Task<> LogNode::init() {
  auto opening = horus::io::File::create(world_.log.path);
  auto file = co_await opening;
  file_ = std::move(file).or_throw();
}

Task<> LogNode::tick() {
  const int64_t now = horus::now_ns();
  world_.log.lost += batch_.add(log_record_now(world_), now);
  if (writing_.done()) writing_.take();
  if (batch_.due(now) && !writing_.valid() && now >= retry_ns_) writing_ = spawn(write(), "log write");
  co_return;
}

// At the offset behind the last good write, so that what a refused one has left is written over.
Task<> LogNode::write() {
  const size_t records = batch_.size();
  const std::string text = batch_.text();
  auto writing = file_.write_all_at(text, world_.log.bytes);
  auto written = co_await writing;
  const int64_t now = horus::now_ns();
  if (!written) {
    if (!written.error().cancelled()) trouble_.begins(written.error().message() + "; driving on");
    retry_ns_ = now + kPauseAfterRefusal_ns;
    co_return;
  }
  trouble_.is_over("writing again");
  batch_.written(records, now);
  world_.log.records += records;
  world_.log.bytes += text.size();
}

Task<> LogNode::shutdown() {
  if (!batch_.empty()) {
    auto last = write();
    co_await last;
  }
  world_.log.lost += batch_.size();
  if (world_.log.records > 0) {
    auto synced = co_await file_.sync_data();
    if (!synced) trouble_.begins(synced.error().message());
  }
  auto closing = file_.close();
  auto closed = co_await closing;
  if (!closed) trouble_.begins(closed.error().message());
}

}  // namespace rover
