// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node.hpp>

namespace horus {

NodeBase::~NodeBase() = default;
Task<> Node::init() { co_return; }
Task<> Node::shutdown() { co_return; }

}  // namespace horus
