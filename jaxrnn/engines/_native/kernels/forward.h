// The forward pass: every part of the batch runs through all its steps by itself.

template <class T>
struct ForwardMemory {  // of one part
  long rows, a_stride, z_stride, stride, steps;
  T *a, *z, *h, *c;  // h: what meets the recurrent weights
  long h_stride;
  T* exact;          // [rows, stride]: h before it is rounded; null where it is not
};

// Clears these units of what a row would write at a step past its end.
template <class T, class Cell>
void clear_ended(const Job<T>& job, long row, Units u) {
  const long n = u.end - u.begin;
  clear_row(job.hs + row * job.units + u.begin, n);
  if (!job.clear) return;
  if (job.cs) clear_row(job.cs + row * job.units + u.begin, n);
  for (long g = 0; job.gates && g < Cell::blocks; ++g)
    clear_row(job.gates + (row * Cell::blocks + g) * job.units + u.begin, n);
}

template <class T, class Cell>
void forward_part(const Job<T>& job, const Weights<T, Cell>& weights, const T* bias, Part part,
                  const ForwardMemory<T>& m) {
  const long D = job.inputs, H = job.units, S = job.steps, R = part.end - part.begin;
  const long* const sequence = job.seq_row;
  for (long i = 0; i < R; ++i) {
    const long r = part.begin + i;
    T *seen = m.h + i * m.h_stride, *h = m.exact ? m.exact + i * m.stride : seen;
    clear_row(h, m.stride);
    copy_row(job.h0 + job.h0_row[r] * H, h, H);
    round_row(h, seen, m.stride, job.rounding);
    if (!Cell::has_c) continue;
    clear_row(m.c + i * m.stride, m.stride);
    copy_row(job.c0 + job.c0_row[r] * H, m.c + i * m.stride, H);
  }
  long first[kMostSteps], count[kMostSteps];
  for (long s0 = 0; s0 < S; s0 += m.steps) {
    const long steps = S - s0 < m.steps ? S - s0 : m.steps;
    long samples = 0;
    for (long s = 0; s < steps; ++s) {
      const long t = job.reverse ? S - 1 - (s0 + s) : s0 + s;
      first[s] = samples;
      count[s] = running(job, part, t);
      for (long i = 0; i < count[s]; ++i)
        copy_row(job.xs + (job.x_row[part.begin + i] + t * job.stride) * D,
                 m.a + (samples + i) * m.a_stride, D);
      samples += count[s];
    }
    for (int k = 0; k < weights.of_input; ++k) {
      const Term<T>& term = weights.term[k];
      product<T>(samples, m.a, m.a_stride, term.w, m.z + term.block * m.stride, m.z_stride,
                 term.init, bias + term.block * m.stride);
    }
    for (long s = 0; s < steps; ++s) {
      const long t = job.reverse ? S - 1 - (s0 + s) : s0 + s;
      for (long i = 0; job.resets && i < count[s]; ++i) {
        if (!job.resets[job.reset_row[part.begin + i] + t * job.stride]) continue;
        clear_row(m.h + i * m.h_stride, m.stride);
        if (m.exact) clear_row(m.exact + i * m.stride, m.stride);
        if (Cell::has_c) clear_row(m.c + i * m.stride, m.stride);
      }
      // A few rows at a time, so that their pre-activations are still near when they are used;
      // but all of them where every further pass over the weights would fetch them from afar.
      const long few = weights.of_input ? R : kFew;
      for (long i0 = 0; i0 < count[s]; i0 += few) {
        const long rows = count[s] - i0 < few ? count[s] - i0 : few;
        T* z = m.z + (weights.of_input ? first[s] + i0 : 0) * m.z_stride;
        for (int k = weights.of_input; k < weights.terms; ++k) {
          const Term<T>& term = weights.term[k];
          const T* a = term.from >= D ? m.h + i0 * m.h_stride + (term.from - D)
                                      : m.a + i0 * m.a_stride + term.from;
          product<T>(rows, a, term.from >= D ? m.h_stride : m.a_stride, term.w,
                     z + term.block * m.stride, m.z_stride, term.init,
                     bias + term.block * m.stride);
        }
        for (long j = 0; j < rows; ++j) {
          const long i = i0 + j, row = sequence[part.begin + i] + t * job.stride;
          T *seen = m.h + i * m.h_stride, *h = m.exact ? m.exact + i * m.stride : seen;
          T *c = m.c + i * m.stride, *zj = z + j * m.z_stride;
          if (job.gates) Cell::template forward<T, true>(zj, m.stride, m.stride, h, c);
          else Cell::template forward<T, false>(zj, m.stride, m.stride, h, c);
          if (m.exact) round_row(h, seen, m.stride, job.rounding);
          copy_row(h, job.hs + row * H, H);
          if (Cell::has_c && job.cs) copy_row(c, job.cs + row * H, H);
          for (long g = 0; job.gates && g < Cell::blocks; ++g)
            copy_row(zj + g * m.stride, job.gates + (row * Cell::blocks + g) * H, H);
        }
      }
      for (long i = count[s]; i < R; ++i)
        clear_ended<T, Cell>(job, sequence[part.begin + i] + t * job.stride, {0, H});
    }
  }
  for (long i = 0; i < R; ++i) {
    const long r = job.state_row[part.begin + i];
    copy_row(m.exact ? m.exact + i * m.stride : m.h + i * m.h_stride, job.ht + r * H, H);
    if (Cell::has_c) copy_row(m.c + i * m.stride, job.ct + r * H, H);
  }
}

template <class T, class Cell>
void run_forward(const Job<T>& job, Team& team) {
  const long D = job.inputs, H = job.units, stride = whole<T>(H);
  const bool split = (D + H) * Cell::gates * stride * sizeof(T) > kNear;
  Weights<T, Cell> weights(job, split);
  Buffer<T> packed(weights.size()), bias(Cell::blocks * stride);
  weights.pack(job, packed, team);
  pack_bias<T, Cell>(job, bias);

  Part part[kMostParts];
  const long parts = cut(job, parts_wanted(job, team, split), part);
  ForwardMemory<T> m;
  m.stride = stride;
  // As many steps' inputs at once as make enough rows for the weights to be worth fetching.
  const long enough = kChunkSamples * parts / (job.rows > 0 ? job.rows : 1);
  m.steps = !split || enough < 1 ? 1 : enough < kMostSteps ? enough : kMostSteps;
  m.a_stride = D + stride + lanes<T>;
  m.z_stride = Cell::blocks * stride + lanes<T>;
  m.h_stride = split ? stride + lanes<T> : m.a_stride;
  // One block of memory for every part: a, z, h (with a, when not split) and c.
  long at[kMostParts + 1];
  at[0] = 0;
  for (long i = 0; i < parts; ++i) {
    const long R = part[i].end - part[i].begin, z_rows = split ? R * m.steps : kFew;
    at[i + 1] = at[i] + R * m.steps * m.a_stride + z_rows * m.z_stride +
                (split ? R * m.h_stride : 0) + R * stride * (job.rounding ? 2 : 1) + 4 * kLine;
  }
  Buffer<T> memory(at[parts]);
  team.run(parts, [&](long i) {
    ForwardMemory<T> own = m;
    const long R = part[i].end - part[i].begin;
    own.a = memory + at[i];
    own.z = own.a + R * m.steps * m.a_stride;
    own.c = own.z + (split ? R * m.steps : kFew) * m.z_stride;
    own.exact = job.rounding ? own.c + R * stride : nullptr;
    own.h = split ? own.c + R * stride * (job.rounding ? 2 : 1) : own.a + D;
    forward_part<T, Cell>(job, weights, bias, part[i], own);
  });
}
