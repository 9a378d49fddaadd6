// Checks the portable kernels without Python, XLA or this processor's vectors: for sanitizers, for
// other compilers, and for other processors under an emulator. See test_sanitizers.py.
//
// The forward pass is compared with plain loops; the backward pass with what the loss of these
// loops changes by along a random direction, in double.

#include "job.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <thread>
#include <vector>

namespace jaxrnn {
void* allocate(long bytes) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, bytes > 0 ? bytes : 64) != 0) throw std::bad_alloc();
  return memory;
}
void release(void* memory) { std::free(memory); }
}  // namespace jaxrnn

using namespace jaxrnn;
using Values = std::vector<double>;

struct Problem {
  CellId cell;
  long T, B, D, H;
  bool reverse, resets, keep;
  long gates() const { return cell == kLstm ? 4 : cell == kGru ? 3 : 1; }
  long blocks() const { return cell == kLstm || cell == kGru ? 4 : 1; }
  bool has_c() const { return cell == kLstm; }
};

struct Inputs {  // all that has a gradient
  Values xs, h0, c0, wx, wh, bx, bh;
  std::vector<Values*> all() { return {&xs, &h0, &c0, &wx, &wh, &bx, &bh}; }
};

struct Outputs {
  Values hs, ht, ct;
};

static double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// Rows in the order of the kernels, the longest first; batch-major.
static Outputs loops(const Problem& p, const Inputs& in, const std::vector<long>& length,
                     const bool* resets) {
  const long G = p.gates(), H = p.H;
  Outputs out{Values(p.B * p.T * H), in.h0, in.c0};
  for (long b = 0; b < p.B; ++b)
    for (long s = 0; s < p.T; ++s) {
      const long t = p.reverse ? p.T - 1 - s : s;
      if (t >= length[b]) continue;
      double *h = &out.ht[b * H], *c = p.has_c() ? &out.ct[b * H] : nullptr;
      if (resets && resets[b * p.T + t])
        for (long u = 0; u < H; ++u) {
          h[u] = 0;
          if (c) c[u] = 0;
        }
      Values gx(in.bx), gh(p.cell == kGru ? in.bh : Values(G * H));
      for (long j = 0; j < G * H; ++j) {
        for (long d = 0; d < p.D; ++d) gx[j] += in.xs[(b * p.T + t) * p.D + d] * in.wx[d * G * H + j];
        for (long u = 0; u < H; ++u) gh[j] += h[u] * in.wh[u * G * H + j];
      }
      for (long u = 0; u < H; ++u) {
        const auto z = [&](long g) { return gx[g * H + u] + gh[g * H + u]; };
        if (p.cell == kRnn) h[u] = std::tanh(z(0));
        if (p.cell == kRelu) h[u] = std::fmax(z(0), 0);
        if (p.cell == kLstm) {
          c[u] = sigmoid(z(1)) * c[u] + sigmoid(z(0)) * std::tanh(z(2));
          h[u] = sigmoid(z(3)) * std::tanh(c[u]);
        }
        if (p.cell == kGru) {
          const double n = std::tanh(gx[2 * H + u] + sigmoid(z(0)) * gh[2 * H + u]);
          h[u] = (1 - sigmoid(z(1))) * n + sigmoid(z(1)) * h[u];
        }
        out.hs[(b * p.T + t) * H + u] = h[u];
      }
    }
  return out;
}

static double dot(const Values& a, const Values& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

static bool check(const Problem& p, long threads) {
  std::mt19937 random(p.T * 7 + p.B * 5 + p.D * 3 + p.H);
  std::normal_distribution<double> normal;
  const auto drawn = [&](long n, double scale) {
    Values values(n);
    for (double& v : values) v = scale * normal(random);
    return values;
  };
  const long G = p.gates(), H = p.H, sequence = p.B * p.T * H;
  Inputs in{drawn(p.B * p.T * p.D, 1), drawn(p.B * H, 1), drawn(p.has_c() ? p.B * H : 0, 1),
            drawn(p.D * G * H, 1 / std::sqrt(p.D + H)), drawn(H * G * H, 1 / std::sqrt(p.D + H)),
            drawn(G * H, 1), drawn(p.cell == kGru ? G * H : 0, 1)};
  std::vector<long> length(p.B), by_sequence(p.B), by_state(p.B);
  std::vector<char> resets(p.B * p.T);
  for (long b = 0; b < p.B; ++b) {
    length[b] = p.T - p.T * b / p.B;
    if (b == p.B - 1 && b) length[b] = 0;
    by_sequence[b] = b * p.T, by_state[b] = b;
    for (long t = 0; t < p.T; ++t) resets[b * p.T + t] = random() % 5 == 0;
  }
  const bool* given = p.resets ? reinterpret_cast<const bool*>(resets.data()) : nullptr;
  const Outputs expected = loops(p, in, length, given);

  Outputs out{Values(sequence), Values(p.B * H), Values(in.c0.size())};
  Values cs(p.has_c() ? sequence : 0), gates(p.keep && p.blocks() == 4 ? 4 * sequence : 0);
  Job<double> job{};
  job.steps = p.T, job.inputs = p.D, job.units = H, job.rows = p.B, job.stride = 1;
  job.reverse = p.reverse, job.length = length.data();
  job.xs = in.xs.data(), job.h0 = in.h0.data(), job.c0 = in.c0.data();
  job.wx = in.wx.data(), job.wh = in.wh.data(), job.bx = in.bx.data(), job.bh = in.bh.data();
  job.resets = given, job.x_row = job.reset_row = job.seq_row = by_sequence.data();
  job.h0_row = job.c0_row = job.state_row = by_state.data();
  job.hs = out.hs.data(), job.ht = out.ht.data(), job.ct = out.ct.data();
  job.cs = cs.empty() ? nullptr : cs.data(), job.gates = gates.empty() ? nullptr : gates.data();

  std::vector<std::thread> helpers;
  const auto schedule = [&](std::function<void()> task) { helpers.emplace_back(std::move(task)); };
  const auto run = [&](bool back) {
    {
      Team team(threads, schedule);
      portable::run(back, p.cell, job, team);
    }
    for (std::thread& helper : helpers) helper.join();
    helpers.clear();
  };
  run(false);
  double far = 0;
  const auto compare = [&](const Values& a, const Values& b) {
    for (size_t i = 0; i < a.size(); ++i) far = std::fmax(far, std::fabs(a[i] - b[i]));
  };
  compare(out.hs, expected.hs), compare(out.ht, expected.ht), compare(out.ct, expected.ct);

  const Outputs weights{drawn(sequence, 1), drawn(p.B * H, 1), drawn(in.c0.size(), 1)};
  Inputs gradient = in;
  job.hs_in = out.hs.data(), job.cs_in = cs.data();
  job.gates_in = gates.empty() ? nullptr : gates.data();
  job.hs_row = job.cs_row = job.gates_row = job.dhs_row = by_sequence.data();
  job.dht_row = job.dct_row = by_state.data();
  job.dhs = weights.hs.data(), job.dht = weights.ht.data(), job.dct = weights.ct.data();
  job.dxs = gradient.xs.data(), job.dh0 = gradient.h0.data(), job.dc0 = gradient.c0.data();
  job.dwx = gradient.wx.data(), job.dwh = gradient.wh.data();
  job.dbx = gradient.bx.data(), job.dbh = gradient.bh.data();
  run(true);

  const double step = 1e-6;
  double along = 0;
  Inputs low = in, high = in;
  for (size_t i = 0; i < in.all().size(); ++i) {
    const Values way = drawn(in.all()[i]->size(), 1);
    along += dot(*gradient.all()[i], way);
    for (size_t k = 0; k < way.size(); ++k) {
      (*low.all()[i])[k] -= step * way[k];
      (*high.all()[i])[k] += step * way[k];
    }
  }
  const auto loss = [&](const Inputs& at) {
    const Outputs o = loops(p, at, length, given);
    return dot(o.hs, weights.hs) + dot(o.ht, weights.ht) + dot(o.ct, weights.ct);
  };
  const double slope = (loss(high) - loss(low)) / (2 * step);
  const double off = std::fabs(slope - along) / std::fmax(1, std::fabs(slope));
  // Rounding of 1e-16 in sums of a few hundred terms; a difference quotient has 1e-16 / 1e-6. A
  // ReLU that changes its side within a step makes more of it.
  const bool right = far < 1e-11 && off < (p.cell == kRelu ? 1e-3 : 1e-6);
  if (!right)
    std::printf("cell %d T %ld B %ld D %ld H %ld reverse %d resets %d keep %d threads %ld: %g %g\n",
                p.cell, p.T, p.B, p.D, p.H, p.reverse, p.resets, p.keep, threads, far, off);
  return right;
}

int main() {
  const long sizes[][4] = {{1, 1, 1, 1}, {3, 7, 5, 15}, {11, 7, 5, 15}, {35, 2, 3, 31},
                           {2, 9, 100, 130}, {9, 5, 70, 150}, {3, 24, 16, 16}, {20, 16, 90, 130}};
  long wrong = 0, count = 0;
  for (const auto& s : sizes)
    for (CellId cell : {kRnn, kLstm, kGru, kRelu})
      for (int bits = 0; bits < 8; ++bits, ++count)
        if (!check({cell, s[0], s[1], s[2], s[3], (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0},
                   bits % 3 + 1))
          ++wrong;
  std::printf("%ld problems, %ld wrong\n", count, wrong);
  return wrong != 0;
}
