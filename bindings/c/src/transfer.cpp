// SPDX-License-Identifier: Apache-2.0
//
// Stores and loads behind the C API: a transfer of the mover, which the pool's thread drives, and
// what of it other threads may see.
#include "kv.h"

#include <algorithm>
#include <chrono>
#include <optional>

namespace godbox::c {

namespace {

// What callbacks on the pool's thread tell to those who wait.
class Progress {
 public:
  void tell_layers(std::uint32_t ready) {
    const std::lock_guard lock(mutex_);
    layers_ready_ = ready;
    changed_.notify_all();
  }
  void tell_done(std::span<const Errc> statuses) {
    const std::lock_guard lock(mutex_);
    statuses_.assign(statuses.begin(), statuses.end());
    is_done_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool wait_layer(std::uint32_t layer, std::uint64_t timeout_ms) {
    return wait(timeout_ms, [&] { return is_done_ || layers_ready_ > layer; });
  }
  [[nodiscard]] bool wait_done(std::uint64_t timeout_ms) {
    return wait(timeout_ms, [&] { return is_done_; });
  }
  [[nodiscard]] std::uint32_t layers_ready() {
    const std::lock_guard lock(mutex_);
    return layers_ready_;
  }
  [[nodiscard]] std::vector<Errc> statuses() {
    const std::lock_guard lock(mutex_);
    return statuses_;
  }

 private:
  template <class Condition>
  bool wait(std::uint64_t timeout_ms, Condition condition) {
    constexpr std::uint64_t kYearMs = 31'536'000'000;  // longer is for ever, without overflow
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::milliseconds(std::min(timeout_ms, kYearMs)),
                             condition);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::uint32_t layers_ready_ = 0;
  bool is_done_ = false;
  std::vector<Errc> statuses_;
};

struct TransferCall {
  std::vector<std::string_view> names;
  kv::KvList list;
  kv::KvOptions options;
  kv::StreamPlace place;
};

Result<void> read_call(const godbox_names* names, const godbox_blocks* blocks,
                       const godbox_transfer_options* given, TrafficClass background,
                       TransferCall& call) {
  auto views = names_of(names);
  if (!views) {
    return views.error();
  }
  if (blocks == nullptr || (blocks->count > 0 && blocks->data == nullptr)) {
    return refused("blocks: NULL");
  }
  const Result<godbox_transfer_options> options = options_of(given);
  if (!options) {
    return options.error();
  }
  constexpr std::uint64_t kTimeoutMsMax = std::uint64_t{1} << 40U;
  call.names = std::move(*views);
  call.list = {.names = call.names, .blocks = std::span(blocks->data, blocks->count)};
  call.options.timeout = std::chrono::milliseconds(std::min(options->timeout_ms, kTimeoutMsMax));
  call.options.traffic_class = options->background != 0 ? background : TrafficClass::foreground;
  call.options.prefix = options->any_order == 0;
  if (options->follow_stream != nullptr) {
    call.place.native_stream = *options->follow_stream;
    call.options.follow = &call.place;
  }
  return {};
}

// Runs on the pool's thread, with the mover.
template <class Task>
Result<void> on_mover(KvShared& kv, Task task) {
  Result<void> done = closed();
  kv.core->run([&] {
    if (kv.mover != nullptr) {
      done = task(*kv.mover);
    }
  });
  return done;
}

// A handle's transfer, and its events, go before the pool's device does.
template <class Handle>
void let_go_at_close(PoolCore& core, Handle& handle) {
  core.on_close.emplace_back([&handle] { handle.transfer.reset(); });
  handle.at_close = std::prev(core.on_close.end());
}

template <class Handle>
void free_transfer(Handle* handle) {
  if (handle == nullptr) {
    return;
  }
  PoolCore& core = *handle->kv->core;
  const auto cancel = [&](kv::KvMover& mover) -> Result<void> {
    mover.cancel(*handle->transfer);
    return {};
  };
  (void)on_mover(*handle->kv, cancel);
  (void)handle->progress->wait_done(UINT64_MAX);
  core.run([&] {
    handle->transfer.reset();
    core.on_close.erase(handle->at_close);
  });
  delete handle;
}

template <class Handle>
Result<void> wait_transfer(Handle* handle, std::uint64_t timeout_ms, godbox_status* statuses) {
  if (handle == nullptr) {
    return refused("store or load: NULL");
  }
  if (!handle->progress->wait_done(timeout_ms)) {
    return Error(Errc::deadline_exceeded, "the transfer is not done");
  }
  write_statuses(handle->progress->statuses(), statuses);
  return {};
}

}  // namespace

}  // namespace godbox::c

struct godbox_store {
  std::shared_ptr<godbox::c::KvShared> kv;
  std::shared_ptr<godbox::c::Progress> progress = std::make_shared<godbox::c::Progress>();
  std::optional<godbox::kv::KvStore> transfer{};  // of the pool's thread
  std::list<std::function<void()>>::iterator at_close{};
};

struct godbox_load {
  std::shared_ptr<godbox::c::KvShared> kv;
  std::shared_ptr<godbox::c::Progress> progress = std::make_shared<godbox::c::Progress>();
  std::optional<godbox::kv::KvLoad> transfer{};  // of the pool's thread
  std::vector<std::uint32_t> blocks{};
  std::list<std::function<void()>>::iterator at_close{};
};

using godbox::Errc;
using godbox::Error;
using godbox::Result;
using namespace godbox::c;

extern "C" {

godbox_status godbox_store_begin(godbox_kv* kv, const godbox_names* names,
                                 const godbox_blocks* blocks,
                                 const godbox_transfer_options* options, godbox_store** store) {
  return guarded([&]() -> Result<void> {
    if (kv == nullptr || store == nullptr) {
      return refused("kv or store: NULL");
    }
    *store = nullptr;
    TransferCall call;
    if (Result<void> read =
            read_call(names, blocks, options, godbox::TrafficClass::write_back, call);
        !read) {
      return read;
    }
    auto handle = std::make_unique<godbox_store>(godbox_store{.kv = kv->shared});
    Result<void> begun = on_mover(*kv->shared, [&](godbox::kv::KvMover& mover) -> Result<void> {
      auto transfer = mover.begin_store(
          call.list, call.options, [progress = handle->progress](std::span<const Errc> statuses) {
            progress->tell_done(statuses);
          });
      if (!transfer) {
        return transfer.error();
      }
      handle->transfer = *transfer;
      let_go_at_close(*kv->shared->core, *handle);
      return {};
    });
    if (begun) {
      *store = handle.release();
    }
    return begun;
  });
}

godbox_status godbox_store_layer(godbox_store* store, uint32_t layer, void* const* follow_stream) {
  return guarded([&]() -> Result<void> {
    if (store == nullptr) {
      return refused("store: NULL");
    }
    godbox::kv::StreamPlace place;
    if (follow_stream != nullptr) {
      place.native_stream = *follow_stream;
    }
    return on_mover(*store->kv, [&](godbox::kv::KvMover& mover) {
      return mover.store_layer(*store->transfer, layer,
                               follow_stream == nullptr ? nullptr : &place);
    });
  });
}

godbox_status godbox_store_wait(godbox_store* store, uint64_t timeout_ms, godbox_status* statuses) {
  return guarded([&] { return wait_transfer(store, timeout_ms, statuses); });
}

void godbox_store_free(godbox_store* store) { free_transfer(store); }

godbox_status godbox_load_begin(godbox_kv* kv, const godbox_names* names,
                                const godbox_blocks* blocks, const godbox_transfer_options* options,
                                godbox_load** load) {
  return guarded([&]() -> Result<void> {
    if (kv == nullptr || load == nullptr) {
      return refused("kv or load: NULL");
    }
    *load = nullptr;
    TransferCall call;
    if (Result<void> read = read_call(names, blocks, options, godbox::TrafficClass::prefetch, call);
        !read) {
      return read;
    }
    auto handle = std::make_unique<godbox_load>(godbox_load{.kv = kv->shared});
    Result<void> begun = on_mover(*kv->shared, [&](godbox::kv::KvMover& mover) -> Result<void> {
      const auto progress = handle->progress;
      auto transfer = mover.begin_load(
          call.list, call.options,
          [progress](std::uint32_t layer) { progress->tell_layers(layer + 1); },
          [progress](std::span<const Errc> statuses) { progress->tell_done(statuses); });
      if (!transfer) {
        return transfer.error();
      }
      handle->transfer = *transfer;
      handle->blocks.assign(call.list.blocks.begin(), call.list.blocks.end());
      let_go_at_close(*kv->shared->core, *handle);
      return {};
    });
    if (begun) {
      *load = handle.release();
    }
    return begun;
  });
}

godbox_status godbox_load_wait_layer(godbox_load* load, uint32_t layer, uint64_t timeout_ms) {
  return guarded([&]() -> Result<void> {
    if (load == nullptr) {
      return refused("load: NULL");
    }
    if (!load->progress->wait_layer(layer, timeout_ms)) {
      return Error(Errc::deadline_exceeded,
                   "layer " + std::to_string(layer) + " is not yet in place");
    }
    return {};
  });
}

void* godbox_load_layer_event(godbox_load* load, uint32_t layer) {
  void* event = nullptr;
  if (load != nullptr && load->progress->layers_ready() > layer) {
    (void)on_mover(*load->kv, [&](godbox::kv::KvMover&) -> Result<void> {
      const godbox::DeviceEvent* const found = load->transfer->event(layer);
      event = found == nullptr ? nullptr : found->native_handle();
      return {};
    });
  }
  return event;
}

godbox_status godbox_load_wait(godbox_load* load, uint64_t timeout_ms, godbox_status* statuses) {
  return guarded([&] { return wait_transfer(load, timeout_ms, statuses); });
}

size_t godbox_load_failed_blocks(godbox_load* load, uint32_t* blocks, size_t blocks_max) {
  std::size_t count = 0;
  (void)guarded([&]() -> Result<void> {
    if (load == nullptr || (blocks == nullptr && blocks_max > 0)) {
      return refused("load or blocks: NULL");
    }
    std::vector<Errc> statuses;
    if (!on_mover(*load->kv, [&](godbox::kv::KvMover&) -> Result<void> {
          const std::span<const Errc> so_far = load->transfer->statuses();
          statuses.assign(so_far.begin(), so_far.end());
          return {};
        })) {
      statuses = load->progress->statuses();  // closed, so it is done
    }
    const std::size_t per_object = load->blocks.size() / std::max<std::size_t>(statuses.size(), 1);
    for (std::size_t i = 0; i < load->blocks.size(); ++i) {
      if (statuses[i / per_object] != Errc::ok) {
        if (count < blocks_max) {
          blocks[count] = load->blocks[i];
        }
        ++count;
      }
    }
    return {};
  });
  return count;
}

void godbox_load_free(godbox_load* load) { free_transfer(load); }

}  // extern "C"
