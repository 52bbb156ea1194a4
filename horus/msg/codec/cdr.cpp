// SPDX-License-Identifier: Apache-2.0
#include <horus/msg/cdr.hpp>

#include <array>
#include <cerrno>

#include <fmt/format.h>

#include <horus/base/error.hpp>
#include <horus/msg/codec/cdr_plan.hpp>

namespace horus::HORUS_ABI {
namespace {

constexpr std::array<std::byte, 4> kHeader{std::byte{0}, std::byte{1}, std::byte{0}, std::byte{0}};

Result<> lengths_of(const msg::CdrPlan& plan, Cdr::Bytes head, Cdr::Bytes tail) {
  if (head.size() != plan.head_bytes())
    return Error(
        EINVAL, "write CDR",
        fmt::format("{}: a struct of {} bytes, not {}", plan.ros_name(), plan.head_bytes(), head.size()));
  const std::size_t element = plan.tail_bytes();
  if (element == 0 ? !tail.empty() : tail.size() % element != 0)
    return Error(EINVAL, "write CDR",
                 fmt::format("{}: a tail of {} bytes, and each element has {}", plan.ros_name(), tail.size(),
                             element));
  if (tail.size() > Cdr::kMostTail)
    return Error(EINVAL, "write CDR", fmt::format("{}: a tail of more than 1 GiB", plan.ros_name()));
  return {};
}

}  // namespace

Cdr::Cdr(const Description& description) {
  description.check().or_throw();
  plan_ = std::make_unique<const msg::CdrPlan>(description);
}
Cdr::~Cdr() = default;
Cdr::Cdr(Cdr&&) noexcept = default;
Cdr& Cdr::operator=(Cdr&&) noexcept = default;

Result<std::size_t> Cdr::size(Bytes head, Bytes tail) const {
  if (auto good = lengths_of(*plan_, head, tail); !good) return good.error();
  msg::CdrWriter counter({});
  plan_->write(counter, head.data(), tail);
  return kHeader.size() + counter.position();
}

Result<std::size_t> Cdr::write(Bytes head, Bytes tail, std::span<std::byte> to) const {
  if (auto good = lengths_of(*plan_, head, tail); !good) return good.error();
  msg::CdrWriter writer(to.subspan(std::min(to.size(), kHeader.size())));
  plan_->write(writer, head.data(), tail);
  const std::size_t size = kHeader.size() + writer.position();
  if (size > to.size())
    return Error(
        ENOBUFS, "write CDR",
        fmt::format("{}: it takes {} bytes, and there is room for {}", plan_->ros_name(), size, to.size()));
  std::copy(kHeader.begin(), kHeader.end(), to.begin());
  return size;
}

Result<> Cdr::read(Bytes cdr, std::vector<std::byte>& head, std::vector<std::byte>& tail) const {
  if (cdr.size() < kHeader.size() || cdr[0] != kHeader[0] || cdr[1] != kHeader[1])
    return Error(kBadInput, "read CDR",
                 fmt::format("{}: it does not begin with 00 01, as CDR with the little end first does",
                             plan_->ros_name()));
  head.assign(plan_->head_bytes(), std::byte{0});
  msg::CdrReader reader(cdr.subspan(kHeader.size()));
  if (plan_->read(reader, head.data(), tail)) return {};
  return Error(kBadInput, "read CDR",
               fmt::format("{}, byte {}{}{}: {}", plan_->ros_name(), kHeader.size() + reader.position(),
                           reader.field().empty() ? "" : ", ", reader.field(), reader.why()));
}

}  // namespace horus::HORUS_ABI
