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

 private:
  using Call = void (*)(const void*, long);
  struct Shared {
    // epoch (24 bits) | items (20 bits) | next item (20 bits), so that one exchange claims an
    // item of one phase and of no other.
    std::atomic<uint64_t> ticket{0};
    std::atomic<long> done{0};
    std::atomic<bool> closed{false};
    Call call = nullptr;
    const void* body = nullptr;

    bool work();
    void help();
  };

  void run_erased(long items, Call call, const void* body);

  int size_;
  uint64_t epoch_ = 0;
  std::shared_ptr<Shared> shared_;
};

}  // namespace jaxrnn
