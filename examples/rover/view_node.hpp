// SPDX-License-Identifier: Apache-2.0
// The live view, five times a second. A terminal that does not take the text (Ctrl-S) holds nobody else up.
#pragma once

#include <horus/horus.hpp>
#include <horus/io/pipe.hpp>

#include "dashboard.hpp"

namespace rover {

class ViewNode : public horus::Node {
 public:
  ViewNode(const horus::Scheduler& scheduler, Dashboard dashboard)
      : Node("view"), scheduler_(scheduler), dashboard_(std::move(dashboard)) {}

  horus::Task<> init() override;
  horus::Task<> tick() override;
  void enter_safe_state() noexcept override { LiveScreen::restore(); }

 private:
  const horus::Scheduler& scheduler_;
  Dashboard dashboard_;
  horus::io::PipeWriter output_;
};

}  // namespace rover
