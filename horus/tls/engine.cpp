// SPDX-License-Identifier: Apache-2.0
// The door of the shared object: what horus/io/tls looks for in it.
#include <horus/io/tls/engine.hpp>

#include <memory>

#include <horus/tls/certificate.hpp>
#include <horus/tls/context.hpp>

namespace {

std::shared_ptr<horus::io::tls::EngineContext> make_context(const horus::io::tls::ContextSettings& settings,
                                                            horus::io::tls::Failure& failure) {
  return horus::tls::Context::make(settings, failure);
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const horus::io::tls::Engine horus_tls_engine{
    horus::io::tls::kEngineVersion, &make_context, &horus::tls::make_certificate,
    &horus::tls::describe_certificate};
