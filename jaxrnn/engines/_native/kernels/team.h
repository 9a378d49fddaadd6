// A team of threads: the caller and whatever helpers the runtime's thread pool can spare.
//
// The pool promises nothing: tasks may run late, one after another, or on the caller's own thread.
// So no task ever waits for another. Items of a phase are claimed one by one; the caller claims
// too, and waits only for items that a running helper has claimed. A helper that comes late finds
// the team closed and leaves.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

namespace jaxrnn {

class Team {
 public:
  // `schedule` hands a task to the pool.
  using Schedule = std::function<void(std::function<void()>)>;

  Team() : size_(1) {}
  Team(int size, const Schedule& schedule);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int size() const { return size_; }

  // Calls body(i) for every i in [0, items) and returns when all are done.
  template <class Body>
  void run(long items, const Body& body) {
    run_erased(items, [](const void* b, long i) { (*static_cast<const Body*>(b))(i); }, &body);
  }

  // The same for at most size() items, each by the same thread time after time where that comes
  // in time: what it read stays in its cache.
  template <class Body>
  void run_steady(long items, const Body& body) {
    if (items == 1) return body(0);
    run_steady_erased(items, [](const void* b, long i) { (*static_cast<const Body*>(b))(i); },
                      &body);
  }

 private:
  using Call = void (*)(const void*, long);
  struct Shared {
    // epoch (24 bits) | items (20 bits) | next item (20 bits), so that one exchange claims an
    // item of one phase and of no other.
    std::atomic<uint64_t> ticket{0};
    // For steady phases: of each item the last phase that claimed it.
    std::unique_ptr<std::atomic<uint64_t>[]> claimed;
    std::atomic<long> members{1};
    std::atomic<long> done{0};
    std::atomic<bool> closed{false};
    Call call = nullptr;
    const void* body = nullptr;

    bool work(long member);
    bool work_steady(uint64_t ticket, long items, long member);
    void help();
  };

  void run_erased(long items, Call call, const void* body);
  void run_steady_erased(long items, Call call, const void* body);
  void begin(uint64_t items);
  void wait(long items);

  int size_;
  uint64_t epoch_ = 0;
  std::shared_ptr<Shared> shared_;
};

}  // namespace jaxrnn
