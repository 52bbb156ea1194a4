// SPDX-License-Identifier: Apache-2.0
#include <horus/sched/node.hpp>

namespace horus::HORUS_ABI {

NodeBase::~NodeBase() = default;
Task<> Node::init() { co_return; }
Task<> Node::shutdown() { co_return; }

}  // namespace horus::HORUS_ABI
