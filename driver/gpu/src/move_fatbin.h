// SPDX-License-Identifier: Apache-2.0
//
// The move kernel (kernels/move.cu) as the CUDA Toolkit compiled it, for several GPUs, and for
// later ones as PTX. The bytes are generated at build time. Thread-safety: constant. Errors: none.
#pragma once

namespace godbox::driver {

[[nodiscard]] const void* move_fatbin() noexcept;  // as cuModuleLoadData() takes it

}  // namespace godbox::driver
