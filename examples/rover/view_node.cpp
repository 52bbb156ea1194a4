// SPDX-License-Identifier: Apache-2.0
#include "view_node.hpp"

namespace rover {

horus::Task<> ViewNode::init() {
  output_ = horus::io::standard_output().or_throw();
  co_return;
}

horus::Task<> ViewNode::tick() {
  std::string text = dashboard_.next(scheduler_);
  if (text.empty()) co_return;
  auto writing = output_.write_all(std::move(text));
  auto written = co_await writing;
  std::move(written).or_throw();
}

}  // namespace rover
