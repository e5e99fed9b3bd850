// SPDX-License-Identifier: Apache-2.0
#include "kv.h"

#include <algorithm>

namespace godbox::c {

namespace {

MutableSpan span_of(const godbox_tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data), static_cast<std::size_t>(tensor.size_bytes)};
}

Result<kv::PagedKv> described(const godbox_kv_cache& cache) {
  if (cache.dtype == nullptr) {
    return refused("dtype: NULL");
  }
  const Result<kv::Dtype> dtype = kv::parse_dtype(cache.dtype);
  if (!dtype) {
    return dtype.error();
  }
  const kv::PagedShape shape = {.layers = cache.layers,
                                .planes = cache.planes,
                                .blocks = cache.blocks,
                                .block_tokens = cache.block_tokens,
                                .heads = cache.heads,
                                .head_dim = cache.head_dim,
                                .dtype = *dtype};
  if (cache.layout == nullptr) {
    if (cache.plane_list == nullptr) {
      return refused("layout and plane_list: both NULL");
    }
    std::vector<kv::KvPlane> planes;
    for (std::size_t i = 0; i < cache.plane_count; ++i) {
      const godbox_plane& plane = cache.plane_list[i];
      planes.push_back({.tensor = span_of(plane.tensor),
                        .base = static_cast<std::byte*>(plane.base),
                        .block_stride_bytes = plane.block_stride_bytes,
                        .token_stride_bytes = plane.token_stride_bytes,
                        .head_stride_bytes = plane.head_stride_bytes});
    }
    return kv::PagedKv::create(shape, planes);
  }
  const std::string_view layout = cache.layout;
  std::string_view axes = layout;
  // Axes are in capitals, names are not.
  if (layout.find_first_not_of("LPBTHD") != std::string_view::npos) {
    const Result<kv::EngineLayout> found = kv::find_layout(layout);
    if (!found) {
      return refused(found.error().detail + ", nor are they axes");
    }
    axes = found->axes;
  }
  if (cache.tensors == nullptr) {
    return refused("tensors: NULL");
  }
  std::vector<MutableSpan> tensors;
  for (std::size_t i = 0; i < cache.tensor_count; ++i) {
    tensors.push_back(span_of(cache.tensors[i]));
  }
  return kv::PagedKv::create(shape, axes, tensors);
}

Result<kv::KvMoverOptions> mover_options(const godbox_kv_cache& cache, DeviceMemory* device) {
  kv::KvMoverOptions options;
  options.device = device;
  options.blocks_per_object = std::max(cache.blocks_per_object, 1U);
  if (cache.pool_order != nullptr) {
    const Result<kv::PoolOrder> order = kv::parse_pool_order(cache.pool_order);
    if (!order) {
      return order.error();
    }
    options.order = *order;
  }
  if (cache.window_bytes > 0) {
    options.window = SizeBytes(cache.window_bytes);
  }
  if (cache.call_bytes > 0) {
    options.call_size = SizeBytes(cache.call_bytes);
  }
  return options;
}

Result<std::shared_ptr<KvShared>> open_kv(const std::shared_ptr<PoolCore>& core,
                                          const godbox_kv_cache& cache) {
  Result<kv::PagedKv> paged = described(cache);
  if (!paged) {
    return paged.error();
  }
  auto shared = std::make_shared<KvShared>();
  shared->core = core;
  Error why = closed();
  core->run([&] {
    const Result<kv::KvMoverOptions> options = mover_options(cache, core->device());
    if (!options) {
      why = options.error();
      return;
    }
    auto mover = kv::KvMover::create(core->client(), core->clock(), std::move(*paged), *options);
    if (!mover) {
      why = mover.error();
      return;
    }
    shared->mover = mover->get();
    shared->suffix = (*mover)->name_in_pool("");
    shared->layer_bytes = (*mover)->layer_size().count();
    core->movers.push_back(std::move(*mover));
    core->on_close.emplace_back([weak = std::weak_ptr(shared)] {
      if (const std::shared_ptr<KvShared> still = weak.lock()) {
        still->mover = nullptr;
      }
    });
    shared->at_close = std::prev(core->on_close.end());
    why = Error();
  });
  if (why.code != Errc::ok) {
    return why;
  }
  return shared;
}

// The names that objects of this cache have in the pool.
Result<std::vector<std::string>> names_in_pool(const KvShared& kv, const godbox_names* names) {
  const auto views = names_of(names);
  if (!views) {
    return views.error();
  }
  std::vector<std::string> full;
  for (const std::string_view view : *views) {
    full.push_back(view.empty() ? std::string() : std::string(view) + kv.suffix);  // no name
  }
  return full;
}

Result<std::size_t> count_prefix(KvShared& kv, const godbox_names* names) {
  const auto full = names_in_pool(kv, names);
  if (!full) {
    return full.error();
  }
  const std::vector<std::string_view> views(full->begin(), full->end());
  return count_prefix(*kv.core, views);
}

}  // namespace

}  // namespace godbox::c

using godbox::Result;
using namespace godbox::c;

extern "C" {

godbox_status godbox_kv_open(godbox_pool* pool, const godbox_kv_cache* cache, godbox_kv** kv) {
  return guarded([&]() -> Result<void> {
    if (pool == nullptr || cache == nullptr || kv == nullptr) {
      return refused("pool, cache or kv: NULL");
    }
    *kv = nullptr;
    const Result<godbox_kv_cache> given = options_of(cache);
    if (!given) {
      return given.error();
    }
    auto shared = open_kv(pool->core, *given);
    if (!shared) {
      return shared.error();
    }
    *kv = new godbox_kv{std::move(*shared)};
    return {};
  });
}

void godbox_kv_close(godbox_kv* kv) {
  if (kv == nullptr) {
    return;
  }
  KvShared& shared = *kv->shared;
  shared.core->run([&] {
    shared.core->movers.remove_if([&](const auto& mover) { return mover.get() == shared.mover; });
    shared.mover = nullptr;
    shared.core->on_close.erase(shared.at_close);
  });
  delete kv;
}

uint64_t godbox_kv_layer_bytes(const godbox_kv* kv) {
  return kv == nullptr ? 0 : kv->shared->layer_bytes;
}

const char* godbox_kv_suffix(const godbox_kv* kv) {
  return kv == nullptr ? "" : kv->shared->suffix.c_str();
}

godbox_status godbox_kv_lookup_prefix(godbox_kv* kv, const godbox_names* names, size_t* found) {
  return guarded([&]() -> Result<void> {
    if (kv == nullptr || found == nullptr) {
      return refused("kv or found: NULL");
    }
    const Result<std::size_t> count = count_prefix(*kv->shared, names);
    if (!count) {
      return count.error();
    }
    *found = *count;
    return {};
  });
}

godbox_status godbox_kv_wait(godbox_kv* kv, const godbox_names* names, uint32_t layer,
                             uint64_t timeout_ms, godbox_status* statuses) {
  return guarded([&]() -> Result<void> {
    if (kv == nullptr || statuses == nullptr) {
      return refused("kv or statuses: NULL");
    }
    const auto full = names_in_pool(*kv->shared, names);
    if (!full) {
      return full.error();
    }
    const std::vector<std::string_view> views(full->begin(), full->end());
    return wait_for_names(*kv->shared->core, views, layer, timeout_ms, statuses);
  });
}

}  // extern "C"
