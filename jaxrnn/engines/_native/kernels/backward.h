// The backward pass, a few steps at a time from the last to the first. Of such a chunk the rows'
// gradients come first, each part of the batch by itself; then the weights' gradients, each block
// of the weights by itself over all rows. So every sum has one order, whoever computes it, and
// what is summed is still in a cache.

template <class T, class Cell>
class Backward {
 public:
  explicit Backward(const Job<T>& job)
      : job(job),
        weights(job, (D + H) * columns * long(sizeof(T)) > kNear),
        chunk(chunk_steps()),
        packed(recomputes ? weights.size() : 0),
        bias(Cell::blocks * stride),
        packed_h(columns * stride),
        packed_x(columns * x_stride),
        to_h{packed_h, columns, stride / lanes<T>},
        to_x{packed_x, columns, x_stride / lanes<T>},
        dh(job.rows * stride),
        dc(Cell::has_c ? job.rows * stride : 0),
        a(job.rows * chunk * a_stride),
        z(job.rows * chunk * z_stride),
        dx(job.rows * chunk * x_stride),
        gradient(job) {}

  void run(Team& team) {
    pack(team);
    Part part[kMostParts];
    const long parts = cut(job, parts_wanted(job, team, weights.of_input), part);
    Buffer<T> scratch(kMostParts * 2 * (stride + kLine));
    team.run(parts, [&](long i) { begin(part[i]); });
    for (long end = S; end > 0; end -= steps) {
      steps = end < chunk ? end : chunk;
      low = end - steps;
      samples = 0;
      for (long k = 0; k < steps; ++k) {
        first[k] = samples;
        samples += running(job, {0, job.rows}, time(low + k));
      }
      team.run(parts, [&](long i) { rows_of(part[i], scratch + i * 2 * (stride + kLine)); });
      if (samples) gradient.add(a, a_stride, z, z_stride, samples, team);
    }
    team.run(parts, [&](long i) { finish(part[i]); });
    gradient.write(team);
  }

 private:
  static constexpr long G = Cell::gates, own = Cell::blocks - Cell::gates;
  static constexpr bool output_is_gate = Cell::blocks == 1;

  const Job<T>& job;
  const long D = job.inputs, H = job.units, S = job.steps;
  const long stride = whole<T>(H), columns = G * stride, x_stride = whole<T>(D);
  const long a_stride = D + stride + lanes<T>, z_stride = Cell::blocks * stride + lanes<T>;
  const bool recomputes = !job.gates_in && !output_is_gate;

  Weights<T, Cell> weights;
  const long chunk;
  Buffer<T> packed, bias, packed_h, packed_x;
  Packed<T> to_h, to_x;    // the weights transposed
  Buffer<T> dh, dc;        // [rows, stride]: the gradient of the state, carried to earlier steps
  Buffer<T> a, z, dx;      // the chunk's samples: [x, h before], gates and then dz, dx
  WeightGradient<T, Cell> gradient;
  long low = 0, steps = 0, samples = 0;  // the chunk: steps [low, low + steps) in the run's order
  long first[kMostSteps];                // where a step's samples begin

  long chunk_steps() const {
    const long bytes = job.rows * (a_stride + z_stride + x_stride) * sizeof(T);
    long fit = bytes ? kChunkBytes / bytes : kMostSteps;
    if (fit * job.rows < kChunkSamples) fit = job.rows ? kChunkSamples / job.rows : 1;
    if (fit > kMostSteps) fit = kMostSteps;
    if (fit > S) fit = S;
    return fit < 1 ? 1 : fit;
  }

  void pack(Team& team) {
    if (recomputes) weights.pack(job, packed, team);
    pack_bias<T, Cell>(job, bias);
    team.run(to_h.panels(),
             [&](long p) { pack_transposed<T, Cell>(job.wh, 0, H, H, own, to_h, p); });
    team.run(to_x.panels(), [&](long p) { pack_transposed<T, Cell>(job.wx, 0, D, H, 0, to_x, p); });
  }

  long time(long s) const { return job.reverse ? S - 1 - s : s; }

  bool is_reset(long r, long t) const {
    return job.resets && job.resets[job.reset_row[r] + t * job.stride];
  }

  // What row r read at step s, h or c; null where that was zero.
  const T* before(long r, long s, const T* initial, const long* initial_row, const T* sequence,
                  const long* sequence_row) const {
    if (is_reset(r, time(s))) return nullptr;
    if (s == 0 || time(s - 1) >= job.length[r]) return initial + initial_row[r] * H;
    return sequence + (sequence_row[r] + time(s - 1) * job.stride) * H;
  }

  void copy_padded(const T* from, T* to) const {
    clear_row(to, stride);
    if (from) copy_row(from, to, H);
  }

  void begin(Part part) const {
    for (long r = part.begin; r < part.end; ++r) {
      copy_padded(job.dht + job.dht_row[r] * H, dh + r * stride);
      if (Cell::has_c) copy_padded(job.dct + job.dct_row[r] * H, dc + r * stride);
    }
  }

  void finish(Part part) const {
    for (long r = part.begin; r < part.end; ++r) {
      copy_row(dh + r * stride, job.dh0 + job.state_row[r] * H, H);
      if (Cell::has_c) copy_row(dc + r * stride, job.dc0 + job.state_row[r] * H, H);
    }
  }

  void gather(Part part, long k, long count) const {
    const long s = low + k, t = time(s);
    for (long r = part.begin; r < part.begin + count; ++r) {
      T *to = a + (first[k] + r) * a_stride, *gate = z + (first[k] + r) * z_stride;
      copy_row(job.xs + (job.x_row[r] + t * job.stride) * D, to, D);
      copy_padded(before(r, s, job.h0, job.h0_row, job.hs_in, job.hs_row), to + D);
      round_row(to + D, to + D, stride, job.rounding);
      if (output_is_gate) copy_padded(job.hs_in + (job.hs_row[r] + t * job.stride) * H, gate);
      for (long g = 0; !output_is_gate && job.gates_in && g < Cell::blocks; ++g)
        copy_padded(job.gates_in +
                        ((job.gates_row[r] + t * job.stride) * Cell::blocks + g) * H,
                    gate + g * stride);
    }
  }

  void gate_gradients(Part part, long k, long count, T* scratch) const {
    const long s = low + k, t = time(s);
    for (long r = part.begin; r < part.begin + count; ++r) {
      T *zr = z + (first[k] + r) * z_stride, *d = dh + r * stride;
      add_row(job.dhs + (job.dhs_row[r] + t * job.stride) * H, d, H);
      const T *h = a + (first[k] + r) * a_stride + D, *c = nullptr;
      T* dcr = nullptr;
      if (Cell::direct && job.rounding != kNone) {
        T* const whole_h = scratch + stride + kLine;
        copy_padded(before(r, s, job.h0, job.h0_row, job.hs_in, job.hs_row), whole_h);
        h = whole_h;
      }
      if (Cell::has_c) {
        c = before(r, s, job.c0, job.c0_row, job.cs_in, job.cs_row);
        if (!c || stride != H) {
          copy_padded(c, scratch);
          c = scratch;
        }
        dcr = dc + r * stride;
      }
      if (recomputes) Cell::template backward<T, false>(zr, stride, stride, h, c, d, dcr);
      else Cell::template backward<T, true>(zr, stride, stride, h, c, d, dcr);
    }
  }

  void rows_of(Part part, T* scratch) const {
    long begin[kMostSteps], count[kMostSteps];
    for (long k = 0; k < steps; ++k) {
      begin[k] = first[k] + part.begin;
      count[k] = running(job, part, time(low + k));
      gather(part, k, count[k]);
    }
    const Spans spans{begin, count, steps};
    for (int i = 0; recomputes && i < weights.terms; ++i) {
      const Term<T>& term = weights.term[i];
      product<T>(spans, a + term.from, a_stride, term.w, z + term.block * stride, z_stride,
                 term.init, bias + term.block * stride);
    }
    for (long k = steps - 1; k >= 0; --k) {
      gate_gradients(part, k, count[k], scratch);
      product<T>(count[k], z + begin[k] * z_stride + own * stride, z_stride, to_h,
                 dh + part.begin * stride, stride, Cell::direct ? kAdd : kZero, nullptr);
      for (long r = part.begin; job.resets && r < part.begin + count[k]; ++r) {
        if (!is_reset(r, time(low + k))) continue;
        clear_row(dh + r * stride, stride);
        if (Cell::has_c) clear_row(dc + r * stride, stride);
      }
    }
    product<T>(spans, z, z_stride, to_x, dx, x_stride, kZero, nullptr);
    for (long k = 0; k < steps; ++k)
      for (long r = part.begin; r < part.end; ++r) {
        T* to = job.dxs + (job.seq_row[r] + time(low + k) * job.stride) * D;
        if (r < part.begin + count[k]) copy_row(dx + (first[k] + r) * x_stride, to, D);
        else clear_row(to, D);
      }
  }
};
