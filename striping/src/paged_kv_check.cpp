// SPDX-License-Identifier: Apache-2.0
#include "paged_kv_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace godbox::kv {

namespace {

Error refused(std::string what) { return {Errc::invalid_argument, std::move(what)}; }

// An axis of a plane: `count` places, `stride_bytes` apart.
struct Axis {
  std::uint64_t count = 0;
  std::uint64_t stride_bytes = 0;
  bool operator==(const Axis&) const = default;
};
using Axes = std::array<Axis, 3>;  // the largest stride first

// A plane as what it covers.
struct Footprint {
  std::size_t index = 0;  // in the caller's list
  std::uintptr_t begin = 0, end = 0;
  Axes axes{};
};

std::string name_of(const PagedShape& shape, std::size_t index) {
  const char* const plane = shape.planes == 1 ? "latent" : (index < shape.layers ? "K" : "V");
  return fmt::format("layer {} {}", index % shape.layers, plane);
}

Axes axes_of(const PagedShape& shape, const KvPlane& plane) {
  Axes axes = {Axis{shape.blocks, plane.block_stride_bytes},
               Axis{shape.block_tokens, plane.token_stride_bytes},
               Axis{shape.heads, plane.head_stride_bytes}};
  for (Axis& axis : axes) {
    if (axis.count == 1) {
      axis.stride_bytes = 0;  // it is never taken
    }
  }
  std::sort(axes.begin(), axes.end(),
            [](const Axis& a, const Axis& b) { return a.stride_bytes > b.stride_bytes; });
  return axes;
}

// Bytes from the first to the last, or overflow.
Result<std::uint64_t> extent_of(const Axes& axes, std::uint64_t run_bytes,
                                const std::string& name) {
  std::uint64_t extent = run_bytes;
  for (std::size_t i = axes.size(); i-- > 0;) {
    if (axes[i].count == 1) {
      continue;
    }
    if (axes[i].stride_bytes < extent) {
      return refused(fmt::format("{}: a stride of {} bytes overlaps what lies between, {} bytes",
                                 name, axes[i].stride_bytes, extent));
    }
    std::uint64_t steps = 0;
    if (__builtin_mul_overflow(axes[i].count - 1, axes[i].stride_bytes, &steps) ||
        __builtin_add_overflow(extent, steps, &extent)) {
      return refused(name + ": its strides overflow 64 bits");
    }
  }
  return extent;
}

Result<Footprint> footprint_of(const PagedShape& shape, const KvPlane& plane, std::size_t index) {
  const std::string name = name_of(shape, index);
  const std::uint64_t element = bytes_per_element(shape.dtype);
  if (plane.base == nullptr || plane.tensor.data() == nullptr) {
    return refused(name + ": no memory (a null base)");
  }
  const auto base = reinterpret_cast<std::uintptr_t>(plane.base);
  if (base % element != 0) {
    return refused(
        fmt::format("{}: its base is not aligned to elements of {} bytes", name, element));
  }
  for (const std::uint64_t stride :
       {plane.block_stride_bytes, plane.token_stride_bytes, plane.head_stride_bytes}) {
    if (stride % element != 0) {
      return refused(fmt::format("{}: a stride of {} bytes is no whole elements of {} bytes", name,
                                 stride, element));
    }
  }
  const Axes axes = axes_of(shape, plane);
  const Result<std::uint64_t> extent =
      extent_of(axes, std::uint64_t{shape.head_dim} * element, name);
  if (!extent) {
    return extent.error();
  }
  const auto tensor = reinterpret_cast<std::uintptr_t>(plane.tensor.data());
  if (base < tensor || base - tensor > plane.tensor.size() ||
      *extent > plane.tensor.size() - (base - tensor)) {
    return refused(
        fmt::format("{}: {} blocks end {} bytes behind their base, outside the tensor "
                    "of {} bytes",
                    name, shape.blocks, *extent, plane.tensor.size()));
  }
  return Footprint{.index = index, .begin = base, .end = base + *extent, .axes = axes};
}

// Whether a run at `distance` from another of the same axes meets any of the runs of those. The
// axes are nested, so along each only the two steps around the distance can.
bool meets(const Axes& axes, std::size_t axis, std::int64_t distance, std::int64_t run_bytes) {
  if (axis == axes.size()) {
    return distance > -run_bytes && distance < run_bytes;
  }
  const auto steps_max = static_cast<std::int64_t>(axes[axis].count) - 1;
  const auto stride = static_cast<std::int64_t>(axes[axis].stride_bytes);
  if (steps_max == 0 || stride == 0) {
    return meets(axes, axis + 1, distance, run_bytes);
  }
  const std::int64_t below = distance / stride - (distance % stride < 0 ? 1 : 0);
  for (const std::int64_t steps : {below, below + 1}) {
    if (steps >= -steps_max && steps <= steps_max &&
        meets(axes, axis + 1, distance - steps * stride, run_bytes)) {
      return true;
    }
  }
  return false;
}

}  // namespace

Result<void> check_shape(const PagedShape& shape) {
  const auto check = [](const char* name, std::uint64_t given, std::uint64_t max) -> Result<void> {
    if (given == 0 || given > max) {
      return refused(fmt::format("{}: {} given, 1 to {} are allowed", name, given, max));
    }
    return {};
  };
  constexpr std::uint32_t kTokensMax = 65536;
  constexpr std::uint32_t kHeadsMax = 4096;
  constexpr std::uint32_t kHeadDimMax = 65536;
  for (const Result<void>& checked :
       {check("layers", shape.layers, PagedShape::kLayersMax), check("planes", shape.planes, 2),
        check("blocks", shape.blocks, PagedShape::kBlocksMax),
        check("block_tokens", shape.block_tokens, kTokensMax),
        check("heads", shape.heads, kHeadsMax), check("head_dim", shape.head_dim, kHeadDimMax)}) {
    if (!checked) {
      return checked.error();
    }
  }
  if (bytes_per_element(shape.dtype) == 0) {
    return refused(fmt::format("dtype: {} is none", static_cast<int>(shape.dtype)));
  }
  if (shape.planes == 1 && shape.heads != 1) {
    return refused(fmt::format("heads: {} given; one plane is latent and has 1", shape.heads));
  }
  return {};
}

Result<void> check_planes(const PagedShape& shape, std::span<const KvPlane> planes) {
  if (planes.size() != std::size_t{shape.layers} * shape.planes) {
    return refused(fmt::format("{} planes given; {} layers of {} have {}", planes.size(),
                               shape.layers, shape.planes,
                               std::size_t{shape.layers} * shape.planes));
  }
  std::vector<Footprint> footprints;
  footprints.reserve(planes.size());
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const Result<Footprint> footprint = footprint_of(shape, planes[i], i);
    if (!footprint) {
      return footprint.error();
    }
    footprints.push_back(*footprint);
  }
  std::sort(footprints.begin(), footprints.end(),
            [](const Footprint& a, const Footprint& b) { return a.begin < b.begin; });
  const auto run_bytes =
      static_cast<std::int64_t>(std::uint64_t{shape.head_dim} * bytes_per_element(shape.dtype));
  for (std::size_t i = 0; i < footprints.size(); ++i) {
    for (std::size_t k = i + 1; k < footprints.size() && footprints[k].begin < footprints[i].end;
         ++k) {
      const Footprint& a = footprints[i];
      const Footprint& b = footprints[k];
      const auto distance = static_cast<std::int64_t>(b.begin - a.begin);
      if (a.axes != b.axes || meets(a.axes, 0, distance, run_bytes)) {
        return refused(
            fmt::format("{} and {} overlap", name_of(shape, a.index), name_of(shape, b.index)));
      }
    }
  }
  return {};
}

}  // namespace godbox::kv
