// SPDX-License-Identifier: Apache-2.0
#include "bench/device_workload.h"

#include "cli/progress.h"
#include <godbox/driver/open_device.h>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <iterator>

namespace godbox::app {
namespace {

// Larger than any cache of a GPU; on the host it only has to work.
constexpr SizeBytes kCudaWorkingSet{std::uint64_t{1} << 30U};
constexpr SizeBytes kHostWorkingSet{std::uint64_t{64} << 20U};

SizeBytes working_set_of(const DevicePlan& plan, const DeviceMemory& device) {
  if (plan.working_set > SizeBytes()) {
    return plan.working_set;
  }
  return device.kind() == DeviceKind::cuda ? kCudaWorkingSet : kHostWorkingSet;
}

void append(Rows more, Rows& rows) {
  std::move(more.begin(), more.end(), std::back_inserter(rows));
}

}  // namespace

BenchRow device_row(const DeviceMemory& device, const DevicePlan& plan, const DevicePages& pages,
                    const kv::ModelGeometry& model, WorkOp op, bool crc) {
  const kv::PagedShape& shape = pages.cache().shape();
  BenchRow row;
  row.subject.transport = TransportKind::local;
  row.subject.size = pages.block_bytes();
  row.subject.crc = crc;
  row.op = op;
  row.working_set = pages.listed_bytes();
  row.copy_threads = plan.copy_threads;
  row.server_threads = 0;
  row.seed = plan.seed;
  row.extra["device"] = device.name();
  row.extra["device_kind"] = to_string(device.kind());
  row.extra["model"] = model.name;
  row.extra["layout"] = shape.planes == 2 ? "vllm-flash-attn" : "vllm-mla";
  row.extra["block_tokens"] = plan.block_tokens;
  row.extra["layers"] = shape.layers;
  row.extra["blocks"] = pages.blocks().size();
  row.extra["page_bytes"] = pages.cache().page_size_bytes().count();
  return row;
}

Result<double> copy_ceiling(DevicePages& pages, WorkOp op) {
  const SteadyClock clock;
  const MutableSpan staging = pages.staging();
  const std::uint64_t total = pages.listed_bytes().count();
  const TimePoint begin = clock.now();
  for (std::uint64_t at = 0; at < total;) {
    const std::uint64_t length = std::min<std::uint64_t>(staging.size(), total - at);
    const MutableSpan there = pages.region().subspan(at, length);
    const MutableSpan here = staging.first(length);
    const Errc status =
        op == WorkOp::write ? pages.queue().copy(here, there) : pages.queue().copy(there, here);
    if (status != Errc::ok) {
      return Error(status, "a copy between device and host failed");
    }
    at += length;
  }
  if (const Errc status = pages.queue().finish(); status != Errc::ok) {
    return Error(status, "a copy between device and host failed");
  }
  const double seconds = std::chrono::duration<double>(clock.now() - begin).count();
  return static_cast<double>(total) / seconds / 1e9;
}

Result<Rows> run_device_bench(const DevicePlan& plan) {
  Result<driver::OpenedDevice> opened = driver::open_device(plan.choice);
  if (!opened) {
    return Error(opened.error().code,
                 fmt::format("--device {}: {}", to_string(plan.choice), opened.error().detail));
  }
  DeviceMemory& device = *opened->memory;
  spdlog::info("bench: {}", opened->reason);
  if (device.kind() == DeviceKind::host) {
    spdlog::warn("bench: no GPU is measured: pages and kernels are on {}", device.name());
  }
  Progress progress("measuring", static_cast<double>(plan.models.size() * 2));
  Rows rows;
  for (const kv::ModelGeometry& model : plan.models) {
    auto pages = DevicePages::create(device, model, plan.block_tokens, working_set_of(plan, device),
                                     plan.seed);
    if (!pages) {
      return pages.error();
    }
    progress.say(fmt::format("kernels over pages of {}", model.name));
    Result<Rows> kernels = measure_device_kernels(device, plan, **pages, model);
    if (!kernels) {
      return kernels;
    }
    append(std::move(*kernels), rows);
    progress.advance(1);
    progress.say(fmt::format("pages of {} and the pool", model.name));
    Result<Rows> moved = measure_device_pages(device, plan, **pages, model);
    if (!moved) {
      return moved;
    }
    append(std::move(*moved), rows);
    progress.advance(1);
  }
  progress.clear();
  return rows;
}

}  // namespace godbox::app
