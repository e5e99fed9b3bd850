// SPDX-License-Identifier: Apache-2.0
//
// A kernel with CXL devices for the tests: sysfs files in a folder of its own, and the effects that
// Linux 6.12 gives to writes. It records them and can refuse any one of them. Rules that it checks:
// a region's position under its window target, ascending order on a host bridge, decoders emptied
// before they are reused, memory off line before kmem lets it go.
// Thread-safety: one thread. Errors: a write that the real kernel would refuse is refused.
#pragma once

#include <godbox/driver/cxl_tree.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace godbox::driver {

struct FakeDevice {
  std::uint64_t serial = 0;
  unsigned bridge = 0;
  std::uint64_t size_bytes = std::uint64_t{256} << 20U;
};
struct FakeWindow {
  std::vector<unsigned> bridges;
  std::uint64_t size_bytes = std::uint64_t{256} << 20U;
};

class FakeKernel final : public SysfsTree {
 public:
  FakeKernel(const std::vector<FakeDevice>& devices, const std::vector<FakeWindow>& windows);
  ~FakeKernel() override;
  FakeKernel(const FakeKernel&) = delete;
  FakeKernel& operator=(const FakeKernel&) = delete;

  [[nodiscard]] int write(const std::string& path, const std::string& text) override;
  [[nodiscard]] std::optional<std::string> user_of(const std::string& path) const override;
  void load_module(const std::string& name) override {
    modules_asked_for.emplace_back(name, get("/sys/bus/dax/drivers_autoprobe"));
  }
  void wait(Duration time) override { waited_ += time; }
  [[nodiscard]] Result<void> lock() override { return {}; }

  void put(const std::string& path, const std::string& text) const;
  void remove(const std::string& path) const;
  [[nodiscard]] std::string get(const std::string& path) const;
  // Every file and link with its content, without what a region's number leaves behind.
  [[nodiscard]] std::map<std::string, std::string> snapshot() const;

  [[nodiscard]] std::vector<std::string> changes_since(
      const std::map<std::string, std::string>& before) const;
  // A kernel without dax_cxl: regions become no dax devices.
  bool has_dax_cxl = true;

  // Called before each write; what is not 0 is the errno that it gets.
  std::function<int(const std::string& path, const std::string& text)> refuse;
  std::vector<std::pair<std::string, std::string>> writes;  // those that were accepted
  std::string open_device{};                                // a device file that somebody has open
  bool has_kmem = true;
  std::vector<std::pair<std::string, std::string>> modules_asked_for{};

  // A device is pulled out of its slot, and put back.
  void pull(unsigned index);
  void plug(unsigned index, const FakeDevice& device) { make_device(index, device); }

  [[nodiscard]] Duration waited() const { return waited_; }

 private:
  void link(const std::string& path, const std::string& target) const;
  void make_bridge(unsigned bridge);
  void make_device(unsigned index, const FakeDevice& device);
  void make_window(unsigned index, const FakeWindow& window, std::uint64_t start);
  [[nodiscard]] int apply(const std::string& path, const std::string& text);
  [[nodiscard]] int apply_to_decoder(const std::string& path, const std::string& text) const;
  [[nodiscard]] int apply_to_region(const std::string& path, const std::string& text);
  [[nodiscard]] int apply_to_dax(const std::string& path, const std::string& text);
  [[nodiscard]] int apply_to_memory(const std::string& path, const std::string& text) const;
  [[nodiscard]] int create_region(const std::string& window, const std::string& name);
  [[nodiscard]] int delete_region(const std::string& name);
  [[nodiscard]] int set_target(const std::string& region, unsigned position,
                               const std::string& decoder);
  [[nodiscard]] int start_region(const std::string& name);
  [[nodiscard]] int stop_region(const std::string& name);
  [[nodiscard]] int bind_kmem(const std::string& dax);
  [[nodiscard]] int unbind_kmem(const std::string& dax);
  [[nodiscard]] std::vector<std::string> blocks_of(const std::string& dax) const;
  [[nodiscard]] std::string bridge_of(const std::string& decoder) const;
  [[nodiscard]] std::string region_path(const std::string& name) const;
  [[nodiscard]] std::string region_of_dax(const std::string& dax) const;

  std::string folder_;
  std::vector<std::string> targets_of_window_[64];
  std::uint64_t window_start_[64] = {};
  std::map<std::string, std::string> region_window_;
  std::map<std::string, std::string> bridge_of_endpoint_;
  std::vector<std::string> dax_ids_;
  unsigned next_region_ = 0;
  Duration waited_{};
};

}  // namespace godbox::driver
