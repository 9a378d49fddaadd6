// The forward pass of a few rows: every thread has its own units, of all rows, and the threads
// meet after each step.

template <class T, class Cell>
class FewForward {
 public:
  FewForward(const Job<T>& job, const Team& team)
      : job(job),
        parts(unit_parts(job, (D + H) * Cell::gates * H * long(sizeof(T)), team)),
        copy_x(packs ? 0 : plain_size<T, Cell>(D, H)),
        copy_h(packs ? 0 : plain_size<T, Cell>(H, H)),
        packed(packs ? (D + H) * Cell::gates * stride : 0),
        bias(Cell::blocks * stride),
        x(R * chunk * D),
        z(parts * z_size(stride)),
        h(R * stride),
        c(Cell::has_c ? R * stride : 0),
        seen(2 * R * stride) {}

  void run(Team& team) {
    if (!packs) {
      wx = plain<T, Cell>(job.wx, D, H, copy_x);
      wh = plain<T, Cell>(job.wh, H, H, copy_h);
    }
    pack_bias<T, Cell>(job, bias);
    for (long r = 0; r < R; ++r) begin(r);
    for (low = 0; low < S; low += steps) {
      steps = S - low < chunk ? S - low : chunk;
      gather();
      for (long k = 0; k < steps; ++k)
        team.run_steady(parts, [&](long p) {
          const Part own{units_of<T>(H, parts, p), z + p * z_size(stride), packed_at(p)};
          if (packs && low + k == 0) pack(own);
          if (k == 0) input(own);
          step(k, own);
        });
    }
    for (long r = 0; r < R; ++r) finish(r);
  }

 private:
  // A thread's units, and the pre-activations and packed weights of these.
  struct Part {
    Units u;
    T *z, *weights;

    long width() const { return u.end - u.begin; }
  };
  static constexpr long G = Cell::gates, own_blocks = Cell::blocks - Cell::gates;

  const Job<T>& job;
  const long D = job.inputs, H = job.units, S = job.steps, R = job.rows;
  const long stride = whole<T>(H);
  const long chunk = chunk_steps();
  const bool packs = S >= kPackSteps;
  const long parts;

  Buffer<T> copy_x, copy_h, packed, bias;
  Buffer<T> x;        // of the chunk's samples
  Buffer<T> z, h, c;
  Buffer<T> seen;     // [2, R, stride]: what meets the recurrent weights, at even and at odd steps
  Plain<T> wx, wh;
  long low = 0, steps = 0;
  long first[kFewSamples], count[kFewSamples];

  long chunk_steps() const {
    const long fit = R ? kFewSamples / R : 1;
    return fit < 1 ? 1 : fit < S ? fit : S;
  }
  long z_size(long width) const { return R * chunk * (Cell::blocks * width + lanes<T>); }
  T* packed_at(long p) const {
    return packed + (packs ? (D + H) * G * units_of<T>(H, parts, p).begin : 0);
  }

  long time(long s) const { return job.reverse ? S - 1 - s : s; }
  T* seen_at(long s, long r) const { return seen + ((s & 1) * R + r) * stride; }
  bool is_reset(long r, long s) const {
    return job.resets && s < S && job.resets[job.reset_row[r] + time(s) * job.stride];
  }

  void begin(long r) const {
    clear_row(h + r * stride, stride);
    copy_row(job.h0 + job.h0_row[r] * H, h + r * stride, H);
    if (Cell::has_c) {
      clear_row(c + r * stride, stride);
      copy_row(job.c0 + job.c0_row[r] * H, c + r * stride, H);
    }
    for (long s = 0; s < 2; ++s) round_row(h + r * stride, seen_at(s, r), stride, job.rounding);
    if (running(job, {0, R}, time(0)) > r) reset(r, 0, {0, stride});
  }

  void finish(long r) const {
    copy_row(h + r * stride, job.ht + job.state_row[r] * H, H);
    if (Cell::has_c) copy_row(c + r * stride, job.ct + job.state_row[r] * H, H);
  }

  void gather() {
    long samples = 0;
    for (long k = 0; k < steps; ++k) {
      const long t = time(low + k);
      first[k] = samples;
      count[k] = running(job, {0, R}, t);
      for (long r = 0; r < count[k]; ++r, ++samples)
        copy_row(job.xs + (job.x_row[r] + t * job.stride) * D, x + samples * D, D);
    }
  }

  Packed<T> panels(const Part& own, long depth, T* data) const {
    return {data, depth, G * own.width() / lanes<T>};
  }
  Packed<T> panels_x(const Part& own) const { return panels(own, D, own.weights); }
  Packed<T> panels_h(const Part& own) const {
    return panels(own, H, own.weights + D * G * own.width());
  }

  void pack(const Part& own) const {
    const Packed<T> of_x = panels_x(own), of_h = panels_h(own);
    for (long p = 0; p < of_x.panels(); ++p) {
      pack_panel<T, Cell>(job, own.u, 0, 0, of_x, p);
      pack_panel<T, Cell>(job, own.u, D, own_blocks, of_h, p);
    }
  }

  // z (+)= a @ w for blocks from `block` on.
  void multiply(const Part& own, long rows, const T* a, long a_stride, long depth, T* to,
                long block, const Packed<T>& panels, const Plain<T>& w) const {
    const long width = own.width(), z_stride = Cell::blocks * width + lanes<T>;
    to += block * width;
    if (packs) return product<T>(rows, a, a_stride, panels, to, z_stride, kAdd, nullptr);
    for (long b = 0; b < G; ++b)
      add_product<T>(rows, a, a_stride, depth,
                     w.data + Cell::source[block + b] * w.block + own.u.begin, w.row,
                     to + b * width, z_stride, width);
  }

  void input(const Part& own) const {
    const long samples = first[steps - 1] + count[steps - 1], width = own.width();
    const long z_stride = Cell::blocks * width + lanes<T>;
    for (long n = 0; n < samples; ++n)
      for (long b = 0; b < Cell::blocks; ++b)
        copy_row(bias + b * stride + own.u.begin, own.z + n * z_stride + b * width, width);
    multiply(own, samples, x, D, D, own.z, 0, panels_x(own), wx);
  }

  void step(long k, const Part& own) const {
    const long s = low + k, t = time(s), width = own.width(), begin = own.u.begin;
    const long real = (own.u.end < H ? own.u.end : H) - begin;
    const long z_stride = Cell::blocks * width + lanes<T>;
    T* const zs = own.z + first[k] * z_stride;
    multiply(own, count[k], seen_at(s, 0), stride, H, zs, own_blocks, panels_h(own), wh);
    for (long r = 0; r < count[k]; ++r) {
      const long row = job.seq_row[r] + t * job.stride;
      T *zr = zs + r * z_stride, *hr = h + r * stride + begin, *cr = c + r * stride + begin;
      if (job.gates) Cell::template forward<T, true>(zr, width, width, hr, cr);
      else Cell::template forward<T, false>(zr, width, width, hr, cr);
      round_row(hr, seen_at(s + 1, r) + begin, width, job.rounding);
      copy_row(hr, job.hs + row * H + begin, real);
      if (Cell::has_c && job.cs) copy_row(cr, job.cs + row * H + begin, real);
      for (long g = 0; job.gates && g < Cell::blocks; ++g)
        copy_row(zr + g * width, job.gates + (row * Cell::blocks + g) * H + begin, real);
    }
    for (long r = count[k]; r < R; ++r)
      clear_ended<T, Cell>(job, job.seq_row[r] + t * job.stride, {begin, begin + real});
    const long next = s + 1 < S ? running(job, {0, R}, time(s + 1)) : 0;
    for (long r = 0; job.resets && r < next; ++r) reset(r, s + 1, own.u);
  }

  // Clears these units of the state before step s where that is reset.
  void reset(long r, long s, Units u) const {
    if (!is_reset(r, s)) return;
    clear_row(h + r * stride + u.begin, u.end - u.begin);
    clear_row(seen_at(s, r) + u.begin, u.end - u.begin);
    if (Cell::has_c) clear_row(c + r * stride + u.begin, u.end - u.begin);
  }
};
