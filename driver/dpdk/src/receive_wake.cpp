// SPDX-License-Identifier: Apache-2.0
#include "receive_wake.h"

#include <rte_interrupts.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace godbox::driver {

std::unique_ptr<ReceiveWake> ReceiveWake::make(Device& device, std::uint16_t queue) {
  std::unique_ptr<ReceiveWake> wake(new ReceiveWake(device, queue));
  return device.interrupts() && wake->open() ? std::move(wake) : nullptr;
}

bool ReceiveWake::open() {
  const LogCapture log(LogCapture::Also::nowhere);  // that a driver cannot do it is no error
  interrupts_ = epoll_create1(EPOLL_CLOEXEC);
  outer_ = epoll_create1(EPOLL_CLOEXEC);
  event_ = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
  is_added_ = interrupts_ >= 0 && rte_eth_dev_rx_intr_ctl_q(device_.port(), queue_, interrupts_,
                                                            RTE_INTR_EVENT_ADD, nullptr) == 0;
  if (!is_added_ || outer_ < 0 || event_ < 0) {
    return false;
  }
  for (const int inner : {interrupts_, event_}) {
    epoll_event readable{.events = EPOLLIN, .data = {.fd = inner}};
    if (epoll_ctl(outer_, EPOLL_CTL_ADD, inner, &readable) != 0) {
      return false;
    }
  }
  device_.set_change_event(queue_, event_);
  return true;
}

ReceiveWake::~ReceiveWake() {
  const LogCapture log(LogCapture::Also::nowhere);
  device_.set_change_event(queue_, -1);
  if (is_added_) {
    (void)rte_eth_dev_rx_intr_ctl_q(device_.port(), queue_, interrupts_, RTE_INTR_EVENT_DEL,
                                    nullptr);
  }
  for (const int descriptor : {outer_, event_, interrupts_}) {
    if (descriptor >= 0) {
      (void)close(descriptor);
    }
  }
}

bool ReceiveWake::take_interrupts() {
  rte_epoll_event event{};
  return rte_epoll_wait(interrupts_, &event, 1, 0) > 0;
}

void ReceiveWake::on_frames() {
  if (is_idle_) {
    is_idle_ = false;
    (void)rte_eth_dev_rx_intr_disable(device_.port(), queue_);
    (void)eventfd_write(event_, 1);
  }
}

bool ReceiveWake::on_none() {
  if (is_idle_ && device_.changes() == changes_seen_ && !take_interrupts()) {
    return false;
  }
  // In this order: a change after the event is cleared sets it again.
  eventfd_t count = 0;
  (void)eventfd_read(event_, &count);
  changes_seen_ = device_.changes();
  (void)take_interrupts();
  (void)rte_eth_dev_rx_intr_enable(device_.port(), queue_);  // some are always on and say ENOTSUP
  is_idle_ = true;
  return true;
}

}  // namespace godbox::driver
