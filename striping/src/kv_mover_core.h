// SPDX-License-Identifier: Apache-2.0
//
// What stores and loads of KvMover share: the lists they move, which blocks are in use, the calls
// under way, and the places in streams that they wait for.
// Thread-safety, ownership, units, errors: kv_mover.h.
#pragma once

#include <godbox/striping/kv_mover.h>

#include <deque>
#include <functional>
#include <string>

namespace godbox::kv {

class KvTransfer;

class MoverCore {
 public:
  MoverCore(striping::Client& client, const Clock& clock, PagedKv cache,
            const KvMoverOptions& options);

  striping::Client& client;
  const Clock& clock;
  const PagedKv cache;
  const KvMoverOptions options;
  const std::uint64_t layer_bytes;
  const std::string suffix;  // of names: "#" and the object's format
  std::size_t calls_under_way = 0;
  std::size_t calls_finished = 0;                      // to see that something happened
  std::vector<std::shared_ptr<KvTransfer>> transfers;  // that are not done

  // Errors: those of the device, invalid_argument.
  [[nodiscard]] Result<void> open_device();
  // Calls `then` when what is queued on the stream now is done (ok) or the device is lost.
  [[nodiscard]] Result<void> after(const StreamPlace& place, std::function<void(Errc)> then);
  [[nodiscard]] Result<std::unique_ptr<DeviceEvent>> recorded_event();
  // Whether there is something to poll that is no event of the Client's.
  [[nodiscard]] bool is_polling() const { return !places_.empty() || is_event_due; }
  bool is_event_due = false;  // a full queue kept a layer's event from being recorded
  bool poll_places();

  // Whether a store may read, or a load write, these blocks; then until release().
  [[nodiscard]] Result<void> acquire(std::span<const std::uint32_t> blocks, bool writes);
  void release(std::span<const std::uint32_t> blocks, bool writes);

  // Where the layer of objects [first, first + count) of a list lies; valid until the next call.
  [[nodiscard]] std::span<const std::span<const LocalSegment>> pieces(
      std::uint32_t layer, std::span<const std::uint32_t> blocks);
  [[nodiscard]] std::size_t objects_per_call() const;

  // Lets each transfer go on, and ends those that are over. True if one ended.
  bool advance();

 private:
  static constexpr std::uint16_t kWritten = UINT16_MAX;
  struct Place {
    std::uint64_t mark = 0;
    std::function<void(Errc)> then;
  };

  std::vector<std::uint16_t> uses_;  // of each block: kWritten, or how many stores read it
  std::vector<LocalSegment> segments_;
  std::vector<std::size_t> segment_ends_;
  std::vector<std::span<const LocalSegment>> spans_;
  // Apart, so that no event stands behind an engine's stream.
  std::unique_ptr<DeviceQueue> following_, recording_;
  std::deque<Place> places_;
  std::uint64_t next_mark_ = 1;
};

// One store or load. It is kept by the core until it is done, and by its calls' callbacks.
class KvTransfer : public std::enable_shared_from_this<KvTransfer> {
 public:
  KvTransfer(MoverCore& core, const KvList& list, const KvOptions& options, bool writes,
             KvMover::OnStatuses on_done);
  virtual ~KvTransfer() = default;
  KvTransfer(const KvTransfer&) = delete;
  KvTransfer& operator=(const KvTransfer&) = delete;

  [[nodiscard]] bool is_done() const { return is_done_; }
  [[nodiscard]] std::span<const Errc> statuses() const { return statuses_; }
  [[nodiscard]] std::span<const std::uint32_t> blocks() const { return blocks_; }
  [[nodiscard]] TimePoint deadline() const { return deadline_; }
  [[nodiscard]] std::span<const std::uint32_t> blocks_of(std::size_t first,
                                                         std::size_t count) const;
  // No further calls: what is not done gets `why`.
  void stop(Errc why);
  // Submits what there is room for; ends when nothing is left. May run callbacks.
  void go_on();

 protected:
  // Submits the next call and answers true, or false: there is none now.
  virtual bool submit_next() = 0;
  [[nodiscard]] virtual bool has_more() const = 0;
  virtual void on_stopped(Errc why) = 0;  // sets the statuses of what is not done
  virtual void on_ended() {}              // before on_done

  // Counts a call of so many bytes; call_ended() when its callback runs.
  void call_begins(std::uint64_t bytes);
  void call_ended(std::uint64_t bytes);
  void fail(std::size_t object, Errc status);
  [[nodiscard]] bool is_stopped() const { return stopped_ != Errc::ok; }
  [[nodiscard]] std::vector<std::string_view> names(std::size_t first, std::size_t count) const;
  template <class Self>
  [[nodiscard]] std::shared_ptr<Self> self() {
    return std::static_pointer_cast<Self>(shared_from_this());
  }

  MoverCore& core_;
  const striping::CallOptions call_;
  std::vector<std::string> names_;  // as in the pool
  std::vector<std::uint32_t> blocks_;
  std::vector<Errc> statuses_;  // ok until an object fails

 private:
  [[nodiscard]] bool has_room() const;

  const TimePoint deadline_;
  const bool writes_;
  const std::size_t blocks_per_object_;
  KvMover::OnStatuses on_done_;
  std::size_t calls_ = 0;
  std::uint64_t bytes_ = 0;  // under way
  Errc stopped_ = Errc::ok;
  bool is_going_ = false;
  bool is_done_ = false;
};

class StoreState final : public KvTransfer {
 public:
  StoreState(MoverCore& core, const KvList& list, const KvOptions& options,
             KvMover::OnStatuses on_done);

  [[nodiscard]] std::uint32_t next_layer() const { return layers_told_; }
  [[nodiscard]] bool has_layers_to_come() const { return layers_told_ > layers_given_; }
  void tell_layer() { ++layers_told_; }  // the engine has said so
  void give_layer();                     // its pages are computed

 private:
  struct Group {
    std::size_t first = 0, count = 0;
    striping::LayeredPut put{};
    std::uint32_t next_layer = 0;
    std::uint32_t layers_done = 0;
    bool is_over = false;
  };

  bool submit_next() override;
  [[nodiscard]] bool has_more() const override;
  void on_stopped(Errc why) override;
  void on_ended() override;
  void begin(std::size_t index);
  void put_layer(std::size_t index);
  void on_begun(std::size_t index, const Result<striping::LayeredPut>& put);
  void on_put(std::size_t index, std::span<const Errc> statuses);
  void line_up(std::size_t index);
  void settle(std::size_t index, std::span<const Errc> statuses);

  const bool rebinds_;
  const wire::Retention retention_;
  std::vector<Group> groups_;
  std::size_t next_unasked_ = 0, groups_asked_ = 0, groups_over_ = 0;
  std::deque<std::size_t> ready_;  // a layer of theirs can be put, in turns
  std::vector<std::size_t> idle_;  // have none until the engine gives one
  std::uint32_t layers_told_ = 0, layers_given_ = 0;
};

class LoadState final : public KvTransfer {
 public:
  LoadState(MoverCore& core, const KvList& list, const KvOptions& options,
            KvMover::OnLayer on_layer, KvMover::OnStatuses on_done);

  [[nodiscard]] std::uint32_t layers_ready() const { return layers_ready_; }
  [[nodiscard]] const DeviceEvent* event(std::uint32_t layer) const;
  void look_up();
  void wait_for_place() { is_held_ = true; }
  void let_go() { is_held_ = false; }

 private:
  struct Group {
    std::size_t first = 0, count = 0;
    std::size_t alive = 0;  // objects that have not failed
    striping::Lookup found{};
  };

  bool submit_next() override;
  [[nodiscard]] bool has_more() const override;
  void on_stopped(Errc why) override;
  void on_ended() override;
  void on_found(const Result<striping::Lookup>& found);
  void on_read(std::size_t group, std::uint32_t layer, std::span<const Errc> statuses);
  [[nodiscard]] Errc status_of(const striping::FoundObject& object) const;
  [[nodiscard]] bool is_layer_0_awaited() const;
  void divide(const striping::Lookup& found);
  void tell_layers();
  void tell_layer();

  const bool prefix_;
  std::shared_ptr<const KvMover::OnLayer> on_layer_;  // nullptr: nobody is told
  std::vector<Group> groups_;
  std::vector<std::uint32_t> calls_left_;  // of each layer
  std::vector<std::unique_ptr<DeviceEvent>> events_;
  std::uint32_t next_layer_ = 0;
  std::size_t next_group_ = 0;
  std::uint32_t layers_ready_ = 0;
  bool is_found_ = false;
  bool is_held_ = false;  // until the engine's stream has come to a place
};

}  // namespace godbox::kv
