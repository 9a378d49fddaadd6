#include "team.h"

#include <thread>

namespace jaxrnn {
namespace {

constexpr long kMaxItems = (1L << 20) - 1;

void relax(int& spins) {
  // A phase lasts microseconds; sleeping would cost more than it saves.
  if (++spins < 2000) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  } else {
    std::this_thread::yield();
  }
}

}  // namespace

bool Team::Shared::work() {
  bool worked = false;
  uint64_t ticket = this->ticket.load(std::memory_order_acquire);
  for (;;) {
    const long items = static_cast<long>((ticket >> 20) & kMaxItems);
    const long next = static_cast<long>(ticket & kMaxItems);
    if (next >= items) return worked;
    if (this->ticket.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) {
      call(body, next);
      done.fetch_add(1, std::memory_order_release);
      worked = true;
      ticket = this->ticket.load(std::memory_order_acquire);
    }
  }
}

void Team::Shared::help() {
  int spins = 0;
  while (!closed.load(std::memory_order_acquire)) {
    if (work()) spins = 0;
    else relax(spins);
  }
}

Team::Team(int size, const Schedule& schedule) : size_(size) {
  if (size < 2) return;
  shared_ = std::make_shared<Shared>();
  for (int i = 1; i < size; ++i) {
    schedule([shared = shared_] { shared->help(); });
  }
}

Team::~Team() {
  if (shared_) shared_->closed.store(true, std::memory_order_release);
}

void Team::run_erased(long items, Call call, const void* body) {
  if (!shared_) {
    for (long i = 0; i < items; ++i) call(body, i);
    return;
  }
  for (long first = 0; first < items; first += kMaxItems) {
    struct Part {
      Call call;
      const void* body;
      long first;
    } part{call, body, first};
    const long count = items - first < kMaxItems ? items - first : kMaxItems;
    // Nobody can claim now: every item of the phase before is done, and its ticket is used up.
    shared_->call = [](const void* p, long i) {
      const Part& part = *static_cast<const Part*>(p);
      part.call(part.body, part.first + i);
    };
    shared_->body = &part;
    shared_->done.store(0, std::memory_order_relaxed);
    epoch_ = (epoch_ + 1) & 0xffffff;
    shared_->ticket.store((epoch_ << 40) | (static_cast<uint64_t>(count) << 20),
                          std::memory_order_release);
    shared_->work();
    int spins = 0;
    while (shared_->done.load(std::memory_order_acquire) < count) relax(spins);
  }
}

}  // namespace jaxrnn
