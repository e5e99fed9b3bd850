// SPDX-License-Identifier: Apache-2.0
#include "order_buffers.h"

namespace godbox::driver {

bool OrderBuffers::create(ibv_pd* domain, Received received, std::size_t replies) {
  received_ = received;
  bytes_.resize(kOrdersBytes + replies * roce::kMoveReplyBytes);
  region_.reset(
      ibv_reg_mr(domain, bytes_.data(), bytes_.size(), static_cast<int>(IBV_ACCESS_LOCAL_WRITE)));
  return region_ != nullptr;
}

ibv_sge OrderBuffers::piece(MutableSpan buffer, std::size_t size_bytes) const {
  return {.addr = reinterpret_cast<std::uintptr_t>(buffer.data()),
          .length = static_cast<std::uint32_t>(size_bytes),
          .lkey = region_->lkey};
}

bool OrderBuffers::post_receive(ibv_qp* queue_pair, std::size_t number) {
  const MutableSpan buffer =
      received_ == Received::orders ? order(number) : MutableSpan(reply(number));
  ibv_sge piece = this->piece(buffer, buffer.size());
  ibv_recv_wr request{};
  request.wr_id = kReceiveBit | number;
  request.sg_list = &piece;
  request.num_sge = 1;
  ibv_recv_wr* refused = nullptr;
  return ibv_post_recv(queue_pair, &request, &refused) == 0;
}

}  // namespace godbox::driver
