// The backward pass, a few steps at a time from the last to the first. Of such a chunk the rows'
// gradients come first, each part of the batch by itself; then the weights' gradients, each block
// of the weights by itself over all rows. So every sum has one order, whoever computes it, and
// what is summed is still in a cache.

template <class T, class Cell>
class Backward {
 public:
  explicit Backward(const Job<T>& job)
      : job(job),
        row{job},
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
    team.run(parts, [&](long i) {
      for (long r = part[i].begin; r < part[i].end; ++r) row.begin(r, dh, dc);
    });
    for (long end = S; end > 0; end -= steps) {
      steps = end < chunk ? end : chunk;
      low = end - steps;
      samples = 0;
      for (long k = 0; k < steps; ++k) {
        first[k] = samples;
        samples += running(job, {0, job.rows}, row.time(low + k));
      }
      team.run(parts, [&](long i) { rows_of(part[i], scratch + i * 2 * (stride + kLine)); });
      if (samples) gradient.add(a, a_stride, z, z_stride, samples, team);
    }
    team.run(parts, [&](long i) {
      for (long r = part[i].begin; r < part[i].end; ++r) row.finish(r, dh, dc);
    });
    gradient.write(team);
  }

 private:
  static constexpr long G = Cell::gates, own = Cell::blocks - Cell::gates;

  const Job<T>& job;
  const Steps<T, Cell> row;
  const long D = job.inputs, H = job.units, S = job.steps;
  const long stride = whole<T>(H), columns = G * stride, x_stride = whole<T>(D);
  const long a_stride = D + stride + lanes<T>, z_stride = Cell::blocks * stride + lanes<T>;
  const bool recomputes = !job.gates_in && !row.output_is_gate;

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

  void gate_gradients(Part part, long k, long count, T* scratch) const {
    const long s = low + k;
    for (long r = part.begin; r < part.begin + count; ++r) {
      T *zr = z + (first[k] + r) * z_stride, *d = dh + r * stride;
      add_row(job.dhs + row.at(job.dhs_row, r, s) * H, d, H);
      const T *h = a + (first[k] + r) * a_stride + D, *c = nullptr;
      T* dcr = nullptr;
      if (Cell::direct && job.rounding != kNone) {
        T* const whole_h = scratch + stride + kLine;
        row.copy_padded(row.h_before(r, s), whole_h);
        h = whole_h;
      }
      if (Cell::has_c) {
        c = row.c_before(r, s);
        if (!c || stride != H) {
          row.copy_padded(c, scratch);
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
      count[k] = running(job, part, row.time(low + k));
      for (long r = part.begin; r < part.begin + count[k]; ++r) {
        const long n = first[k] + r;
        row.gather(r, low + k, a + n * a_stride, z + n * z_stride);
      }
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
      for (long r = part.begin; job.resets && r < part.begin + count[k]; ++r)
        row.cut(r, low + k, {0, stride}, dh, dc);
    }
    product<T>(spans, z, z_stride, to_x, dx, x_stride, kZero, nullptr);
    for (long k = 0; k < steps; ++k)
      for (long r = part.begin; r < part.end; ++r) {
        T* to = job.dxs + row.at(job.seq_row, r, low + k) * D;
        if (r < part.begin + count[k]) copy_row(dx + (first[k] + r) * x_stride, to, D);
        else clear_row(to, D);
      }
  }
};
