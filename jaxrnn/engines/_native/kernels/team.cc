#include "team.h"

#include <thread>

namespace jaxrnn {
namespace {

constexpr long kMaxItems = (1L << 20) - 1;
constexpr long kSteady = kMaxItems;  // in the place of the next item: items are claimed by name

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

bool Team::Shared::work(long member) {
  bool worked = false;
  uint64_t ticket = this->ticket.load(std::memory_order_acquire);
  for (;;) {
    const long items = static_cast<long>((ticket >> 20) & kMaxItems);
    const long next = static_cast<long>(ticket & kMaxItems);
    if (next == kSteady) return work_steady(ticket, items, member);
    if (next >= items) return worked;
    if (this->ticket.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) {
      call(body, next);
      done.fetch_add(1, std::memory_order_release);
      worked = true;
      ticket = this->ticket.load(std::memory_order_acquire);
    }
  }
}

bool Team::Shared::work_steady(uint64_t ticket, long items, long member) {
  bool worked = false;
  for (long k = 0; k < items; ++k) {
    const long i = (member + k) % items;
    uint64_t last = claimed[i].load(std::memory_order_acquire);
    // A later phase than this ticket's may have claimed it: then this one is over.
    if ((last >> 40) == (ticket >> 40)) continue;
    if (this->ticket.load(std::memory_order_acquire) != ticket) return worked;
    if (!claimed[i].compare_exchange_strong(last, ticket, std::memory_order_acq_rel)) continue;
    call(body, i);
    done.fetch_add(1, std::memory_order_release);
    worked = true;
  }
  return worked;
}

void Team::Shared::help() {
  const long member = members.fetch_add(1, std::memory_order_relaxed);
  int spins = 0;
  while (!closed.load(std::memory_order_acquire)) {
    if (work(member)) spins = 0;
    else relax(spins);
  }
}

Team::Team(int size, const Schedule& schedule) : size_(size) {
  if (size < 2) return;
  shared_ = std::make_shared<Shared>();
  shared_->claimed.reset(new std::atomic<uint64_t>[size]());
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
    begin(static_cast<uint64_t>(count) << 20);
    shared_->work(0);
    wait(count);
  }
}

void Team::run_steady_erased(long items, Call call, const void* body) {
  if (!shared_) {
    for (long i = 0; i < items; ++i) call(body, i);
    return;
  }
  shared_->call = call;
  shared_->body = body;
  begin((static_cast<uint64_t>(items) << 20) | kSteady);
  shared_->work(0);
  wait(items);
}

void Team::begin(uint64_t items) {
  shared_->done.store(0, std::memory_order_relaxed);
  epoch_ = (epoch_ + 1) & 0xffffff;
  shared_->ticket.store((epoch_ << 40) | items, std::memory_order_release);
}

void Team::wait(long items) {
  int spins = 0;
  while (shared_->done.load(std::memory_order_acquire) < items) relax(spins);
}

}  // namespace jaxrnn
