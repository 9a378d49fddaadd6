// The two calls that XLA makes, unpacked into jobs.
//
// `vmap` puts axes in front of every array, of size 1 where an array is shared: together they
// count the groups. Groups that share their weights are one larger batch to the forward pass. The
// gradients of the weights are each group's own.
#include <algorithm>
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "job.h"
#include "xla/ffi/api/ffi.h"

namespace jaxrnn {

void* allocate(long bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes > 0 ? bytes : 64) != 0) throw std::bad_alloc();
  return memory;
}
void release(void* memory) { std::free(memory); }

namespace {

namespace ffi = xla::ffi;

enum Vectors { kWidest = 0, kPortable = 1, kAvx2 = 2, kAvx512 = 3 };

int widest() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw"))
    return kAvx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kAvx2;
#endif
  return kPortable;
}

template <class T>
void dispatch(bool back, int vectors, CellId cell, const Job<T>& job, Team& team) {
#if defined(__x86_64__)
  if (vectors == kAvx512) return avx512::run(back, cell, job, team);
  if (vectors == kAvx2) return avx2::run(back, cell, job, team);
#endif
  portable::run(back, cell, job, team);
}

struct Options {
  int cell, vectors, threads, rounding;
  bool reverse, batch_major, clear;
};

// One array: its axes in front of the last `rank` ones count groups.
struct Array {
  void* data;
  std::vector<long> lead, axes;

  template <class Buffer>
  Array(Buffer&& buffer, size_t rank) : data(buffer.untyped_data()) {
    const auto dims = buffer.dimensions();
    for (size_t i = 0; i < dims.size(); ++i)
      (i + rank < dims.size() ? lead : axes).push_back(dims[i]);
  }
  bool empty() const { return std::count(axes.begin(), axes.end(), 0) > 0; }
  bool shared() const { return std::count(lead.begin(), lead.end(), 1) == long(lead.size()); }
  // Which of this array's own groups is the call's group g.
  long own(long g, const std::vector<long>& groups) const {
    long index = 0, scale = 1;
    for (size_t i = groups.size(); i-- > 0; g /= groups[i]) {
      if (lead[i] == 1) continue;
      index += g % groups[i] * scale;
      scale *= lead[i];
    }
    return index;
  }
};

struct Call {
  Options options;
  Array xs, h0, c0, wx, wh, bx, bh, lengths, resets;
  std::vector<long> groups;
  long count = 1, T, B, D, H;

  Call(Options o, std::vector<Array> in, const Array& out)
      : options(o), xs(in[0]), h0(in[1]), c0(in[2]), wx(in[3]), wh(in[4]), bx(in[5]), bh(in[6]),
        lengths(in[7]), resets(in[8]), groups(out.lead) {
    for (long n : groups) count *= n;
    T = xs.axes[o.batch_major ? 1 : 0];
    B = xs.axes[o.batch_major ? 0 : 1];
    D = xs.axes[2];
    H = wh.axes[0];
  }
};

// The rows of some groups, sorted, and where each lies in every array.
struct Rows {
  const Call& call;
  std::vector<long> group, batch, length;
  std::vector<std::vector<long>> tables;

  Rows(const Call& c, long low, long high) : call(c) {
    struct Row {
      long group, batch, length;
    };
    std::vector<Row> rows;
    for (long g = low; g < high; ++g) {
      const int* given = static_cast<const int*>(c.lengths.data);
      for (long b = 0; b < c.B; ++b) {
        const long n = c.lengths.empty() ? c.T : given[c.lengths.own(g, c.groups) * c.B + b];
        rows.push_back({g, b, std::min(std::max(n, 0L), c.T)});
      }
    }
    if (!c.lengths.empty())
      std::stable_sort(rows.begin(), rows.end(),
                       [](const Row& a, const Row& b) { return a.length > b.length; });
    for (const Row& row : rows) {
      group.push_back(row.group);
      batch.push_back(row.batch);
      length.push_back(row.length);
    }
    tables.reserve(16);
  }
  // Where each row begins in an array over steps, and in one without.
  const long* sequence(const Array& a) {
    const bool major = call.options.batch_major;
    return table(a, call.T * call.B, major ? call.T : 1);
  }
  const long* state(const Array& a) { return table(a, call.B, 1); }

 private:
  const long* table(const Array& a, long per_group, long per_row) {
    std::vector<long> rows(group.size());
    for (size_t r = 0; r < rows.size(); ++r)
      rows[r] = a.own(group[r], call.groups) * per_group + batch[r] * per_row;
    tables.push_back(std::move(rows));
    return tables.back().data();
  }
};

template <class T>
T* at(const Array& a, long g, const Call& call) {
  long size = 1;
  for (long n : a.axes) size *= n;
  return static_cast<T*>(a.data) + a.own(g, call.groups) * size;
}

template <class T>
Job<T> job_of(const Call& call, Rows& rows, long g) {
  Job<T> job{};
  job.steps = call.T, job.inputs = call.D, job.units = call.H;
  job.rows = rows.length.size();
  job.stride = call.options.batch_major ? 1 : call.B;
  job.reverse = call.options.reverse, job.clear = call.options.clear;
  job.rounding = Rounding(call.options.rounding);
  job.length = rows.length.data();
  job.xs = static_cast<T*>(call.xs.data), job.x_row = rows.sequence(call.xs);
  job.h0 = static_cast<T*>(call.h0.data), job.h0_row = rows.state(call.h0);
  job.c0 = static_cast<T*>(call.c0.data), job.c0_row = rows.state(call.c0);
  job.wx = at<T>(call.wx, g, call), job.wh = at<T>(call.wh, g, call);
  job.bx = at<T>(call.bx, g, call), job.bh = at<T>(call.bh, g, call);
  if (!call.resets.empty()) {
    job.resets = static_cast<const bool*>(call.resets.data);
    job.reset_row = rows.sequence(call.resets);
  }
  return job;
}

// Runs one job for each set of groups: by the whole team, or, many at once, each by one thread.
template <class Run>
void over_groups(long sets, Team& team, const Run& run) {
  if (sets == 1) return run(0, team);
  team.run(sets, [&](long i) {
    Team alone;
    run(i, alone);
  });
}

template <class Body>
ffi::Error with_team(const Call& call, ffi::ThreadPool pool, const Body& body) {
  const double work = double(call.count) * call.B * call.T * (call.D + call.H) * call.H;
  long size = work < 1e5 ? 1 : std::max<long>(1, pool.num_threads());
  if (call.options.threads > 0) size = std::min<long>(size, call.options.threads);
  try {
    Team team(size, [&](std::function<void()> task) { pool.Schedule(std::move(task)); });
    body(team);
  } catch (const std::bad_alloc&) {
    return ffi::Error(ffi::ErrorCode::kResourceExhausted, "jaxrnn: out of memory");
  }
  return ffi::Error::Success();
}

template <class T>
ffi::Error forward_of(const Call& call, const std::vector<Array>& out, ffi::ThreadPool pool) {
  const bool shared = call.wx.shared() && call.wh.shared() && call.bx.shared() && call.bh.shared();
  return with_team(call, pool, [&](Team& team) {
    over_groups(shared ? 1 : call.count, team, [&](long g, Team& own) {
      Rows rows(call, g, shared ? call.count : g + 1);
      Job<T> job = job_of<T>(call, rows, g);
      job.hs = static_cast<T*>(out[0].data), job.seq_row = rows.sequence(out[0]);
      job.ht = static_cast<T*>(out[1].data), job.state_row = rows.state(out[1]);
      job.ct = static_cast<T*>(out[2].data);
      job.cs = out[3].empty() ? nullptr : static_cast<T*>(out[3].data);
      job.gates = out[4].empty() ? nullptr : static_cast<T*>(out[4].data);
      dispatch(false, call.options.vectors, CellId(call.options.cell), job, own);
    });
  });
}

template <class T>
ffi::Error backward_of(const Call& call, const std::vector<Array>& in,
                       const std::vector<Array>& out, ffi::ThreadPool pool) {
  return with_team(call, pool, [&](Team& team) {
    over_groups(call.count, team, [&](long g, Team& own) {
      Rows rows(call, g, g + 1);
      Job<T> job = job_of<T>(call, rows, g);
      job.hs_in = static_cast<T*>(in[9].data), job.hs_row = rows.sequence(in[9]);
      job.cs_in = static_cast<T*>(in[10].data), job.cs_row = rows.sequence(in[10]);
      job.gates_in = in[11].empty() ? nullptr : static_cast<T*>(in[11].data);
      job.gates_row = rows.sequence(in[11]);
      job.dhs = static_cast<T*>(in[12].data), job.dhs_row = rows.sequence(in[12]);
      job.dht = static_cast<T*>(in[13].data), job.dht_row = rows.state(in[13]);
      job.dct = static_cast<T*>(in[14].data), job.dct_row = rows.state(in[14]);
      job.dxs = static_cast<T*>(out[0].data), job.seq_row = rows.sequence(out[0]);
      job.dh0 = static_cast<T*>(out[1].data), job.state_row = rows.state(out[1]);
      job.dc0 = static_cast<T*>(out[2].data);
      job.dwx = at<T>(out[3], g, call), job.dwh = at<T>(out[4], g, call);
      job.dbx = at<T>(out[5], g, call), job.dbh = at<T>(out[6], g, call);
      dispatch(true, call.options.vectors, CellId(call.options.cell), job, own);
    });
  });
}

constexpr size_t kInputRanks[] = {3, 2, 2, 2, 2, 1, 1, 1, 2, 3, 3, 3, 3, 2, 2};
constexpr size_t kForwardRanks[] = {3, 2, 2, 3, 3};
constexpr size_t kBackwardRanks[] = {3, 2, 2, 2, 2, 1, 1};

ffi::Error run(bool back, ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,
               Options options) {
  if (options.vectors == kWidest) options.vectors = widest();
  if (options.vectors > widest())
    return ffi::Error::InvalidArgument("jaxrnn: this processor has no such vectors");
  std::vector<Array> in, out;
  for (size_t i = 0; i < args.size(); ++i)
    in.emplace_back(args.get<ffi::AnyBuffer>(i).value(), kInputRanks[i]);
  for (size_t i = 0; i < rets.size(); ++i)
    out.emplace_back(*rets.get<ffi::AnyBuffer>(i).value(),
                     (back ? kBackwardRanks : kForwardRanks)[i]);
  const Call call(options, in, out[0]);
  const bool wide = args.get<ffi::AnyBuffer>(0)->element_type() == ffi::F64;
  if (back) return (wide ? backward_of<double> : backward_of<float>)(call, in, out, pool);
  return (wide ? forward_of<double> : forward_of<float>)(call, out, pool);
}

#define JAXRNN_CALL(name, back)                                                                \
  ffi::Error name(ffi::ThreadPool pool, ffi::RemainingArgs args, ffi::RemainingRets rets,      \
                  int cell, int vectors, int threads, int rounding, bool reverse,              \
                  bool batch_major, bool clear) {                                              \
    return run(back, pool, args, rets,                                                         \
               {cell, vectors, threads, rounding, reverse, batch_major, clear});               \
  }
JAXRNN_CALL(forward_call, false)
JAXRNN_CALL(backward_call, true)
#undef JAXRNN_CALL

}  // namespace
}  // namespace jaxrnn

#define JAXRNN_BINDING                \
  xla::ffi::Ffi::Bind()               \
      .Ctx<xla::ffi::ThreadPool>()    \
      .RemainingArgs()                \
      .RemainingRets()                \
      .Attr<int32_t>("cell")          \
      .Attr<int32_t>("vectors")       \
      .Attr<int32_t>("threads")       \
      .Attr<int32_t>("rounding")      \
      .Attr<bool>("reverse")          \
      .Attr<bool>("batch_major")      \
      .Attr<bool>("clear")

#pragma GCC visibility push(default)
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxrnn_forward, jaxrnn::forward_call, JAXRNN_BINDING);
XLA_FFI_DEFINE_HANDLER_SYMBOL(jaxrnn_backward, jaxrnn::backward_call, JAXRNN_BINDING);

// The widest vectors of this processor, and the version of XLA's interface that this was built for.
extern "C" int jaxrnn_widest() { return jaxrnn::widest(); }
extern "C" int jaxrnn_interface() { return XLA_FFI_API_MAJOR * 1000 + XLA_FFI_API_MINOR; }
#pragma GCC visibility pop
